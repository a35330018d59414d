"""Louvain: communities of tasks that exchange much data, repaired so that no cycle is left.

Blondel et al., J. Stat. Mech. P10008 (2008), on the undirected graph of data volumes; the
prototype's decomposition. Two things are left open by it, and both are settled by the estimated
makespan after HEFT over clusters, in Louvain's favour:

- Communities ignore direction, so contracted ones can wait for each other. Two repairs are known
  (see `_quotient`): contract the communities on a cycle into one, which cuts fewer bytes and can
  swallow the whole workflow, or cut them into phases, which keeps the parallelism.
- At resolution 1 a star, a fork and join, is one community: one cluster would run it all. So
  higher resolutions (Reichardt and Bornholdt, Phys. Rev. E 74, 2006) are tried too.

The shortest makespan wins, on a tie the one that cuts fewer bytes. `louvain:resolution=1` is the
plain one. Of more than 5,000 tasks, only resolution 1, cut into phases, is made.
"""

from __future__ import annotations

import math

import numpy as np

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.workflow import Workflow
from cerebrum.policies.decomposition._dispatch import LARGE
from cerebrum.policies.decomposition._modularity import communities
from cerebrum.policies.decomposition.estimate import Estimate, Judged

RESOLUTIONS = (1.0, 2.0, 4.0, 8.0, 16.0)


class Louvain:
    """`resolution` 0 tries several; above 1 gives smaller communities. `repair`: best, contract or
    cut."""

    name = "louvain"

    def __init__(self, resolution: float = 0.0, repair: str = "best") -> None:
        if not (math.isfinite(resolution) and resolution >= 0):
            raise ConfigError(f"expected a finite number of at least 0, got {resolution}").at(
                field="resolution"
            )
        if repair not in ("best", "contract", "cut"):
            raise ConfigError(f"expected best, contract or cut, got {repair!r}").at(field="repair")
        self.resolution, self.repair = float(resolution), repair

    def decompose(
        self, workflow: Workflow, clusters: ClusterViews, network: Network
    ) -> Decomposition:
        """Communities, repaired."""
        if not len(workflow) or not clusters:
            return Decomposition(workflow, np.zeros(len(workflow), np.int32))
        estimate = Estimate(workflow, clusters, network)
        return Decomposition(workflow, repaired(estimate, self.resolution, self.repair).part)


def repaired(estimate: Estimate, resolution: float = 0.0, repair: str = "best") -> Judged:
    """The communities as parts; see the module."""
    large = len(estimate.instance) > LARGE
    many = RESOLUTIONS[:1] if large else RESOLUTIONS
    repairs = (repair,) if repair != "best" else ("cut",) if large else ("contract", "cut")
    tried: dict[bytes, Judged] = {}
    w = estimate.instance.workflow
    for gamma in (resolution,) if resolution else many:
        group = communities(w.before, w.after, w.volume_mb, len(w), gamma)
        for kind in repairs:
            part = estimate.repaired(group, contract=kind == "contract")
            key = part.tobytes()
            if key not in tried:
                tried[key] = estimate.heft(part)
    return min(tried.values(), key=lambda one: (one.makespan_s, one.cut_mb))
