# pyright: basic, reportPrivateImportUsage=false
"""How long a workflow would take on clusters: the figure decomposers and assigners compare by.

HEFT over the lanes of the clusters, from what the controller knows of them (`ClusterView`). It is
an estimate: inside a cluster the agent decides, with nodes that are busy or free by then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.model.federation import ClusterViews, Network
from cerebrum.model.workflow import Workflow
from cerebrum.policies.decomposition import _lists as lists
from cerebrum.policies.decomposition import _quotient as quotient
from cerebrum.policies.decomposition._dispatch import LARGE, dispatch, length_s
from cerebrum.policies.decomposition._parts import place_parts, refine_parts
from cerebrum.policies.decomposition._problem import Instance, open_problem


@kernel
def _rank(handle, mean_inverse_speed, mean_latency_s, mean_inverse):
    lists.upward_ranks(open_problem(handle), mean_inverse_speed, mean_latency_s, mean_inverse)


@kernel
def _makespan(handle, site):
    return length_s(open_problem(handle), site)


@kernel
def _greedy(handle, site, price_s_per_mb):
    p = open_problem(handle)
    end = lists.greedy(p, site, price_s_per_mb)
    return end if len(site) > LARGE else dispatch(p, site)


@kernel
def _site_cut(handle, site):
    return quotient.site_cut(open_problem(handle), site)


@kernel
def _site_parts(handle, site, out):
    p = open_problem(handle)
    groups = len(p.reach)
    component = quotient.components(p, site, groups)
    quotient.phases(p, site, component)
    return quotient.number_parts(p, site, component, groups, out)


@dataclass(frozen=True, slots=True)
class Judged:
    """Parts int32[tasks] under HEFT over clusters: `chosen` int64[parts] (-2: none can hold it),
    `site` int64[tasks] the cluster of each task (0 for those)."""

    makespan_s: float
    cut_mb: float
    part: NDArray[np.int32]
    chosen: NDArray[np.int64]
    site: NDArray[np.int64]


class Estimate:
    """Makespans of one workflow on one set of clusters. A *site* is the cluster of a task.

    Not for use by two threads at once: it owns the workspace of the kernels.
    """

    def __init__(self, workflow: Workflow, clusters: ClusterViews, network: Network) -> None:
        self.instance = Instance(workflow, clusters, network)
        a = self.instance.arrays
        latency_s, inverse = _mean_link(self.instance)
        speed = float((1.0 / a.lane_speed).mean()) if len(a.lane_speed) else 1.0
        _rank(self.instance.handle, speed, latency_s, inverse)

    @property
    def handle(self) -> object:
        """What kernels take."""
        return self.instance.handle

    @property
    def lanes(self) -> int:
        """Tasks that run at once, over all clusters."""
        return len(self.instance.arrays.lane_speed)

    def makespan_s(self, site: NDArray[np.int64]) -> float:
        """Seconds until the last task ends, with every task in its cluster."""
        return float(_makespan(self.handle, site))

    def start_finish_s(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """When tasks start and finish in the schedule estimated last: views, float64[tasks]."""
        return self.instance.arrays.start, self.instance.arrays.finish

    def greedy(self, price_s_per_mb: float = 0.0) -> tuple[float, NDArray[np.int64]]:
        """HEFT over all lanes, with a price on data from other clusters: makespan and sites."""
        site = np.zeros(len(self.instance), np.int64)
        return float(_greedy(self.handle, site, price_s_per_mb)), site

    def cut_mb(self, site: NDArray[np.int64]) -> float:
        """10^6 bytes between parts, when the tasks of each cluster form as few as they can."""
        return float(_site_cut(self.handle, site))

    def parts(self, site: NDArray[np.int64]) -> NDArray[np.int32]:
        """int32[tasks]: those parts, in topological order."""
        out = np.zeros(len(self.instance), np.int32)
        _site_parts(self.handle, site, out)
        return out

    def repaired(self, group: NDArray[np.int64], contract: bool) -> NDArray[np.int32]:
        """int32[tasks]: acyclic parts of groups numbered from 0: contracted, or cut into phases."""
        out = np.zeros(len(self.instance), np.int32)
        quotient.repair(self.handle, group, int(group.max()) + 1, contract, out)
        return out

    def heft(self, part: NDArray[np.int32], placed: NDArray[np.int32] | None = None) -> Judged:
        """HEFT over clusters. Parts in `placed` (-1: open) stay where they are."""
        parts = int(part.max()) + 1
        chosen = np.full(parts, -1, np.int64) if placed is None else placed.astype(np.int64)
        site = np.empty(len(part), np.int64)
        length, cut = place_parts(self.handle, part, parts, chosen, site)
        return Judged(float(length), float(cut), part, chosen, site)

    def refine(
        self,
        part: NDArray[np.int32],
        chosen: NDArray[np.int64],
        fixed: NDArray[np.bool_],
        trials: int,
    ) -> float:
        """Move parts between clusters while the estimate falls; it never rises. The makespan.

        Changes `chosen`, int64[parts], but for parts that are `fixed` or negative.
        """
        return float(refine_parts(self.handle, part, len(chosen), chosen, fixed, trials))


def _mean_link(instance: Instance) -> tuple[float, float]:
    """Mean latency and mean seconds per MB over pairs of distinct nodes."""
    k, a = len(instance.clusters), instance.arrays
    nodes = np.array(
        [len(np.unique(a.lane_node[a.lane_first[c] : a.lane_first[c + 1]])) for c in range(k)]
    )
    pairs = (np.outer(nodes, nodes) - np.diag(nodes)).astype(np.float64).ravel()
    total = float(pairs.sum())
    if total <= 0:
        return 0.0, 0.0
    return float(pairs @ a.latency) / total, float(pairs @ a.inverse) / total
