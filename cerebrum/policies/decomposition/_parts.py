# pyright: basic, reportPrivateImportUsage=false
"""Kernels that choose clusters for whole parts: HEFT over clusters, and moves that only improve."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.policies.decomposition._dispatch import length_s
from cerebrum.policies.decomposition._lists import clear, place, remove
from cerebrum.policies.decomposition._problem import open_problem


@kernel
def can_hold(p, part, parts):
    """bool[parts, clusters]: whether every task of a part fits into a cluster."""
    k = len(p.reach)
    can = np.ones((parts, k), np.bool_)
    for task in range(len(part)):
        for cluster in range(k):
            if p.fits[task * k + cluster] == 0:
                can[part[task], cluster] = False
    return can


@kernel
def place_parts(handle, part, parts, chosen, site):
    """Fill `chosen` where it is -1, by HEFT over clusters; (makespan, bytes cut in MB).

    Parts go by their upward rank, each to where it ends first: its tasks are scheduled there,
    between what earlier parts hold, so data that has to come, backlog and forecast all count.
    A part that fits nowhere becomes -2, and what follows it is scheduled as if the first cluster
    ran it. `site` gets the cluster of each task.
    """
    p = open_problem(handle)
    can = can_hold(p, part, parts)
    first, member = _by_part(p, part, parts)
    site[:] = -1
    clear(p)
    for own in _by_rank(p, part, parts):
        tasks = member[first[own] : first[own + 1]]
        if chosen[own] == -1:
            found = _best_cluster(p, site, tasks, can[own])
            chosen[own] = found if found >= 0 else -2
        _run(p, site, tasks, max(chosen[own], np.int64(0)))
    return length_s(p, site), _cut(p, part)


@kernel
def _cut(p, part):
    total = 0.0
    for task in range(len(part)):
        for e in range(p.s_first[task], p.s_first[task + 1]):
            if part[task] != part[p.s_task[e]]:
                total += p.s_mb[e]
    return total


@kernel
def _by_rank(p, part, parts):
    """Parts by their highest task's rank, but no part before one that it depends on.

    Parts are numbered in topological order, so a part ranks at least as high as what follows it.
    """
    rank = np.zeros(parts)
    tasks = np.argsort(part, kind="mergesort")
    for i in range(len(tasks) - 1, -1, -1):
        task = tasks[i]
        own = part[task]
        rank[own] = max(rank[own], p.rank[task])
        for e in range(p.s_first[task], p.s_first[task + 1]):
            rank[own] = max(rank[own], rank[part[p.s_task[e]]])
    return np.argsort(-rank, kind="mergesort")


@kernel
def _by_part(p, part, parts):
    """Tasks grouped by part, by rank within each."""
    first = np.zeros(parts + 1, np.int64)
    for number in part:
        first[number + 1] += 1
    for number in range(parts):
        first[number + 1] += first[number]
    at, member = first[:-1].copy(), np.empty(len(part), np.int64)
    for task in p.order:
        member[at[part[task]]] = task
        at[part[task]] += 1
    return first, member


@kernel
def _run(p, site, tasks, cluster):
    """Schedule tasks in a cluster; the latest finish."""
    end = 0.0
    for task in tasks:
        site[task] = cluster
        end = max(end, place(p, site, task, cluster))
    return end


@kernel
def _best_cluster(p, site, tasks, can):
    best, best_end = -1, np.inf
    for cluster in range(len(can)):
        if not can[cluster]:
            continue
        end = _run(p, site, tasks, cluster)
        for i in range(len(tasks) - 1, -1, -1):
            remove(p, tasks[i])
        if end < best_end:
            best, best_end = cluster, end
    return best


@kernel
def refine_parts(handle, part, parts, chosen, fixed, trials):
    """Move parts, one by one, while the makespan falls; at most `trials` schedules.

    Changes `chosen` in place and returns its makespan, which is never above that at the start.
    """
    p = open_problem(handle)
    n, k = len(part), len(p.reach)
    can = can_hold(p, part, parts)
    site = np.empty(n, np.int64)
    for task in range(n):
        site[task] = max(chosen[part[task]], np.int64(0))
    best = length_s(p, site)
    first, member = _by_part(p, part, parts)
    idle = 0
    while idle < parts and trials > 0:
        for number in range(parts):
            idle += 1
            if fixed[number] or chosen[number] < 0:
                continue
            home = chosen[number]
            for cluster in range(k):
                if cluster == home or not can[number, cluster] or trials <= 0:
                    continue
                trials -= 1
                _assign(site, member[first[number] : first[number + 1]], cluster)
                found = length_s(p, site)
                if found < best:
                    best, home, idle = found, cluster, 0
            chosen[number] = home
            _assign(site, member[first[number] : first[number + 1]], home)
            if idle >= parts or trials <= 0:
                break
    return best


@kernel
def _assign(site, tasks, cluster):
    for task in tasks:
        site[task] = cluster
