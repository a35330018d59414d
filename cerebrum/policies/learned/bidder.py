"""A bidder: every node bids for a task from its own observation, the broker takes the highest.

A bid is 0, which abstains, or 1..10. All nodes share one small network, so that one set of weights
serves any number of nodes, and a node that is alone can compute its own bid.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError

ABSTAIN = 0
HIGHEST_BID = 10
BIDS = HIGHEST_BID + 1
"""How many actions an agent has."""


def award(
    bids: NDArray[np.integer],
    mask: NDArray[np.bool_],
    rank: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Who gets the task: int64[...], a row of the last axis, -1 where nobody can and wants to.

    The highest bid among feasible nodes (`mask`, as `bids` in shape) that do not abstain. Of equal
    bids the lowest `rank` wins: a node's place in name order, so that the order in which bids come
    in decides nothing. Without ranks rows are taken to be in name order already. A bid outside
    1..10 is none.
    """
    valid = mask & (bids > ABSTAIN) & (bids <= HIGHEST_BID)
    offers = np.where(valid, bids, ABSTAIN)
    if rank is None:
        rows = offers.argmax(axis=-1)  # the first of equal ones
    else:
        best = offers.max(axis=-1, keepdims=True, initial=ABSTAIN)
        rows = np.where(valid & (offers == best), rank, np.iinfo(np.int64).max).argmin(axis=-1)
    return np.where(valid.any(axis=-1), rows, -1)


class Bidder:
    """Bids of a trained network, in NumPy: layers `w0, b0, w1, b1, ...`, ReLU between them."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """`w<i>` float32[in, out], `b<i>` float32[out]; the last layer has 11 outputs."""
        count = sum(name.startswith("w") for name in weights)
        self._layers = [_layer(weights, i) for i in range(count)]
        shapes = [w.shape for w, _ in self._layers]
        joined = all(a[1] == b[0] for a, b in pairwise(shapes))
        if not count or not joined or shapes[-1][1] != BIDS or len(weights) != 2 * count:
            raise ConfigError(f"bidder: expected joined layers that end in {BIDS}, got {shapes}")

    @property
    def features(self) -> int:
        """How many numbers an observation has."""
        return self._layers[0][0].shape[0]

    def values(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[..., 11]: what each bid is worth, from float32[..., features]."""
        x = observation
        for i, (w, b) in enumerate(self._layers):
            x = x @ w + b
            if i + 1 < len(self._layers):
                x = np.maximum(x, 0.0, out=x)
        return x

    def bids(self, observation: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """int64[...], 0..10 a node. Infeasible nodes abstain; of bids worth the same the lowest."""
        return np.where(mask, self.values(observation).argmax(axis=-1), ABSTAIN)


def _layer(
    weights: Mapping[str, NDArray[np.float32]], i: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        w, b = weights[f"w{i}"], weights[f"b{i}"]
    except KeyError as missing:
        raise ConfigError(f"bidder: there is no layer {missing}, got {sorted(weights)}") from None
    if w.ndim != 2 or b.shape != w.shape[1:] or not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ConfigError(
            f"bidder: expected a finite matrix and a bias a column, got {w.shape} and {b.shape}"
        ).at(field=f"w{i}")
    return np.ascontiguousarray(w, np.float32), np.ascontiguousarray(b, np.float32)
