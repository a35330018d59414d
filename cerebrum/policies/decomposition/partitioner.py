"""Cerebrum's own partitioner: parts for these clusters and links, never cutting more than Louvain.

What a part is good for is the schedule it allows, so cutting and assigning are one search. A
*site* is a cluster for every task; the parts of a site are its tasks by cluster, cut into as few
phases as keep the quotient acyclic. The search looks for the site with the smallest estimated
makespan among those whose parts cut at most as many bytes as the (repaired) Louvain communities:

1. Candidates: Louvain's parts, levels and the whole workflow under HEFT over clusters; HEFT over
   all nodes, with prices on data that changes cluster (weighing run time against volume).
2. The best of them are improved by local search (`_search`), within a budget that grows with the
   workflow, in schedules, not in seconds: the result does not depend on the machine.

Parts are numbered by component, phase and cluster, so the quotient is acyclic by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.workflow import Workflow
from cerebrum.policies.decomposition._dispatch import LARGE
from cerebrum.policies.decomposition._search import search
from cerebrum.policies.decomposition.estimate import Estimate, Judged
from cerebrum.policies.decomposition.levels import Levels
from cerebrum.policies.decomposition.louvain import repaired

_FEW_PRICES = (0.3,)  # for large workflows, for time
TOLERANCE = 0.005
"""Of the makespan: what is given for fewer bytes between parts."""
_PRICES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
_ROUNDING = 1.0 + 1e-9
_LEAST_TRIALS = 100  # fewer would hardly find anything


@dataclass(order=True, slots=True)
class _Candidate:
    """Compared by makespan, then by bytes cut."""

    makespan_s: float
    cut_mb: float
    site: NDArray[np.int64] = field(compare=False)
    part: NDArray[np.int32] | None = field(compare=False, default=None)


class Partitioner:
    """`effort` scales the local search (0: none); `tolerance` is the share of the makespan that is
    given for fewer bytes between parts; `cut` what may be cut, over Louvain's cut;
    `resolution` that of the Louvain communities that set the bound (0: the best)."""

    name = "cerebrum"

    def __init__(
        self,
        effort: float = 1.0,
        tolerance: float = TOLERANCE,
        cut: float = 1.0,
        resolution: float = 0.0,
    ) -> None:
        given = {"effort": effort, "tolerance": tolerance, "cut": cut, "resolution": resolution}
        for key, value in given.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"expected a number of at least 0, got {value}").at(field=key)
        self.effort, self.tolerance = float(effort), float(tolerance)
        self.cut, self.resolution = float(cut), float(resolution)

    def decompose(
        self, workflow: Workflow, clusters: ClusterViews, network: Network
    ) -> Decomposition:
        """The parts of the best site found, and its clusters as `preferred`."""
        if not len(workflow) or not clusters:
            return Decomposition(workflow, np.zeros(len(workflow), np.int32))
        estimate = Estimate(workflow, clusters, network)
        best = self._best(estimate)
        part = estimate.parts(best.site) if best.part is None else best.part
        preferred = np.full(int(part.max()) + 1, -1, np.int32)
        preferred[part] = best.site
        return Decomposition(workflow, part, preferred)

    def _best(self, estimate: Estimate) -> _Candidate:
        bound = repaired(estimate, self.resolution)
        most_mb = bound.cut_mb * self.cut
        louvain = _joined(estimate, bound)
        found = [louvain, *_candidates(estimate)]
        within = sorted(one for one in found if one.cut_mb <= most_mb * _ROUNDING)
        above = sorted(one for one in found if one.cut_mb > most_mb * _ROUNDING)
        starts = [*within[:2], *above[:1]]
        trials = self._trials(estimate) // (len(starts) + 1)
        if trials:
            tried = (_improved(estimate, start, most_mb, 0.0, trials) for start in starts)
            within += [one for one in tried if one.cut_mb <= most_mb * _ROUNDING]
        limit = min(within).makespan_s * (1 + self.tolerance)
        best = min((o for o in within if o.makespan_s <= limit), key=lambda one: one.cut_mb)
        if trials and best.cut_mb > 0:
            less = _improved(estimate, best, most_mb, limit, trials)
            best = less if less.cut_mb < best.cut_mb else best
        return best

    def _trials(self, estimate: Estimate) -> int:
        n, k = len(estimate.instance), len(estimate.instance.clusters)
        if k < 2:
            return 0
        edges = len(estimate.instance.arrays.p_task)
        one = n * estimate.lanes / k + 4 * edges + n
        trials = int(self.effort * min(300.0 * n * n, 1e7) / one)
        return trials if trials >= _LEAST_TRIALS else 0


def _candidates(estimate: Estimate) -> list[_Candidate]:
    w = estimate.instance.workflow
    views, network = estimate.instance.clusters, estimate.instance.network
    found: list[_Candidate] = []
    if len(w) <= LARGE:
        levels = Levels().decompose(w, views, network).part
        found += [_joined(estimate, estimate.heft(p)) for p in (levels, np.zeros_like(levels))]
    unit = float(estimate.instance.arrays.duration.sum()) / max(estimate.instance.total_mb, 1e-9)
    for price in _PRICES if len(w) <= LARGE else _FEW_PRICES:
        length, site = estimate.greedy(price * unit)
        found.append(_Candidate(length, estimate.cut_mb(site), site))
    return found


def _joined(estimate: Estimate, parts: Judged) -> _Candidate:
    """Parts that HEFT gave to one cluster are joined, if that cuts less."""
    joined = estimate.cut_mb(parts.site)
    if joined <= parts.cut_mb:
        return _Candidate(parts.makespan_s, joined, parts.site)
    return _Candidate(parts.makespan_s, parts.cut_mb, parts.site, parts.part)


def _improved(
    estimate: Estimate, start: _Candidate, most_mb: float, most_s: float, trials: int
) -> _Candidate:
    site = start.site.copy()
    length, cut = search(estimate.handle, site, most_mb, most_s, trials, 1)
    return _Candidate(float(length), float(cut), site)
