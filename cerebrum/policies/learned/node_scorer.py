# pyright: basic, reportPrivateImportUsage=false
"""A learned node scorer: FGD's whole number, plus what a small network makes of the node.

    score = FGD + L[kind] . x + w2 . tanh(W1 [x, kind] + b1)

x are the numbers of `node_features`, `kind` whether the task wants no GPU, a part of one or whole
ones. With all weights zero it is FGD (`cerebrum.policies.fgd`), truncation and ties included, so
training starts from the best heuristic and not from noise. One network scores every node, so that a
score depends neither on the order nor on the number of nodes, and the engine remembers it until the
node changes.
"""

from __future__ import annotations

from math import tanh

import numba
import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT, SCORER, Scorer, addresses, kernel
from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.node_features import KINDS, SCHEMA, features, fgd_score, kind_of

N, K = len(SCHEMA), len(KINDS)
RULES = Rules(gpus="score")


def size(hidden: int) -> int:
    """How many weights a scorer with this many hidden units has."""
    return K * N + hidden * (N + K + 2)


@kernel
def correction(x, kind, w):
    """The learned part of the score. `w` is flat: L by kind, then W1, kinds, b1 and w2 by unit."""
    total = 0.0
    for i in range(N):
        total += w[kind * N + i] * x[i]
    at = K * N
    while at < len(w):
        drive = w[at + N + kind] + w[at + N + K]
        for i in range(N):
            drive += w[at + i] * x[i]
        total += w[at + N + K + 1] * tanh(drive)
        at += N + K + 2
    return total


@kernel
def learned_score(before, after, task, typical, w):
    """FGD's number plus the learned correction."""
    base, fragmented = fgd_score(before, after, typical)
    x = features(before, after, task, typical, fragmented)
    return base + correction(x, kind_of(task), w)


def frozen(weights: NDArray[np.float64], name: str = "learned") -> Scorer:
    """A scorer with its weights compiled in: what serves. Raises `ConfigError` for bad weights.

    Numba's cache key holds what a closure's own cells hold, so the compiled file is found again for
    these weights only; that is why the kernels are globals and nothing but `w` is closed over.
    """
    w = checked(weights).copy()

    def learned(before, after, task, typical):
        return learned_score(before, after, task, typical, w)

    return Scorer(learned, name)


def checked(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights as float64, or `ConfigError`."""
    w = np.ascontiguousarray(weights, np.float64)
    if w.ndim != 1 or len(w) < size(0) or (len(w) - size(0)) % (N + K + 2):
        raise ConfigError(
            f"expected {size(0)} weights and {N + K + 2} for each hidden unit, got {w.shape}"
        ).at(field="weights")
    if not np.isfinite(w).all():
        raise ConfigError("expected finite weights").at(field="weights")
    return w


_open_weights = opener(table_type("Weights", {"values": np.float64}))


class TrainableScorer(Scorer):
    """A scorer whose weights can be exchanged: compiled once in a process, kept nowhere on disk.

    The compiled code reads the weights where `_buffer` lies, which it therefore may not outlive.
    """

    def __init__(self, hidden: int = 0) -> None:
        self._buffer = np.zeros(size(hidden))
        self._address = addresses((self._buffer,))
        place = int(self._address.ctypes.data)
        w = self._buffer

        def trainable(before, after, task, typical):
            return learned_score(before, after, task, typical, _open_weights(place).values)

        def interpreted(before, after, task, typical):
            return learned_score(before, after, task, typical, w)

        super().__init__(trainable if JIT else interpreted, "trainable")

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights now (a copy)."""
        return self._buffer.copy()

    @weights.setter
    def weights(self, values: NDArray[np.float64]) -> None:
        if values.shape != self._buffer.shape:
            raise ConfigError(f"expected {len(self._buffer)} weights, got {values.shape}")
        self._buffer[:] = values

    @property
    def looks_at_memory(self) -> bool:
        """Features leave memory out."""
        return False

    @property
    def address(self) -> int:
        """Where kernels find it."""
        if not JIT:
            return super().address
        if not hasattr(self, "_compiled"):
            self._compiled = numba.cfunc(SCORER)(self.function)
        return int(self._compiled.address)


def policy(scorer: Scorer, queue: str = "skip", name: str | None = None) -> Incremental:
    """The scorer as a placement policy: a part of a GPU goes where the score is best."""
    rules = Rules(RULES.gpus, RULES.ties, queue)
    return Incremental(name or scorer.name, (Weighted(scorer),), rules)
