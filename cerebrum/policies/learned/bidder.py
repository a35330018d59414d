"""A bidder: every node bids for a task from its own observation, the broker takes the highest.

A bid is 0, which abstains, or 1..10. All nodes share one small network, so that one set of weights
serves any number of nodes, and a node that is alone can compute its own bid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.networks import Mlp

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
        try:
            self._network = Mlp(weights)
        except ConfigError as problem:
            raise problem.at("bidder") from None
        strange = len(weights) - 2 * len(self._network.layers)
        if strange or self._network.outputs != BIDS:
            raise ConfigError(
                f"bidder: expected layers alone that end in {BIDS} bids, got {strange} arrays "
                f"beside layers that end in {self._network.outputs}"
            )
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise ConfigError("bidder: expected finite weights")

    @property
    def features(self) -> int:
        """How many numbers an observation has."""
        return self._network.inputs

    def values(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[..., 11]: what each bid is worth, from float32[..., features]."""
        return self._network(observation)

    def bids(self, observation: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """int64[...], 0..10 a node. Infeasible nodes abstain; of bids worth the same the lowest."""
        return np.where(mask, self.values(observation).argmax(axis=-1), ABSTAIN)
