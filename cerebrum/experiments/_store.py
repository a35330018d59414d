"""Files and folders that appear whole or not at all, and JSON as we write it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np


@contextmanager
def new_folder(target: Path) -> Generator[Path]:
    """A folder to fill, which takes the name `target` once it is complete.

    On an error nothing of it remains. An existing folder of that name is not touched: the caller
    sees `FileExistsError`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if target.exists():
            raise FileExistsError(f"{target} exists already")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader ever sees a part of it, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode() if isinstance(content, str) else content
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def to_json(value: object, indent: int | None = 2) -> str:
    """JSON for people and programs: NaN and infinity as null, NumPy numbers as numbers."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: object) -> Any:
    """The same in the types JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        return plain(cast(Any, value).tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in cast(list[Any], value)]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
