"""Policies and scorers from a user's own file: `./mine.py:score`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from cerebrum.model.errors import ConfigError, UnknownName


def names_file(name: str) -> bool:
    """Whether `name` is `file.py:attribute` or `file.py`."""
    return name.endswith(".py") or ".py:" in name


def load(name: str, folder: Path | None = None) -> Any:
    """The attribute a `file.py:attribute` names. The file is run anew each time."""
    file, separator, attribute = name.rpartition(":")
    if not separator or not file.endswith(".py"):
        file, attribute = name, ""
    path = (folder or Path()) / Path(file).expanduser()
    known = _public(module := _run(path))
    if not attribute:
        raise ConfigError(f"say which one: {file}:NAME, with NAME one of {', '.join(known)}").at(
            path
        )
    if not hasattr(module, attribute):
        raise UnknownName("attribute", attribute, known).at(path)
    return getattr(module, attribute)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError("there is no such file").at(path)
    # Named by content: the cache of compiled scorers is shared between equal files anywhere, and
    # looks the module up by the name it had when it was compiled.
    digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    name = f"_cerebrum_user_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as problem:
        del sys.modules[name]
        raise ConfigError(f"not valid Python: {problem.msg}").at(path, problem.lineno) from problem
    except Exception as problem:
        del sys.modules[name]
        raise ConfigError(f"fails with {type(problem).__name__}: {problem}").at(
            path, _line(problem, path)
        ) from problem
    return module


def _line(problem: BaseException, path: Path) -> int | None:
    """The last line of the user's own file that the error passed through."""
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == str(path)]
    return own[-1] if own else None


def _public(module: ModuleType) -> list[str]:
    """Names the file defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]
