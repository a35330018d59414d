"""The default assigner: data locality, load and forecast at once, by their effect on the makespan.

Several first answers (HEFT over clusters, the clusters the decomposer cut the parts for, everything
beside what is placed already) are compared by the estimated makespan, in which transfers, backlog
and forecast all appear as time; the best is improved by moving one part at a time. A move is kept
only if the estimate falls, so the answer is never worse than HEFT's by that estimate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.policies.assignment._checks import held
from cerebrum.policies.decomposition._feasible import feasible_parts
from cerebrum.policies.decomposition.estimate import Estimate

_LANE_VISITS = 2e7  # of the refinement, at most
_LANE_VISITS_PER_TASK = 5_000.0


class Refined:
    """`effort` scales the refinement (0: none). No randomness: `key` is not used."""

    name = "cerebrum"

    def __init__(self, effort: float = 1.0) -> None:
        if not (math.isfinite(effort) and effort >= 0):
            raise ConfigError(f"expected a number of at least 0, got {effort}").at(field="effort")
        self.effort = float(effort)

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: NDArray[np.int32] | None = None,
        key: int = 0,
    ) -> NDArray[np.int32]:
        """int32[parts]: index of the cluster, -1 where none can hold the part's tasks."""
        fixed = held(decomposition, clusters, placed)
        if not decomposition.parts or not clusters:
            return fixed
        estimate = Estimate(decomposition.workflow, clusters, network)
        part = decomposition.part
        found = [estimate.heft(part, fixed).chosen]
        found += self._others(decomposition, clusters, fixed, found[0])
        lengths = [estimate.makespan_s(np.maximum(one, 0)[part]) for one in found]
        best = found[int(np.argmin(lengths))].copy()
        estimate.refine(part, best, fixed >= 0, self._trials(estimate))
        return np.maximum(best, -1).astype(np.int32)

    def _others(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        fixed: NDArray[np.int32],
        heft: NDArray[np.int64],
    ) -> list[NDArray[np.int64]]:
        """More first answers: what the decomposer meant, and each cluster for all it can hold."""
        can = feasible_parts(decomposition.workflow.tasks, decomposition.part, clusters)
        wishes = [np.full(len(fixed), c, np.int64) for c in range(min(len(clusters), 8))]
        if decomposition.preferred is not None:
            wishes.insert(0, decomposition.preferred.astype(np.int64))
        found: list[NDArray[np.int64]] = []
        for wish in wishes:
            known = (wish >= 0) & (wish < len(clusters))
            known &= can[np.arange(len(wish)), np.where(known, wish, 0)]
            found.append(np.where(fixed >= 0, fixed, np.where(known, wish, heft)))
        return found

    def _trials(self, estimate: Estimate) -> int:
        n, k = len(estimate.instance), len(estimate.instance.clusters)
        one = n * estimate.lanes / k + n + 2 * len(estimate.instance.arrays.p_task)
        return int(self.effort * min(_LANE_VISITS, _LANE_VISITS_PER_TASK * n) / one)
