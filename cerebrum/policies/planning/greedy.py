# pyright: basic, reportPrivateImportUsage=false
"""Min-Min, Max-Min and Sufferage on the ready tasks of a workflow (Ibarra and Kim, J. ACM 24(2),
1977; Maheswaran et al., J. Parallel Distrib. Comput. 59(2), 1999).

Among the tasks whose predecessors are placed, Min-Min takes the one that can end first, Max-Min
the one whose earliest end is last, Sufferage the one that loses most if it gets its second best
node; it goes to the node where it ends first, in the first idle gap. Ties go to the lowest task
index and the lowest row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine._schedule_kernels import arrival, earliest_start, occupy
from cerebrum.engine.compiled import kernel
from cerebrum.engine.schedule import Plan, Platform
from cerebrum.model.federation import Federation
from cerebrum.model.workflow import Workflow
from cerebrum.policies.planning._tables import Tables
from cerebrum.policies.planning.heft import platform_of

MIN_MIN, MAX_MIN, SUFFERAGE = 0, 1, 2


@kernel
def _best_two(
    task, length_s, need, lanes, times, used, count, first, edges, before, volume_mb, cluster,
    latency_s, bandwidth, end_s, node, out,
):  # fmt: skip
    """Fill out[task] with best row, start, end there, second row, end there."""
    row1, start1, end1, row2, end2 = -1, np.inf, np.inf, -1, np.inf
    for row in range(length_s.shape[1]):
        length = length_s[task, row]
        if length == np.inf:
            continue
        ready = arrival(
            task, row, first, edges, before, volume_mb, end_s, node, cluster, latency_s, bandwidth
        )
        start = earliest_start(
            times[row], used[row], count[row], ready, length, need[task], lanes[row], end2
        )
        end = start + length
        if end < end1:
            row2, end2 = row1, end1
            row1, start1, end1 = row, start, end
        elif end < end2:
            row2, end2 = row, end
    out[task, 0], out[task, 1], out[task, 2] = row1, start1, end1
    out[task, 3], out[task, 4] = row2, end2


@kernel
def _urgency(rule, found):
    """The task with the highest goes next."""
    if rule == MIN_MIN:
        return -found[2]
    if rule == MAX_MIN:
        return found[2]
    return found[4] - found[2]


@kernel
def place_greedily(
    rule, length_s, need, lanes, first, edges, before, volume_mb, next_first, next_edges, after,
    cluster, latency_s, bandwidth, start_s, end_s, node,
):  # fmt: skip
    """Place all tasks by the rule. What a task found stands until one of its two nodes changes."""
    n, m = length_s.shape
    times, used = np.zeros((m, 2 * n + 4)), np.zeros((m, 2 * n + 4), np.int64)
    count, waits = np.ones(m, np.int64), np.zeros(n, np.int64)
    found, fresh = np.zeros((n, 5)), np.zeros(n, np.bool_)
    ready, n_ready = np.zeros(n, np.int64), 0
    for task in range(n):
        waits[task] = first[task + 1] - first[task]
        if waits[task] == 0:
            ready[n_ready] = task
            n_ready += 1
    for _ in range(n):
        at = -1
        for i in range(n_ready):
            task = ready[i]
            if not fresh[task]:
                _best_two(
                    task, length_s, need, lanes, times, used, count, first, edges, before,
                    volume_mb, cluster, latency_s, bandwidth, end_s, node, found,
                )  # fmt: skip
                fresh[task] = True
            if at < 0:
                at = i
                continue
            value, best = _urgency(rule, found[task]), _urgency(rule, found[ready[at]])
            if value > best or (value == best and task < ready[at]):
                at = i
        task = ready[at]
        row = np.int64(found[task, 0])
        node[task], start_s[task], end_s[task] = row, found[task, 1], found[task, 2]
        count[row] = occupy(
            times[row], used[row], count[row], start_s[task], end_s[task], need[task]
        )
        n_ready -= 1
        ready[at] = ready[n_ready]
        for i in range(n_ready):
            if found[ready[i], 0] == row or found[ready[i], 3] == row:
                fresh[ready[i]] = False
        for e in next_edges[next_first[task] : next_first[task + 1]]:
            waits[after[e]] -= 1
            if waits[after[e]] == 0:
                ready[n_ready] = after[e]
                n_ready += 1


class _Greedy:
    name = ""
    rule = MIN_MIN

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """See `Planner`."""
        tables = Tables.of(workflow, platform_of(where), cluster_of_task)
        plan = tables.empty()
        place_greedily(
            self.rule, tables.length_s, tables.need, tables.platform.lanes, *tables.incoming,
            *workflow.successors, workflow.after, *tables.nodes, plan.start_s, plan.end_s,
            plan.node,
        )  # fmt: skip
        return plan


class MinMin(_Greedy):
    """Short tasks first."""

    name = "min-min"
    rule = MIN_MIN


class MaxMin(_Greedy):
    """Long tasks first."""

    name = "max-min"
    rule = MAX_MIN


class Sufferage(_Greedy):
    """First those that would suffer most."""

    name = "sufferage"
    rule = SUFFERAGE
