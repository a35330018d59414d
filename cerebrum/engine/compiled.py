# pyright: basic, reportPrivateImportUsage=false
"""Numba, kept in one place: compile with a cache that survives clones, call scorers by address.

Traps this file removes:
- Numba's file cache lives in a folder named after the path, so every clone compiles again, and it
  looks at one file only, so a kernel keeps calling the old version of a helper in another file.
  Ours is keyed by the content of all files a kernel can call.
- Passing many arrays to a compiled function costs Python 10 us an array. Kernels take the address
  of a table of them instead (`tables`): 0.5 us.
- A scorer passed as a function would compile the whole engine again for each policy. It is passed
  as an address, so the engine is compiled once and a scorer alone takes its own second.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import caching, config
from numba.extending import intrinsic

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.layout import NODE, TASK

JIT = not getattr(config, "DISABLE_JIT", False)

_PACKAGE = Path(__file__).resolve().parents[1]
NODE_REC = numba.from_dtype(NODE)
TASK_REC = numba.from_dtype(TASK)
SCORER = types.float64(NODE_REC, NODE_REC, TASK_REC, types.Array(TASK_REC, 1, "C"))


def cache_folder() -> Path:
    """Where compiled kernels are kept: `NUMBA_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cerebrum" / "kernels"


@functools.cache
def _engine_digest() -> bytes:
    """Changes when any file changes whose code a kernel may have compiled in."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted([*_PACKAGE.glob("engine/*.py"), _PACKAGE / "model/layout.py"]):
        digest.update(path.read_bytes())
    return digest.digest()


def _reachable(function: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """A function and the Python functions it can call, through globals and closures."""
    seen = set() if seen is None else seen
    function = getattr(function, "py_func", function)
    code = getattr(function, "__code__", None)
    if code is None or id(function) in seen:
        return
    seen.add(id(function))
    yield function
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    used = [function.__globals__.get(name) for name in code.co_names]
    for other in [*cells, *used]:
        if callable(other):
            yield from _reachable(other, seen)


class _ContentLocator(caching._CacheLocator):
    """Cache place and stamp from the content of the source, not from its path and time."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._line = py_func.__code__.co_firstlineno
        digest = hashlib.blake2b(_engine_digest(), digest_size=8)
        files = {py_file, *(f.__code__.co_filename for f in _reachable(py_func))}
        for name in sorted(files):
            digest.update(Path(name).read_bytes() if Path(name).is_file() else name.encode())
        self._stamp = digest.hexdigest()
        self._folder = cache_folder() / f"{Path(py_file).stem}-{self._stamp}"

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._stamp

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _ContentLocator | None:
        ours = getattr(py_func, "__cerebrum__", False)
        if not (ours or Path(py_file).resolve().is_relative_to(_PACKAGE)):
            return None
        try:
            locator = cls(py_func, py_file)
            locator.ensure_cache_path()
        except OSError:
            return None  # Numba's own locators, or no cache at all: slower, never wrong
        return locator


caching.CacheImpl._locator_classes.insert(0, _ContentLocator)  # pyright: ignore


def kernel(function: Callable[..., Any]) -> Any:
    """Compile for the engine: cached on disk, IEEE arithmetic as written (no fastmath)."""
    if not JIT:
        return np.errstate(over="ignore")(function)  # hashes wrap around, as they do compiled
    return numba.njit(cache=True)(function)


@intrinsic
def _call(typingctx: Any, address: Any, before: Any, after: Any, task: Any, typical: Any) -> Any:
    signature = types.float64(types.int64, *SCORER.args)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inner = [context.get_value_type(kind) for kind in signature.args[1:]]
        function = ir.FunctionType(ir.DoubleType(), inner)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return signature, codegen


_interpreted: list[Callable[..., float]] = []  # scorers when Numba is switched off

if JIT:

    @kernel
    def call_scorer(address, before, after, task, typical):  # pyright: ignore
        """Score by the address of a compiled scorer."""
        return _call(address, before, after, task, typical)  # pyright: ignore

else:

    def call_scorer(address, before, after, task, typical):
        """Score by index into the list of Python scorers."""
        return _interpreted[address](before, after, task, typical)


class Scorer:
    """A function of one node row and one task class, compiled on first use.

    `score(before, after, task, typical) -> float`, higher wins; see `cerebrum.model.layout`. It may
    call other Numba functions, must not treat GPUs of one node differently by index, and gives the
    same number for the same arguments.
    """

    def __init__(self, function: Callable[..., float], name: str | None = None) -> None:
        self.name = name or function.__name__
        wanted = ["before", "after", "task", "typical"]
        given = list(inspect.signature(function).parameters)
        if len(given) != len(wanted):
            raise ConfigError(
                f"a scorer takes ({', '.join(wanted)}), this one takes ({', '.join(given)})"
            ).at(field=self.name)
        self.function = function
        self.__doc__ = function.__doc__

    @functools.cached_property
    def looks_at_memory(self) -> bool:
        """Whether the score can depend on memory: kernels read fields by literal name only."""
        for function in _reachable(self.function):
            code = function.__code__
            texts = [*code.co_names, *(c for c in code.co_consts[1:] if isinstance(c, str))]
            if any("memory" in text for text in texts):
                return True
        return False

    @functools.cached_property
    def address(self) -> int:
        """Where kernels find it; compiles (or loads from the cache) on first access."""
        if not JIT:
            _interpreted.append(self.function)
            return len(_interpreted) - 1
        self.function.__cerebrum__ = True  # type: ignore[attr-defined]
        try:
            try:
                self._compiled = numba.cfunc(SCORER, cache=True)(self.function)
            except RuntimeError:  # typed into a shell: there is no file to keep it beside
                self._compiled = numba.cfunc(SCORER)(self.function)
        except KeyError as problem:  # how Numba says that a record has no such field
            known = [*(NODE.names or ()), *(TASK.names or ())]
            raise UnknownName("field", str(problem.args[0]), known).at(field=self.name) from problem
        except numba.errors.NumbaError as problem:
            reason = " ".join(str(problem).split())[:400]
            raise ConfigError(f"cannot be compiled by Numba: {reason}").at(
                field=self.name
            ) from problem
        return int(self._compiled.address or 0)

    def __call__(self, before: Any, after: Any, task: Any, typical: Any) -> float:
        """The plain Python function, for tests and explanations."""
        return self.function(before, after, task, typical)


def scorer(function: Callable[..., float]) -> Scorer:
    """Decorator: make a plain function a scorer of the incremental engine."""
    return Scorer(function)


def addresses(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Address and length of each array, as kernels unpack them. The caller keeps them alive."""
    table = np.empty(2 * len(arrays), np.int64)
    table[0::2] = [array.ctypes.data for array in arrays]
    table[1::2] = [len(array) for array in arrays]
    return table
