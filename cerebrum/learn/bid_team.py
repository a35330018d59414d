"""Nodes that bid for tasks, as a team: bids in, the broker's award out, one reward for all.

The team objective is a cost in kWh, which depends on which node a task goes to:

    cost = energy of all nodes + 3 kWh x rejected work

Rejected work is in nodes: the largest share of the cluster that a rejected task asked for, times
the nodes of the cluster. Per decision it is of the same size on clusters of any size. In training
a decision is also charged at once for what it is known to lead to later, see `Shaping`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.clusters import Clusters
from cerebrum.learn.rewards import NAMES
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.bidder import BIDS, award

REJECTED_NODE_KWH = 3.0
"""What it costs to reject a task that asks for a node's worth of the scarcest resource."""
REWARD = {"power": 1.0, "rejected": 1.0}
"""What `Clusters` has to count; `cost_kwh` weighs it."""
_POWER, _REJECTED = NAMES.index("power"), NAMES.index("rejected")
_ADDED_KW = SCHEMA.names.index("power_added")
_ADDED_GPU = SCHEMA.names.index("fragmentation_added")


@dataclass(frozen=True, slots=True)
class Shaping:
    """Charged when a task is placed: `kwh_per_kw` for the power it adds, `kwh_per_gpu` for the GPUs
    it makes useless to typical tasks. `energy` 1 to charge for energy as it is drawn, too."""

    kwh_per_kw: float = 0.0
    kwh_per_gpu: float = 0.0
    energy: float = 1.0

    def charge_kwh(self, seen: NDArray[np.float32]) -> NDArray[np.floating]:
        """float32[...]: what a node that looks like `seen`, [..., F], is charged for the task."""
        return self.kwh_per_kw * seen[..., _ADDED_KW] + self.kwh_per_gpu * seen[..., _ADDED_GPU]


def cost_kwh(terms: NDArray[np.float64], nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The objective, from [..., T] reward terms and the number of nodes of each cluster."""
    return -terms[..., _POWER] - REJECTED_NODE_KWH * nodes * terms[..., _REJECTED]


class Bidders:
    """`Clusters` as a `Team` of bidders (see `replay`); who inherits says what a step is worth."""

    actions = BIDS

    def __init__(self, clusters: Clusters) -> None:
        self.clusters = clusters

    @property
    def observation(self) -> NDArray[np.float32]:
        """float32[E, N, F]."""
        return self.clusters.observation

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[E, N]: nodes that can take the task."""
        return self.clusters.mask

    @property
    def state(self) -> NDArray[np.float32]:
        """float32[E, S]: the cluster pooled."""
        return self.clusters.state

    def reset(self, seeds: NDArray[np.int64]) -> None:
        """New episodes."""
        self.clusters.reset(seeds)


class BidTeam(Bidders):
    """A team that pays for energy and rejected work; its reward is less the cost, x `scale`."""

    def __init__(self, clusters: Clusters, shaping: Shaping, scale: float = 10.0) -> None:
        super().__init__(clusters)
        self.shaping, self.scale = shaping, scale
        self._envs = np.arange(clusters.envs)

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Award every task to its highest bidder."""
        clusters = self.clusters
        rows = award(actions, clusters.mask)
        nodes = clusters.present.sum(1)
        taken = clusters.observation[self._envs, rows] * (rows >= 0)[:, None]
        later = self.shaping.charge_kwh(taken)
        _, done = clusters.step(rows)
        terms = clusters.terms
        cost = -self.shaping.energy * terms[:, _POWER]
        cost -= REJECTED_NODE_KWH * nodes * terms[:, _REJECTED]
        return ((cost + later) * -self.scale).astype(np.float32), done
