"""Levels: bands of topological levels, of about equal work. Parts follow one another in a row.

The classic horizontal cut (level-based clustering, as in Pegasus: Singh et al., MG'08). A band
ends where the fewest bytes cross among the levels around its even share of the work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.workflow import Workflow


class Levels:
    """At most `bands` bands; 0: as many as there are clusters."""

    name = "levels"

    def __init__(self, bands: int = 0) -> None:
        if bands < 0:
            raise ConfigError(f"expected at least 0, got {bands}").at(field="bands")
        self.bands = bands

    def decompose(
        self, workflow: Workflow, clusters: ClusterViews, network: Network
    ) -> Decomposition:
        """Bands in the order of their levels."""
        if not len(workflow):
            return Decomposition(workflow, np.zeros(0, np.int32))
        ends = _ends(workflow, self.bands or max(1, len(clusters)))
        return Decomposition(workflow, np.searchsorted(ends, workflow.level).astype(np.int32))


def _ends(workflow: Workflow, bands: int) -> NDArray[np.int64]:
    """The last level of each band but the last one, ascending."""
    level, depth = workflow.level, int(workflow.level.max()) + 1
    work = np.bincount(level, weights=np.nan_to_num(workflow.tasks.duration_s, posinf=86_400.0))
    done = np.cumsum(work) / max(float(work.sum()), 1e-300)
    crossing = _crossing_mb(workflow, depth)
    ends: list[int] = []
    for band in range(1, min(bands, depth)):
        low, high = (np.searchsorted(done, (band + d) / bands) for d in (-0.25, 0.25))
        low = max(int(low), ends[-1] + 1 if ends else 0)
        high = min(max(int(high), low), depth - 2)
        if low <= high:
            ends.append(low + int(np.argmin(crossing[low : high + 1])))
    return np.asarray(ends, np.int64)


def _crossing_mb(workflow: Workflow, depth: int) -> NDArray[np.float64]:
    """float64[levels]: 10^6 bytes that flow from this level or an earlier one to a later one."""
    change = np.zeros(depth)
    np.add.at(change, workflow.level[workflow.before], workflow.volume_mb)
    np.subtract.at(change, workflow.level[workflow.after], workflow.volume_mb)
    return np.cumsum(change)
