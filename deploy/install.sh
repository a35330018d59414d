#!/bin/sh
# Puts Cerebrum and what it needs at run time into an environment of its own: install.sh FOLDER
# The lock covers tools of development as well; they stay out. Run it in the repository's root.
# $UV names a `uv` to use; without it the locked one is installed for the moment.
set -eu
target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
if [ -z "${UV:-}" ]; then
    "$python" -m venv "$work/tools"
    sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ .*--hash/p;}' requirements.lock >"$work/uv.lock"
    "$work/tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r "$work/uv.lock"
    UV=$work/tools/bin/uv
fi
# The part of the lock that the package and its servers' extras need, at the locked versions.
"$UV" pip compile pyproject.toml --extra postgres --extra rabbitmq \
    --constraint requirements.lock --output-file "$work/runtime.lock" \
    --universal --generate-hashes --no-header --quiet
"$UV" build --quiet --wheel --out-dir "$work/dist" .
"$python" -m venv --without-pip "$target"
"$UV" pip install --quiet --python "$target/bin/python" --require-hashes -r "$work/runtime.lock"
"$UV" pip install --quiet --python "$target/bin/python" --no-deps "$work"/dist/*.whl
# Nobody can write bytecode there later.
"$target/bin/python" -m compileall -q -j 0 "$target/lib" || true
"$target/bin/cerebrum" --version
