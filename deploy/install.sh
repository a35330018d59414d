#!/bin/sh
# Puts Cerebrum and what it needs at run time into an environment of its own: install.sh FOLDER
# The lock covers tools of development as well; they stay out. Run it in the repository's root.
set -eu
target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$target"
"${PYTHON:-python3}" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check uv
# The part of the lock that the package and its servers' extras need, at the locked versions.
"$work/tools/bin/uv" pip compile pyproject.toml --extra postgres --extra rabbitmq \
    --constraint requirements.lock --output-file "$work/runtime.lock" \
    --universal --generate-hashes --no-header --quiet
"$target/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    --require-hashes -r "$work/runtime.lock"
"$work/tools/bin/uv" build --quiet --wheel --out-dir "$work/dist" .
"$target/bin/pip" install --quiet --disable-pip-version-check --no-deps "$work"/dist/*.whl
"$target/bin/python" -m compileall -q "$target/lib" || true
"$target/bin/cerebrum" --version
