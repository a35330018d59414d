# pyright: basic, reportPrivateImportUsage=false
"""What agents would make of it: each cluster starts its ready tasks by rank, as nodes come free.

The estimate for workflows of moderate size, event by event as `executors/workflows.py` runs them:
data from another cluster is fetched when its task has ended, data from another node once the task
has a node. A ready task waits for a busy node on which it would end first; it is planned again at
the next event, and tasks behind it see its place taken. `p` is a `Problem`.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.policies.decomposition._lists import makespan

LARGE = 5_000
"""Tasks; above, where a queue would grow long, the list schedule is the estimate."""
_WINDOW = 256  # ready tasks that are planned at one time: the rest could hardly start now


@kernel
def length_s(p, site):
    """Seconds until the last task ends, with every task in its cluster."""
    if len(site) > LARGE:
        return makespan(p, site)
    return dispatch(p, site)


@kernel
def dispatch(p, site):
    """The same, event by event."""
    n = len(site)
    _rank(p, site)
    p.head[: len(p.reach)] = -1
    p.lane_end[:] = p.lane_free
    p.busy[:] = 0
    events, now = 0, 0.0
    for task in range(n):
        p.waits[task] = p.p_first[task + 1] - p.p_first[task]
        p.lane[task] = -1
        if p.waits[task] == 0:
            events = _push(p, events, 0.0, n + task)
    for lane in range(len(p.lane_free)):  # the backlog ends: an event that may start tasks
        if p.lane_free[lane] > 0.0:
            events = _push(p, events, p.lane_free[lane], 2 * n + lane)
    end = 0.0
    while events > 0:
        now = p.heap_s[0]
        p.touched[:] = 0
        while events > 0 and p.heap_s[0] == now:
            item = p.heap_item[0]
            events = _pop(p, events)
            if item >= 2 * n:
                p.touched[_cluster_of(p, item - 2 * n)] = 1
            elif item >= n:
                _queue(p, site, item - n)
            else:
                end = max(end, now)
                p.busy[p.lane[item]] = 0
                p.touched[site[item]] = 1
                events = _finish(p, site, item, now, events)
        for cluster in range(len(p.reach)):
            if p.touched[cluster]:
                events = _start(p, site, cluster, now, events)
    return end


@kernel
def _rank(p, site):
    """Upward ranks as an agent has them: by its own speeds and the links between clusters."""
    k = len(p.reach)
    for i in range(len(site) - 1, -1, -1):
        task = p.order[i]
        own, longest = site[task], 0.0
        for e in range(p.s_first[task], p.s_first[task + 1]):
            other, move = site[p.s_task[e]], 0.0
            if p.s_mb[e] > 0 and (other != own or p.several[own]):
                move = p.latency[own * k + other] + p.s_mb[e] * p.inverse[own * k + other]
            longest = max(longest, move + p.priority[p.s_task[e]])
        p.priority[task] = p.duration[task] * p.slowness[own] + longest


@kernel
def _cluster_of(p, lane):
    cluster = 0
    while p.lane_first[cluster + 1] <= lane:
        cluster += 1
    return cluster


@kernel
def _before(p, a, b):
    """Whether task a goes before task b."""
    if p.priority[a] != p.priority[b]:
        return p.priority[a] > p.priority[b]
    return p.place[a] < p.place[b]


@kernel
def _queue(p, site, task):
    """Into its cluster's queue, a linked list by rank, with what fetching its data takes."""
    own = site[task]
    p.touched[own] = 1
    _stage(p, site, task)
    earlier, later = -1, p.head[own]
    while later >= 0 and _before(p, later, task):
        earlier, later = later, p.behind[later]
    p.behind[task] = later
    if earlier >= 0:
        p.behind[earlier] = task
    else:
        p.head[own] = task


@kernel
def _stage(p, site, task):
    """Seconds to fetch data from the nodes of its cluster: `stage_s` but on `stage_node`."""
    own = site[task]
    link = own * (len(p.reach) + 1)
    longest, node, second = 0.0, -1, 0.0
    for e in range(p.p_first[task], p.p_first[task + 1]):
        source = p.p_task[e]
        if site[source] == own and p.p_mb[e] > 0:
            move = p.latency[link] + p.p_mb[e] * p.inverse[link]
            if move > longest:
                longest, node = move, p.lane_node[p.lane[source]]
    for e in range(p.p_first[task], p.p_first[task + 1]):
        source = p.p_task[e]
        if site[source] == own and p.p_mb[e] > 0 and p.lane_node[p.lane[source]] != node:
            second = max(second, p.latency[link] + p.p_mb[e] * p.inverse[link])
    p.stage_s[task], p.stage_node[task], p.stage_there_s[task] = longest, node, second


@kernel
def _finish(p, site, task, now, events):
    """Followers that wait for nothing else are ready when their data from afar is there."""
    n, k = len(site), len(p.reach)
    p.finish[task] = now
    for e in range(p.s_first[task], p.s_first[task + 1]):
        follower = p.s_task[e]
        p.waits[follower] -= 1
        if p.waits[follower] > 0:
            continue
        own, arrival = site[follower], now
        for i in range(p.p_first[follower], p.p_first[follower + 1]):
            source = p.p_task[i]
            if site[source] != own and p.p_mb[i] > 0:
                link = site[source] * k + own
                move = p.latency[link] + p.p_mb[i] * p.inverse[link]
                arrival = max(arrival, p.finish[source] + move)
        if arrival > now:
            events = _push(p, events, arrival, n + follower)
        else:
            _queue(p, site, follower)
    return events


@kernel
def _start(p, site, cluster, now, events):
    """Plan the queue on the lanes, each task where it would end first; start what starts now."""
    low, high, free = p.lane_first[cluster], p.lane_first[cluster + 1], 0
    for lane in range(low, high):
        p.planned[lane] = max(p.lane_end[lane], now)
        free += p.planned[lane] == now and not p.busy[lane]
    earlier, task, looked = -1, p.head[cluster], 0
    while task >= 0 and free > 0 and looked < _WINDOW:
        looked += 1
        best, best_end = -1, np.inf
        for lane in range(low, high):
            there = p.lane_node[lane] == p.stage_node[task]
            stage = p.stage_there_s[task] if there else p.stage_s[task]
            end = p.planned[lane] + (stage + p.duration[task] / p.lane_speed[lane])
            if end < best_end:
                best, best_end = lane, end
        later = p.behind[task]
        if p.planned[best] == now and not p.busy[best]:  # busy: behind a task of no length
            free -= 1
            p.busy[best] = 1
            p.lane_end[best] = best_end
            p.lane[task] = best
            events = _push(p, events, best_end, task)
            if earlier >= 0:
                p.behind[earlier] = later
            else:
                p.head[cluster] = later
        else:
            earlier = task
        p.planned[best] = best_end
        task = later
    return events


@kernel
def _push(p, count, time_s, item):
    """Into the heap of events; how many there are."""
    at = count
    while at > 0:
        parent = (at - 1) // 2
        if p.heap_s[parent] <= time_s:
            break
        p.heap_s[at], p.heap_item[at] = p.heap_s[parent], p.heap_item[parent]
        at = parent
    p.heap_s[at], p.heap_item[at] = time_s, item
    return count + 1


@kernel
def _pop(p, count):
    """Drop the first event; how many are left."""
    count -= 1
    time_s, item, at = p.heap_s[count], p.heap_item[count], 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and p.heap_s[child + 1] < p.heap_s[child]:
            child += 1
        if p.heap_s[child] >= time_s:
            break
        p.heap_s[at], p.heap_item[at] = p.heap_s[child], p.heap_item[child]
        at = child
    p.heap_s[at], p.heap_item[at] = time_s, item
    return count
