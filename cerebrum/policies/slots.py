"""ECSched's baselines: Kubernetes and Docker Swarm as its author wrote them (Euro-Par'18).

In queue order each task goes to the node with the highest score among those it fits on, the first
on ties. With d what it asks, a what is free and c the node's capacity, f = d / a:

    ecsched-k8s   sum of (1 - f_k) + 2 x sum over pairs of (1 - |f_x - f_y|)
    swarm         sum of (c_k - a_k + d_k) / c_k

over CPU, memory and, where tasks ask for them, GPUs. Defaults are those of the published figures,
one start a second (`docs/reference/ecsched-protocol.md`), which makes most of their distance to the
flow policies. `starts=0, round_s=0` lifts the limit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import Bind
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.batch import BatchPolicy
from cerebrum.policies.ecsched import resources
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit

Amounts = list[NDArray[np.float64]]
Score = Callable[[list[float], Amounts, Amounts], NDArray[np.float64]]


class Slots(BatchPolicy):
    """The best node for each task in turn, at most `starts` tasks a round (0: no limit)."""

    def __init__(
        self, name: str, score: Score, batch: int = 100, starts: int = 1, round_s: float = 1.0
    ) -> None:
        super().__init__(batch, round_s)
        self.name, self._score, self._starts = name, score, starts

    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """The first tasks that fit, up to the limit."""
        binds: list[Bind] = []
        failed: set[tuple[int, ...]] = set()
        for unit in waiting:
            if self._starts and len(binds) >= self._starts:
                break
            shape = tuple(room.kind_of(task) for task in unit)
            found = [] if shape in failed else self._place(room, unit)
            if not found:
                failed.add(shape)
            binds += found
        return binds

    def _place(self, room: Room, unit: Unit) -> list[Bind]:
        binds: list[Bind] = []
        for task in unit:
            fitting = room.fitting(room.class_of(task), task)
            if not fitting.any():
                room.undo(binds)
                return []
            asked, free, _ = resources(room, [task])
            have = [room.nodes[name].astype(np.float64) for name in ("cpu_milli", "memory_mib")]
            if len(asked) > len(have):
                have.append(room.nodes["gpu_count"] * 1000.0)
            scores = self._score([float(d[0]) for d in asked], free, have)
            binds.append(room.bind(task, int(np.argmax(np.where(fitting, scores, -np.inf)))))
        return binds


def kubernetes_score(asked: list[float], free: Amounts, have: Amounts) -> NDArray[np.float64]:
    """Least requested, plus twice the balance of every pair of resources."""
    share = [d / np.maximum(a, 1e-9) for d, a in zip(asked, free, strict=True)]
    score = np.zeros(len(free[0]))
    for i, x in enumerate(share):  # added up in the author's order: equal nodes must tie as his do
        score += 1 - x
        for y in share[i + 1 :]:
            score += 2 * (1 - np.abs(x - y))
    return score


def swarm_score(asked: list[float], free: Amounts, have: Amounts) -> NDArray[np.float64]:
    """Binpack: use after placing, as a share of the node."""
    score = np.zeros(len(free[0]))
    for d, a, c in zip(asked, free, have, strict=True):
        score += np.where(c > 0, (c - a + d) / np.maximum(c, 1.0), 0.0)
    return score


def kubernetes(batch: int = 100, starts: int = 1, round_s: float = 1.0) -> Slots:
    """Spreads and balances."""
    return Slots("ecsched-k8s", kubernetes_score, batch, starts, round_s)


def swarm(batch: int = 100, starts: int = 1, round_s: float = 1.0) -> Slots:
    """Packs."""
    return Slots("swarm", swarm_score, batch, starts, round_s)
