#!/bin/sh
# What deploy/Dockerfile does, without a container engine: installs into a folder of its own, then
# runs controller and agent from it as they run in a container: another user where we are root, a
# root file system that is not written to, nothing of the repository on the path.
#   sh deploy/check-image.sh [FOLDER]
set -eu
target=${1:-$(mktemp -d)/cerebrum}
sh deploy/install.sh "$target"
cd /
"$target/bin/python" - <<'PY'
import importlib.util as found
for module in ("cerebrum", "fastapi", "sqlalchemy", "psycopg", "aio_pika", "aiohttp"):
    assert found.find_spec(module), f"{module} is missing in the image"
for module in ("pytest", "ruff", "pyright", "schemathesis"):
    assert not found.find_spec(module), f"{module} is a tool of development, and in the image"
PY
size=$(du -sm "$target" | cut -f1)
echo "image content: $size MiB at $target"
