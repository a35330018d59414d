"""A learned policy as one file: weights, statistics and card in a `.safetensors`.

The format holds numbers and text only, so reading one runs nothing. It is read defensively all the
same: sizes are bounded, the header is checked before an array is made, and a weight that is no
number is refused.

    metadata    `cerebrum`: the card as JSON
    tensors     `weights.<name>`, `statistics.mean|std|low|high|quantiles`, and, where the drift
                of its choices can be told, `usual.quantiles|wander`
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.policies.learned.card import Card, EvaluationRow, Observation, parse_card
from cerebrum.policies.learned.drift import Usual
from cerebrum.policies.learned.files import SUFFIX, find, shipped
from cerebrum.policies.learned.statistics import FIELDS, LEVELS, Statistics

METADATA = "cerebrum"
MAX_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 256
MAX_DIMENSIONS = 4
DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
"""Element types that a file may hold, as safetensors calls them."""
_USUAL = ("quantiles", "wander")
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}$")


@dataclass(frozen=True, eq=False)
class Artefact:
    """A learned policy: its card, its weights by name, what its features looked like, and what of
    it is usual among its choices (None: nobody looked)."""

    card: Card
    weights: Mapping[str, NDArray[Any]]
    statistics: Statistics
    usual: Usual | None = None

    def __post_init__(self) -> None:
        most = MAX_TENSORS - len(FIELDS) - len(_USUAL)
        if not self.weights or len(self.weights) > most:
            raise ConfigError(f"expected 1 to {most} arrays, got {len(self.weights)}").at(
                field="weights"
            )
        for name, array in self.weights.items():
            _check_weight(name, array)
        wanted = len(self.card.observation.features)
        for name in ("statistics", "usual"):
            found = getattr(self, name)
            if found is not None and len(found) != wanted:
                raise ConfigError(
                    f"expected one for each of the {wanted} features, got {len(found)}"
                ).at(field=name)

    @property
    def parameters(self) -> int:
        """Numbers in the weights."""
        return sum(array.size for array in self.weights.values())

    def weight(self, name: str, *shape: int, dtype: type[np.generic] = np.float32) -> NDArray[Any]:
        """The array `name` of that shape (-1: any length). Raises `ConfigError`."""
        if name not in self.weights:
            raise UnknownName("array", name, self.weights).at(field="weights")
        found = self.weights[name]
        fits = len(shape) == found.ndim and all(
            want in (-1, have) for want, have in zip(shape, found.shape, strict=True)
        )
        if not fits or found.dtype != dtype:
            raise ConfigError(
                f"expected {np.dtype(dtype)}{list(shape)}, got {found.dtype}{list(found.shape)}"
            ).at(field=f"weights.{name}")
        return found


def read(path: str | Path) -> Artefact:
    """The artefact in a file. Raises `ConfigError` that names the file and what is wrong in it."""
    path = Path(path)
    try:
        return _parsed(_bytes(path))
    except InputError as problem:
        raise problem.at(path) from None


def write(path: str | Path, artefact: Artefact) -> None:
    """Write a file that `read` takes. The same artefact gives the same bytes; replaces at once."""
    from safetensors.numpy import save

    path = Path(path)
    tensors = {f"weights.{name}": array for name, array in artefact.weights.items()}
    tensors |= {f"statistics.{name}": getattr(artefact.statistics, name) for name in FIELDS}
    if artefact.usual is not None:
        tensors |= {f"usual.{name}": getattr(artefact.usual, name) for name in _USUAL}
    packed = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    # One entry only: safetensors keeps several in an order that changes from run to run.
    data = save(packed, {METADATA: artefact.card.model_dump_json()})
    _parsed(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _check_weight(name: str, array: NDArray[Any]) -> None:
    field = f"weights.{name}"
    if not _NAME.match(name):
        raise ConfigError("expected a name of letters, digits, '_', '.', '-'").at(field="weights")
    if array.dtype not in [np.dtype(kind) for kind in DTYPES.values()]:
        raise ConfigError(f"expected one of {', '.join(DTYPES)}, got {array.dtype}").at(field=field)
    if array.ndim > MAX_DIMENSIONS or not array.size:
        raise ConfigError(
            f"expected 0 to {MAX_DIMENSIONS} dimensions, none empty, got {list(array.shape)}"
        ).at(field=field)
    if not np.isfinite(array).all():
        raise ConfigError("holds NaN or infinity").at(field=field)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"expected at most {MAX_BYTES // 2**20} MiB")
    return data


def _parsed(data: bytes) -> Artefact:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or METADATA not in metadata:
        raise ConfigError(f"not a Cerebrum model: its metadata has no {METADATA!r} (a model card)")
    card = parse_card(str(cast(dict[str, Any], metadata)[METADATA]))
    _check_tensors(header)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ConfigError(f"not a sound safetensors file: {error}") from None
    return _assembled(card, tensors)


def _header(data: bytes) -> dict[str, Any]:
    """The JSON at the start, before anything is made of it."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ConfigError(
            f"not a safetensors file: {len(data)} bytes whose header claims {length} "
            f"(at most {MAX_HEADER_BYTES})"
        )
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not a safetensors file: its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise ConfigError("not a safetensors file: its header is no object")
    return cast(dict[str, Any], header)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _check_tensors(header: Mapping[str, Any]) -> None:
    if len(header) > MAX_TENSORS:
        raise ConfigError(f"expected at most {MAX_TENSORS} arrays, got {len(header)}")
    for name, about in header.items():
        kind = cast(dict[str, Any], about).get("dtype") if isinstance(about, dict) else None
        if kind not in DTYPES:
            raise ConfigError(f"expected one of {', '.join(DTYPES)}, got {str(kind)[:50]!r}").at(
                field=name[:200]
            )


def _assembled(card: Card, tensors: Mapping[str, NDArray[Any]]) -> Artefact:
    weights: dict[str, NDArray[Any]] = {}
    seen: dict[str, NDArray[Any]] = {}
    chosen: dict[str, NDArray[Any]] = {}
    for name, array in tensors.items():
        room, _, rest = name.partition(".")
        if room == "weights" and rest:
            weights[rest] = array
        elif room == "statistics" and rest in FIELDS:
            seen[rest] = array
        elif room == "usual" and rest in _USUAL:
            chosen[rest] = array
        else:
            raise ConfigError(
                f"unknown array {name[:200]!r}: expected weights.NAME, "
                f"statistics.{'|'.join(FIELDS)} or usual.{'|'.join(_USUAL)}"
            )
    _complete("statistics", FIELDS, seen)
    if chosen:
        _complete("usual", _USUAL, chosen)
    usual = Usual(**chosen) if chosen else None
    return Artefact(card, dict(sorted(weights.items())), Statistics(**seen), usual)


def _complete(field: str, names: Sequence[str], found: Mapping[str, object]) -> None:
    if missing := [name for name in names if name not in found]:
        raise ConfigError(f"missing {', '.join(missing)}").at(field=field)


__all__ = [
    "LEVELS",
    "SUFFIX",
    "Artefact",
    "Card",
    "EvaluationRow",
    "Observation",
    "Statistics",
    "find",
    "read",
    "shipped",
    "write",
]
