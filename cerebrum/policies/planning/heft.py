"""HEFT, Heterogeneous Earliest Finish Time (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).

Tasks by falling upward rank, each on the node where it ends first, in the first idle gap that
holds it. Ranks use run times and transfer times averaged over nodes and pairs of nodes. Ties in
rank go by topological order, ties in the end of a task by row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.schedule import Plan, Platform, list_schedule, rank_order, upward_rank
from cerebrum.model.federation import Federation
from cerebrum.model.workflow import Workflow


def platform_of(where: Federation | Platform) -> Platform:
    """The nodes of a federation with their cores, or the platform as given."""
    return where if isinstance(where, Platform) else Platform.of(where)


class Heft:
    """The published algorithm."""

    name = "heft"

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """See `Planner`."""
        platform = platform_of(where)
        order = rank_order(workflow, upward_rank(workflow, platform, cluster_of_task))
        return list_schedule(workflow, platform, order, cluster_of_task=cluster_of_task)
