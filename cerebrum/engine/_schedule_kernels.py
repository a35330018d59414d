# pyright: basic, reportPrivateImportUsage=false
"""Kernels of list scheduling: ranks, gaps in a node's time, the loop over tasks and nodes.

A node's time is a step function: from `times[i]` on, `used[i]` of its lanes are taken. The first
step starts at the beginning, the last one is empty and has no end; neighbours differ.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel

_STEPS = 64  # room for steps at first; doubled when a node needs more


@kernel
def upward(order, first, edges, after, work_s, move_s, rank):
    """rank[i] = work + the longest (move + rank) over what leaves i; `order` is topological."""
    for k in range(len(order) - 1, -1, -1):
        task, longest = order[k], 0.0
        for e in edges[first[task] : first[task + 1]]:
            longest = max(longest, move_s[e] + rank[after[e]])
        rank[task] = work_s[task] + longest


@kernel
def downward(order, first, edges, before, work_s, move_s, rank):
    """rank[i] = the longest (rank + work + move) over what task i waits for."""
    for task in order:
        longest = 0.0
        for e in edges[first[task] : first[task + 1]]:
            longest = max(longest, rank[before[e]] + work_s[before[e]] + move_s[e])
        rank[task] = longest


@kernel
def step_at(times, count, time_s):
    """The step that `time_s` falls into."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        if times[middle] <= time_s:
            low = middle
        else:
            high = middle
    return low


@kernel
def earliest_start(times, used, count, ready_s, length_s, need, lanes, finish_s):
    """The first time from `ready_s` on with `need` lanes free for `length_s`.

    inf as soon as it is clear that the task would not end before `finish_s`. A task of no length
    must find its lanes free when it starts, like any other.
    """
    start = ready_s
    for i in range(step_at(times, count, ready_s), count):
        if start + length_s >= finish_s:
            return np.inf
        if used[i] + need > lanes:
            start = times[i + 1] if i + 1 < count else np.inf
        elif i + 1 == count or times[i + 1] >= start + length_s:
            return start
    return np.inf


@kernel
def _split(times, used, count, time_s):
    """Have a step begin at `time_s`: its index, and how many steps there are now."""
    at = step_at(times, count, time_s)
    if times[at] == time_s:
        return at, count
    for i in range(count, at + 1, -1):
        times[i], used[i] = times[i - 1], used[i - 1]
    times[at + 1], used[at + 1] = time_s, used[at]
    return at + 1, count + 1


@kernel
def _join(times, used, count, at):
    """Drop the step `at` if it is like the one before it; how many steps are left."""
    if at == 0 or at >= count or used[at] != used[at - 1]:
        return count
    for i in range(at, count - 1):
        times[i], used[i] = times[i + 1], used[i + 1]
    return count - 1


@kernel
def occupy(times, used, count, start_s, end_s, need):
    """Take lanes from `start_s` to `end_s`; how many steps there are now (at most two more)."""
    if not end_s > start_s:
        return count
    begin, count = _split(times, used, count, start_s)
    end, count = _split(times, used, count, end_s)
    for i in range(begin, end):
        used[i] += need
    count = _join(times, used, count, end)
    return _join(times, used, count, begin)


@kernel
def _wider(old):
    """A copy with room for twice as many steps."""
    new = np.zeros((old.shape[0], 2 * old.shape[1]), old.dtype)
    new[:, : old.shape[1]] = old
    return new


@kernel
def arrival(task, row, first, edges, before, volume_mb, end_s, node, cluster, latency_s, bandwidth):
    """When all that the task reads is on node `row`; 0 for a task that reads nothing."""
    ready = 0.0
    for e in edges[first[task] : first[task + 1]]:
        source = before[e]
        here = end_s[source]
        if node[source] != row and volume_mb[e] > 0:
            a, b = cluster[node[source]], cluster[row]
            here += latency_s[a, b] + volume_mb[e] / bandwidth[a, b]
        ready = max(ready, here)
    return ready


@kernel
def place_all(
    order, duration_s, need, class_id, fits, only_cluster, only_node, first, edges, before,
    volume_mb, speed, lanes, cluster, latency_s, bandwidth, free_s, insertion, start_s, end_s, node,
):  # fmt: skip
    """Place the tasks in `order`, each where it ends first; ties go to the first node.

    Fills `start_s`, `end_s`, `node`; returns how many tasks were placed before one that no node may
    take. Without `insertion`, the tasks of a node start in the order in which they were placed.
    """
    m = len(speed)
    times, used = np.zeros((m, _STEPS)), np.zeros((m, _STEPS), np.int64)
    count, latest = np.ones(m, np.int64), np.zeros(m)
    for row in range(m):
        count[row] = occupy(times[row], used[row], 1, 0.0, free_s[row], lanes[row])
    for k in range(len(order)):
        task = order[k]
        best, best_start, best_end = -1, 0.0, np.inf
        for row in range(m):
            if only_node[task] >= 0 and only_node[task] != row:
                continue
            if only_cluster[task] >= 0 and only_cluster[task] != cluster[row]:
                continue
            if not fits[class_id[task], row] or need[task] > lanes[row]:
                continue
            ready = arrival(
                task, row, first, edges, before, volume_mb, end_s, node, cluster, latency_s,
                bandwidth,
            )  # fmt: skip
            if not insertion:
                ready = max(ready, latest[row])
            length = duration_s[task] / speed[row]
            start = earliest_start(
                times[row], used[row], count[row], ready, length, need[task], lanes[row], best_end
            )
            if start + length < best_end:
                best, best_start, best_end = row, start, start + length
        if best < 0:
            return k
        start_s[task], end_s[task], node[task] = best_start, best_end, best
        latest[best] = max(latest[best], best_start)
        if count[best] + 2 > times.shape[1]:
            times, used = _wider(times), _wider(used)
        count[best] = occupy(times[best], used[best], count[best], best_start, best_end, need[task])
    return len(order)


@kernel
def place_ready(now_s, length_s, need, lanes, busy_row, busy_end_s, busy_need, start_s, node):
    """Plan ready tasks, in the order given, around what runs: where each would end first.

    `length_s` float64[tasks, nodes], inf where a task may not go. Ties go to the first node. Fills
    `start_s` and `node` (-1: nowhere).
    """
    tasks, m = length_s.shape
    steps = 2 * (tasks + len(busy_row)) + 4
    times, used = np.full((m, steps), now_s), np.zeros((m, steps), np.int64)
    count = np.ones(m, np.int64)
    for i in range(len(busy_row)):
        row = busy_row[i]
        count[row] = occupy(times[row], used[row], count[row], now_s, busy_end_s[i], busy_need[i])
    for task in range(tasks):
        best, best_start, best_end = -1, np.inf, np.inf
        for row in range(m):
            length = length_s[task, row]
            if need[task] > lanes[row] or length == np.inf:
                continue
            start = earliest_start(
                times[row], used[row], count[row], now_s, length, need[task], lanes[row], best_end
            )
            if start + length < best_end:
                best, best_start, best_end = row, start, start + length
        start_s[task], node[task] = best_start, best
        if best >= 0:
            count[best] = occupy(
                times[best], used[best], count[best], best_start, best_end, need[task]
            )
