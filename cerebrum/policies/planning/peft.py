# pyright: basic, reportPrivateImportUsage=false
"""PEFT, Predict Earliest Finish Time (Arabnejad and Barbosa, IEEE TPDS 25(3), 2014).

A table of optimistic costs says, for each task and node, how long the workflow takes after the
task if everything after it gets its best node. Tasks are placed by falling mean of their rows, each
on the node where its end plus the optimistic cost is least: HEFT with a look ahead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine._schedule_kernels import arrival, earliest_start, occupy
from cerebrum.engine.compiled import kernel
from cerebrum.engine.schedule import Plan, Platform, mean_costs
from cerebrum.model.federation import Federation
from cerebrum.model.workflow import Workflow
from cerebrum.policies.planning._tables import Tables
from cerebrum.policies.planning.cpop import ready_order
from cerebrum.policies.planning.heft import platform_of


@kernel
def optimistic_costs(order, first, edges, after, length_s, move_s, out):
    """out[task, row] = the longest, over what follows, of its shortest way to the end."""
    m = length_s.shape[1]
    for k in range(len(order) - 1, -1, -1):
        task = order[k]
        for e in edges[first[task] : first[task + 1]]:
            follower, anywhere = after[e], np.inf
            for row in range(m):
                anywhere = min(anywhere, out[follower, row] + length_s[follower, row])
            for row in range(m):
                here = out[follower, row] + length_s[follower, row]
                out[task, row] = max(out[task, row], min(here, anywhere + move_s[e]))


@kernel
def place_ahead(
    order, costs, length_s, need, lanes, first, edges, before, volume_mb, cluster, latency_s,
    bandwidth, start_s, end_s, node,
):  # fmt: skip
    """Place the tasks in order, each where its end plus its cost is least; ties by row."""
    n, m = length_s.shape
    times, used = np.zeros((m, 2 * n + 4)), np.zeros((m, 2 * n + 4), np.int64)
    count = np.ones(m, np.int64)
    for task in order:
        best, best_start, least = -1, 0.0, np.inf
        for row in range(m):
            length = length_s[task, row]
            if length == np.inf:
                continue
            ready = arrival(
                task, row, first, edges, before, volume_mb, end_s, node, cluster, latency_s,
                bandwidth,
            )  # fmt: skip
            start = earliest_start(
                times[row], used[row], count[row], ready, length, need[task], lanes[row], np.inf
            )
            if start + length + costs[task, row] < least:
                best, best_start, least = row, start, start + length + costs[task, row]
        node[task], start_s[task], end_s[task] = best, best_start, best_start + length_s[task, best]
        count[best] = occupy(
            times[best], used[best], count[best], best_start, end_s[task], need[task]
        )


class Peft:
    """The published algorithm."""

    name = "peft"

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """See `Planner`."""
        platform = platform_of(where)
        tables = Tables.of(workflow, platform, cluster_of_task)
        costs, plan = np.zeros(tables.length_s.shape), tables.empty()
        _, move_s = mean_costs(workflow, platform, cluster_of_task)
        optimistic_costs(
            workflow.order, *workflow.successors, workflow.after, tables.length_s, move_s, costs
        )
        order = ready_order(workflow, costs.mean(axis=1))
        place_ahead(
            order, costs, tables.length_s, tables.need, platform.lanes, *tables.incoming,
            *tables.nodes, plan.start_s, plan.end_s, plan.node,
        )  # fmt: skip
        return plan
