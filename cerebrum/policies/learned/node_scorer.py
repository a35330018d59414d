# pyright: basic, reportPrivateImportUsage=false
"""A learned node scorer: FGD's whole number, plus what a small network makes of the node.

    score = base x FGD + L[kind] . x + sum over units of v x tanh(U . [x, kind, 1])

x are the numbers of `node_features`, `kind` whether the task wants no GPU, a part of one or whole
ones. With base 1 and all weights zero it is FGD (`cerebrum.policies.fgd`), truncation and ties
included, so that training starts from the best heuristic and not from noise; with base 0 the
network is on its own. One network scores every node: a score
depends neither on the order nor on the number of nodes, and the engine remembers it until the node
changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import tanh
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT, SCORER, Scorer, addresses, kernel
from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.node_features import (
    KINDS,
    PRICES,
    SCHEMA,
    features,
    fgd_score,
    kind_of,
)

Vector = NDArray[np.float64]

N, K = len(SCHEMA), len(KINDS)
UNIT = N + K + 2
"""Weights of a hidden unit: features, kinds, bias, output."""


def size(hidden: int) -> int:
    """How many weights a scorer with this many hidden units has."""
    return K * N + hidden * UNIT


@kernel
def correction(x, kind, w):
    """The learned part of the score. `w` is flat: L by kind, then U and v of each unit."""
    total = 0.0
    for i in range(N):
        total += w[kind * N + i] * x[i]
    at = K * N
    while at < len(w):
        drive = w[at + N + kind] + w[at + N + K]
        for i in range(N):
            drive += w[at + i] * x[i]
        total += w[at + UNIT - 1] * tanh(drive)
        at += UNIT
    return total


@kernel
def learned_score(before, after, task, typical, w, prices, base):
    """`base` times FGD's number, plus the learned correction."""
    fgd, fragmented = fgd_score(before, after, typical)
    x = features(before, after, task, typical, fragmented, prices)
    return base * fgd + correction(x, kind_of(task), w)


def frozen(weights: Vector, prices: Vector, base: float = 1.0, name: str = "learned") -> Scorer:
    """A scorer with its weights compiled in: what serves. Raises `ConfigError` for bad weights.

    Numba's cache key holds what a closure's own cells hold, so the compiled code is found again for
    these numbers only. That is why kernels are globals and nothing but numbers is closed over.
    """
    w, worth = checked(weights).copy(), checked_prices(prices).copy()

    def learned(before, after, task, typical):
        return learned_score(before, after, task, typical, w, worth, base)

    return Scorer(learned, name)


def checked(weights: NDArray[Any]) -> Vector:
    """The weights as a flat float64 array. Raises `ConfigError`."""
    w = np.ascontiguousarray(weights, np.float64)
    if w.ndim != 1 or len(w) < size(0) or (len(w) - size(0)) % UNIT:
        raise ConfigError(
            f"expected {size(0)} weights and {UNIT} for each hidden unit, got {list(w.shape)}"
        ).at(field="weights")
    if not np.isfinite(w).all():
        raise ConfigError("expected finite weights").at(field="weights")
    return w


def checked_prices(prices: NDArray[Any]) -> Vector:
    """The price list as float64[PRICES]. Raises `ConfigError`."""
    worth = np.ascontiguousarray(prices, np.float64)
    if worth.shape != (PRICES,) or not (np.isfinite(worth).all() and (np.diff(worth) >= 0).all()):
        raise ConfigError(f"expected {PRICES} finite, ascending prices").at(field="prices")
    return worth


_open_weights = opener(table_type("Weights", {"values": np.float64, "prices": np.float64}))


class TrainableScorer(Scorer):
    """A scorer whose weights can be exchanged: compiled once in a process, kept nowhere on disk.

    The compiled code reads the weights in place, so it must not outlive this object.
    """

    def __init__(self, hidden: int, prices: Vector, base: float = 1.0) -> None:
        w, worth = np.zeros(size(hidden)), checked_prices(prices).copy()
        self._buffer, self._table = w, addresses((w, worth))
        place = int(self._table.ctypes.data)
        self._worth = worth

        def trainable(before, after, task, typical):
            table = _open_weights(place)
            return learned_score(before, after, task, typical, table.values, table.prices, base)

        def interpreted(before, after, task, typical):
            return learned_score(before, after, task, typical, w, worth, base)

        super().__init__(trainable if JIT else interpreted, "trainable")

    @property
    def weights(self) -> Vector:
        """The weights now (a copy)."""
        return self._buffer.copy()

    @weights.setter
    def weights(self, values: Vector) -> None:
        if values.shape != self._buffer.shape or not np.isfinite(values).all():
            raise ConfigError(f"expected {len(self._buffer)} finite weights").at(field="weights")
        self._buffer[:] = values

    @property
    def looks_at_memory(self) -> bool:
        """The features leave memory out."""
        return False

    @property
    def address(self) -> int:
        """Where kernels find it."""
        if not JIT:
            return super().address
        if not hasattr(self, "_compiled"):
            self._compiled = numba.cfunc(SCORER)(self.function)
        return int(self._compiled.address or 0)


def policy(scorer: Scorer, queue: str = "skip", name: str | None = None) -> Incremental:
    """The scorer as a placement policy: a part of a GPU is cut where the score is best."""
    rules = Rules(gpus="score", ties="first", queue=queue)
    return Incremental(name or scorer.name, (Weighted(scorer),), rules)


def weights_of(artefact: Artefact) -> tuple[Vector, Vector]:
    """The flat weights and the price list in an artefact. Raises `ConfigError`."""
    parts = {"linear": artefact.weight("linear", K, N, dtype=np.float64)}
    if "hidden" in artefact.weights:
        parts["hidden"] = artefact.weight("hidden", -1, UNIT, dtype=np.float64)
    prices = artefact.weight("prices", PRICES, dtype=np.float64)
    return flat_of(parts), checked_prices(prices)


def flat_of(parts: Mapping[str, NDArray[Any]]) -> Vector:
    """`linear` [K, N] and `hidden` [units, UNIT], if there is one. Raises `ConfigError`."""
    found = [parts[name].ravel() for name in ("linear", "hidden") if name in parts]
    return checked(np.concatenate(found))


def arrays_of(weights: Vector, prices: Vector) -> Mapping[str, NDArray[Any]]:
    """The arrays of an artefact, from flat weights: the reverse of `weights_of`."""
    w = checked(weights)
    arrays = {"linear": w[: K * N].reshape(K, N), "prices": checked_prices(prices)}
    if len(w) > K * N:
        arrays["hidden"] = w[K * N :].reshape(-1, UNIT)
    return arrays


def make(artefact: Artefact, queue: str = "skip") -> Incremental:
    """The policy of a node scorer's artefact, for `get_policy("learned:...")`."""
    artefact.card.require(SCHEMA)
    base = artefact.card.architecture.get("base", 1.0)
    if base not in (0.0, 1.0):
        raise ConfigError(f"expected 0 or 1, got {base!r}").at(field="card.architecture.base")
    return policy(frozen(*weights_of(artefact), float(base), artefact.card.name), queue)
