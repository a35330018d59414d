# pyright: basic, reportPrivateImportUsage=false
"""Local search on a plan: its order and its nodes are changed where they make the plan long.

A plan is rebuilt from an order of the tasks and a node for each, in the first idle gap, as list
scheduling does. Which tasks make it long is read off the plan itself: backwards from the task that
ends last, over what each one had to wait for.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine._schedule_kernels import arrival, earliest_start, occupy
from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import below, mix

MEMORY = 200  # accepted plans a new one may be as long as (late acceptance hill climbing)
_NEAR = 1e-9


@kernel
def rebuild(
    order, row_of, length_s, need, lanes, first, edges, before, volume_mb, cluster, latency_s,
    bandwidth, times, used, count, start_s, end_s, node,
):  # fmt: skip
    """Place each task on its row, in order; the makespan. A row of -1: where it ends first."""
    count[:] = 1
    times[:, 0] = 0.0
    used[:, 0] = 0
    makespan = 0.0
    for task in order:
        low, high = row_of[task], row_of[task] + 1
        if low < 0:
            low, high = 0, length_s.shape[1]
        best, best_start, best_end = low, 0.0, np.inf
        for row in range(low, high):
            length = length_s[task, row]
            if length == np.inf:
                continue
            ready = arrival(
                task, row, first, edges, before, volume_mb, end_s, node, cluster, latency_s,
                bandwidth,
            )  # fmt: skip
            start = earliest_start(
                times[row], used[row], count[row], ready, length, need[task], lanes[row], best_end
            )
            if start + length < best_end:
                best, best_start, best_end = row, start, start + length
        node[task], start_s[task], end_s[task] = best, best_start, best_end
        count[best] = occupy(times[best], used[best], count[best], best_start, best_end, need[task])
        makespan = max(makespan, best_end)
    return makespan


@kernel
def blocker(
    task, order, first, edges, before, volume_mb, cluster, latency_s, bandwidth, start_s,
    end_s, node,
):  # fmt: skip
    """What a task had to wait for: whose data came last, or who left the node last; -1: nobody."""
    row, start = node[task], start_s[task]
    if start <= 0.0:
        return -1
    for e in edges[first[task] : first[task + 1]]:
        source = before[e]
        here = end_s[source]
        if node[source] != row and volume_mb[e] > 0:
            a, b = cluster[node[source]], cluster[row]
            here += latency_s[a, b] + volume_mb[e] / bandwidth[a, b]
        if here >= start - _NEAR * start:
            return source
    for other in order:
        near = abs(end_s[other] - start) <= _NEAR * start
        if node[other] == row and other != task and near and start_s[other] < start:
            return other
    return -1


@kernel
def critical_tasks(
    order, first, edges, before, volume_mb, cluster, latency_s, bandwidth, start_s, end_s, node,
    out,
):  # fmt: skip
    """Fill `out` with the tasks that make the plan as long as it is, last first; how many."""
    task = order[0]
    for other in order:
        if end_s[other] > end_s[task]:
            task = other
    found = 0
    while task >= 0 and found < len(out):
        out[found] = task
        found += 1
        task = blocker(
            task, order, first, edges, before, volume_mb, cluster, latency_s, bandwidth,
            start_s, end_s, node,
        )  # fmt: skip
    return found


@kernel
def _shift(order, place, task, to):
    """Move a task forward in the order to position `to`."""
    for i in range(place[task], to, -1):
        order[i] = order[i - 1]
        place[order[i]] = i
    order[to] = task
    place[task] = to


@kernel
def _earliest_place(task, place, first, edges, before):
    """The first position a task may take: behind all it waits for."""
    low = 0
    for e in edges[first[task] : first[task + 1]]:
        low = max(low, place[before[e]] + 1)
    return low


@kernel
def _other_row(task, row, length_s, draw):
    """A node drawn from the others the task may run on; its own if there is none."""
    m, choices = length_s.shape[1], 0
    for other in range(m):
        if other != row and length_s[task, other] < np.inf:
            choices += 1
    if choices == 0:
        return row
    skip = below(draw, choices)
    for other in range(m):
        if other != row and length_s[task, other] < np.inf:
            if skip == 0:
                return other
            skip -= 1
    return row


@kernel
def _change(task, draw, order, place, row_of, length_s, first, edges, before):
    """One step for a task: another node, the node of a source, an earlier turn, or a fresh start.

    After a fresh start all that come behind the task go to where they end first.
    """
    kind = below(mix(draw, 1), 8)
    if kind < 3 or kind == 7:
        row_of[task] = _other_row(task, row_of[task], length_s, mix(draw, 2))
    elif kind < 5 and first[task + 1] > first[task]:
        e = edges[first[task] + below(mix(draw, 2), first[task + 1] - first[task])]
        if length_s[task, row_of[before[e]]] < np.inf:
            row_of[task] = row_of[before[e]]
    if kind == 4 or kind == 5 or kind == 6:
        low = _earliest_place(task, place, first, edges, before)
        if low < place[task]:
            _shift(order, place, task, low + below(mix(draw, 3), place[task] - low))
    if kind == 7:
        for i in range(place[task] + 1, len(order)):
            row_of[order[i]] = -1


@kernel
def improve(
    steps, key, bound_s, order, length_s, need, lanes, first, edges, before, volume_mb, cluster,
    latency_s, bandwidth, start_s, end_s, node,
):  # fmt: skip
    """Change a plan for the better, in place, in at most `steps` rebuilds; stops at `bound_s`.

    Late acceptance hill climbing (Burke and Bykov, EJOR 258(1), 2017): a changed plan is kept if it
    is no longer than the current one, or than the current one of `MEMORY` steps ago. `order` is any
    order in which the plan could have been built; `key` seeds the draws.
    """
    n, m = length_s.shape
    times, used = np.zeros((m, 2 * n + 4)), np.zeros((m, 2 * n + 4), np.int64)
    count, critical = np.ones(m, np.int64), np.zeros(n, np.int64)
    place, row_of = np.zeros(n, np.int64), node.copy()
    for i in range(n):
        place[order[i]] = i
    start, end, at = start_s.copy(), end_s.copy(), node.copy()
    try_start, try_end, try_at = start_s.copy(), end_s.copy(), node.copy()
    try_order, try_place, try_row = order.copy(), place.copy(), row_of.copy()
    current = best = end.max()
    memory, found = np.full(MEMORY, current), 0
    for step in range(steps):
        if best <= bound_s:
            break
        if found == 0:
            found = critical_tasks(
                order, first, edges, before, volume_mb, cluster, latency_s, bandwidth, start,
                end, at, critical,
            )  # fmt: skip
        draw = mix(key, step)
        task = critical[below(mix(draw, 5), found)]
        if below(mix(draw, 6), 8) == 0:
            task = below(mix(draw, 7), n)
        try_order[:], try_place[:], try_row[:] = order, place, row_of
        _change(task, draw, try_order, try_place, try_row, length_s, first, edges, before)
        makespan = rebuild(
            try_order, try_row, length_s, need, lanes, first, edges, before, volume_mb, cluster,
            latency_s, bandwidth, times, used, count, try_start, try_end, try_at,
        )  # fmt: skip
        slot = step % MEMORY
        if makespan <= current or makespan <= memory[slot]:
            current, found = makespan, 0
            order[:], place[:], row_of[:] = try_order, try_place, try_at
            start[:], end[:], at[:] = try_start, try_end, try_at
            if current < best:
                best = current
                start_s[:], end_s[:], node[:] = start, end, at
        memory[slot] = current
    return best
