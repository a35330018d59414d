# pyright: basic, reportPrivateImportUsage=false
"""List scheduling with insertion (HEFT: Topcuoglu, Hariri, Wu, IEEE TPDS 13(3), 2002) on lanes.

The estimate behind every choice of decomposers and assigners, so it has to take microseconds: the
busy times of a lane are a linked list, walked backwards from its end only as far as the task is
ready, and a cluster's arrival times are found once for all its lanes. `p` is a `Problem`.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel

_WALK = 24  # tasks of a lane looked at for a pause: most pauses are near its end


@kernel
def upward_ranks(p, mean_inverse_speed, mean_latency_s, mean_inverse):
    """Fill `rank` and sort `order` by it: the longest way to an end, by mean speeds and links."""
    n = len(p.duration)
    for i in range(n - 1, -1, -1):
        task, longest = p.order[i], 0.0
        for e in range(p.s_first[task], p.s_first[task + 1]):
            move = mean_latency_s + p.s_mb[e] * mean_inverse if p.s_mb[e] > 0 else 0.0
            longest = max(longest, move + p.rank[p.s_task[e]])
        p.rank[task] = p.duration[task] * mean_inverse_speed + longest
    keys = np.empty(n)
    for i in range(n):
        keys[i] = -p.rank[p.order[i]]
    by_rank = p.order[np.argsort(keys, kind="mergesort")]
    p.order[:] = by_rank


@kernel
def clear(p):
    """Nothing placed."""
    p.lane[:] = -1
    p.head[:] = -1
    p.tail[:] = -1
    p.gap[:] = 0.0


@kernel
def arrivals(p, site, task, cluster):
    """When the inputs of a task are in a cluster: (anywhere, node, there).

    `anywhere` on every node but `node`, where it is `there`, because some of them lie there.
    """
    k = len(p.reach)
    anywhere, node = 0.0, -1
    for e in range(p.p_first[task], p.p_first[task + 1]):
        source = p.p_task[e]
        here = p.finish[source]
        if p.p_mb[e] > 0:
            link = site[source] * k + cluster
            here += p.latency[link] + p.p_mb[e] * p.inverse[link]
        if here > anywhere:
            anywhere = here
            node = p.lane_node[p.lane[source]]
    there = 0.0
    for e in range(p.p_first[task], p.p_first[task + 1]):
        source = p.p_task[e]
        here = p.finish[source]
        if p.p_mb[e] > 0 and p.lane_node[p.lane[source]] != node:
            link = site[source] * k + cluster
            here += p.latency[link] + p.p_mb[e] * p.inverse[link]
        there = max(there, here)
    return anywhere, node, there


@kernel
def pause(p, lane, ready, length):
    """The earliest start on a lane, and the task it comes behind (-1: none)."""
    last = p.tail[lane]
    if last < 0:
        return max(ready, p.lane_free[lane]), -1
    best, behind = max(ready, p.finish[last]), last
    if p.gap[lane] < length:
        return best, behind
    for _ in range(_WALK):
        if last < 0 or p.finish[last] <= ready:
            break
        earlier = p.before[last]
        begin = max(ready, p.finish[earlier] if earlier >= 0 else p.lane_free[lane])
        if begin + length <= p.start[last]:
            best, behind = begin, earlier
        last = earlier
    return best, behind


@kernel
def insert(p, lane, task, start, length, behind):
    """Put a task on a lane."""
    p.start[task], p.finish[task], p.lane[task] = start, start + length, lane
    follower = p.behind[behind] if behind >= 0 else p.head[lane]
    p.before[task], p.behind[task] = behind, follower
    if behind >= 0:
        p.behind[behind] = task
    else:
        p.head[lane] = task
    if follower >= 0:
        p.before[follower] = task
    else:
        p.tail[lane] = task
        free = p.finish[behind] if behind >= 0 else p.lane_free[lane]
        p.gap[lane] = max(p.gap[lane], start - free)


@kernel
def remove(p, task):
    """Take a task off its lane; `gap` stays, it is only a bound."""
    lane, earlier, later = p.lane[task], p.before[task], p.behind[task]
    if earlier >= 0:
        p.behind[earlier] = later
    else:
        p.head[lane] = later
    if later >= 0:
        p.before[later] = earlier
    else:
        p.tail[lane] = earlier
    p.lane[task] = -1


@kernel
def place(p, site, task, cluster):
    """Put a task where it ends first in a cluster, ties on the first lane; its finish."""
    anywhere, node, there = arrivals(p, site, task, cluster)
    best, best_start, best_finish, best_behind, best_length = -1, 0.0, np.inf, -1, 0.0
    for lane in range(p.lane_first[cluster], p.lane_first[cluster + 1]):
        length = p.duration[task] / p.lane_speed[lane]
        ready = there if p.lane_node[lane] == node else anywhere
        if ready + length >= best_finish:
            continue
        start, behind = pause(p, lane, ready, length)
        if start + length < best_finish:
            best, best_start, best_finish, best_behind = lane, start, start + length, behind
            best_length = length
    insert(p, best, task, best_start, best_length, best_behind)
    return p.finish[task]


@kernel
def makespan(p, site):
    """Length of the list schedule with every task in its cluster, s."""
    clear(p)
    end = 0.0
    for task in p.order:
        end = max(end, place(p, site, task, site[task]))
    return end


@kernel
def moved_mb(p, site, task, cluster):
    """10^6 bytes a task reads from other clusters if it runs in this one."""
    total = 0.0
    for e in range(p.p_first[task], p.p_first[task + 1]):
        if site[p.p_task[e]] != cluster:
            total += p.p_mb[e]
    return total


@kernel
def greedy(p, site, price_s_per_mb):
    """HEFT over all clusters, each MB from another cluster costing extra; the makespan.

    Fills `site`. With a price of 0 it is HEFT over all lanes; the higher the price, the more stays
    where its data is. A task that no cluster can hold counts as if any could.
    """
    clear(p)
    k, end = len(p.reach), 0.0
    for task in p.order:
        best, best_cost = -1, np.inf
        for cluster in range(k):
            if p.fits[task * k + cluster] == 0:
                continue
            cost = place(p, site, task, cluster)
            remove(p, task)
            cost += price_s_per_mb * moved_mb(p, site, task, cluster)
            if cost < best_cost:
                best, best_cost = cluster, cost
        site[task] = max(best, 0)
        end = max(end, place(p, site, task, site[task]))
    return end
