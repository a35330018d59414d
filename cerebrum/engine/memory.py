"""What an incremental policy remembers: makes the `Memo` of kernels and lengthens it.

Arrays have room for classes to come and grow by doubling, so a class or a node that comes costs its
own entries and nothing that was learnt is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT, Scorer, addresses
from cerebrum.engine.scoring import (
    BLOCK,
    DISCIPLINE,
    GPU_RULE,
    KEY,
    MEMO_DTYPES,
    N_OPTIONS,
    SUMMED,
    TIE_RULE,
    Memo,
)

GPU_RULES = {"best": 0, "worst": 1, "first": 2, "random": 3, "score": 4, "first-used": 5}
TIE_RULES = {"first": 0, "name": 1, "random": 2, "next": 3}
DISCIPLINES = {"skip": 0, "block": 1, "reject": 2}
NORMALIZERS = {"none": 0, "minmax": 1, "max": 2, "max-reversed": 3}
MEMO_BYTES = 256 * 2**20  # what a policy may remember; more task classes than fit are evicted

# What entries of arrays that grow are before anything is known.
_PER_CLASS = {"shape_of": 0, "failed_at": -1, "failed_with": -1}
_PER_SHAPE = {"shapes": 0, "slot_of": -1}
_PER_SLOT = {
    "raw": 0,
    "refused": 0,
    "tally": 0,
    "best": 0,
    "shape_in": -1,
    "used": 0,
    "version": -1,
}


@dataclass(frozen=True, slots=True)
class Weighted:
    """One scorer of a profile: weight, how it is normalised to 0..100, and whether it is truncated.

    `equal` is what minmax gives when all nodes score the same.
    """

    scorer: Scorer
    weight: float = 1.0
    normalize: str = "none"
    truncate: bool = False
    equal: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How an incremental policy picks.

    `gpus` which GPUs of the node: best fit, worst fit, first, random, or by the first score; `ties`
    first row, lowest name, random, or next (nodes take turns); `queue` what happens to a task that
    fits nowhere: skip it and go on, block all behind it, or reject it; `preempt` lower priorities.
    """

    gpus: str = "best"
    ties: str = "first"
    queue: str = "skip"
    preempt: bool = False


class Memory:
    """A policy's memo for one engine with room for `width` nodes; `key` seeds random draws."""

    def __init__(self, scores: tuple[Weighted, ...], rules: Rules, width: int, key: int) -> None:
        self._summed = all(w.normalize == "none" for w in scores)
        self._merges = self._summed and not any(w.scorer.looks_at_memory for w in scores)
        self._known = 0  # classes
        self._shapes = 0
        self._by_record: dict[bytes, int] | None = None  # made once a class comes
        scored = width if self._summed else width * len(scores)
        self._most_slots = max(8, MEMO_BYTES // (8 * max(1, scored)))
        self._a_slot = {
            "raw": scored, "refused": width, "tally": 32, "best": -(-width // BLOCK),
            "shape_in": 1, "used": 1, "version": 1,
        }  # fmt: skip
        self.memo = _fixed(scores, rules, width, key, self._summed)
        self._grow(_PER_SLOT, 0, 1)
        self._refresh()

    def handle(self, classes: NDArray[Any]) -> Any:
        """What kernels take; `classes` are all there are now, the known ones first."""
        if len(classes) != self._known:
            if self._known == 0:
                self._learn_all(classes)
            else:
                self._learn(classes)
            self._known = len(classes)
            self._refresh()
        return self._handle

    def _learn_all(self, classes: NDArray[Any]) -> None:
        """A shape for each class; classes that no score tells apart are merged."""
        shape_of, shapes = np.arange(len(classes)), self._told(classes)
        if self._merges:
            words = shapes.view(np.int64).reshape(len(classes), -1)
            _, first, shape_of = np.unique(words, axis=0, return_index=True, return_inverse=True)
            shapes = shapes[first]
        self._make_room(len(classes), len(shapes))
        self.memo.shape_of[: len(classes)] = shape_of
        self.memo.shapes[: len(shapes)] = shapes
        self._shapes = len(shapes)

    def _learn(self, classes: NDArray[Any]) -> None:
        """Shapes for the classes that came."""
        new = self._told(classes[self._known :])
        if self._by_record is None:
            told = self.memo.shapes[: self._shapes]
            self._by_record = {told[i].tobytes(): i for i in range(self._shapes)}
        for class_id, record in enumerate(new, start=self._known):
            shape = self._by_record.setdefault(record.tobytes(), self._shapes)
            self._make_room(class_id + 1, shape + 1)
            if shape == self._shapes:
                self.memo.shapes[shape] = record
                self._shapes += 1
            self.memo.shape_of[class_id] = shape

    def _told(self, classes: NDArray[Any]) -> NDArray[Any]:
        """The records as scores see them."""
        told = classes.copy()
        if self._merges:
            told["memory_mib"] = 0
        return told

    def _make_room(self, classes: int, shapes: int) -> None:
        for names, wanted in ((_PER_CLASS, classes), (_PER_SHAPE, shapes)):
            have = len(getattr(self.memo, next(iter(names))))
            if wanted > have:
                self._grow(names, have, max(wanted, 2 * have))
        have, wanted = len(self.memo.version), min(len(self.memo.shapes), self._most_slots)
        if wanted > have:
            self._grow(_PER_SLOT, have, wanted)

    def _grow(self, names: dict[str, int], have: int, wanted: int) -> None:
        longer: dict[str, NDArray[Any]] = {}
        for name, fill in names.items():
            entries = self._a_slot.get(name, 1)
            new = np.zeros(wanted * entries, _dtype(name))
            if fill:
                new[have * entries :] = fill
            new[: have * entries] = getattr(self.memo, name)
            longer[name] = new
        self.memo = self.memo._replace(**longer)

    def _refresh(self) -> None:
        self._addresses = addresses(tuple(self.memo))
        self._handle = self._addresses.ctypes.data if JIT else self.memo


def _fixed(scores: tuple[Weighted, ...], rules: Rules, width: int, key: int, summed: bool) -> Memo:
    """A memo of no classes."""
    table = 1 << (2 * max(4, width)).bit_length()
    options = np.zeros(N_OPTIONS, np.int64)
    options[SUMMED] = summed
    options[GPU_RULE] = GPU_RULES[rules.gpus]
    options[TIE_RULE] = TIE_RULES[rules.ties]
    options[DISCIPLINE] = DISCIPLINES[rules.queue]
    options[KEY] = key
    arrays: dict[str, Any] = {
        "seen": np.zeros(table),
        "seen_row": np.full(table, -1),
        "scorers": [w.scorer.address for w in scores],
        "weights": [w.weight for w in scores],
        "normal": [NORMALIZERS[w.normalize] for w in scores],
        "constant": [w.equal for w in scores],
        "truncate": [w.truncate for w in scores],
        "scratch": np.zeros(2, _dtype("scratch")),
        "total": np.zeros(width),
        "options": options,
    }
    none = np.zeros(0)
    return Memo(**{n: _as(n, arrays.get(n, none)) for n in Memo._fields})


def _as(name: str, values: Any) -> NDArray[Any]:
    dtype = _dtype(name)
    return np.zeros(len(values), dtype) if dtype.names else np.ascontiguousarray(values, dtype)


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(MEMO_DTYPES[name])
    # Attribute access on records needs np.record once Numba no longer provides it.
    return np.dtype((np.record, dtype)) if dtype.names and not JIT else dtype
