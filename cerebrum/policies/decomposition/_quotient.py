# pyright: basic, reportPrivateImportUsage=false
"""From groups of tasks to parts whose quotient graph is acyclic.

Groups (clusters, communities) ignore direction, so contracting them can give cycles. Two repairs:

- *contract*: groups on a common cycle become one part (the strongly connected components);
- *cut*: such a group is cut into phases. In each phase the groups of the cycle have their turn
  once, by number, so only a step to a group of a lower number has to lead to a later phase. A task
  may have a choice of phases; it takes the one that cuts fewer bytes. Others stay whole.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.policies.decomposition._problem import open_problem

_SWEEPS = 3


@kernel
def components(p, group, groups):
    """Strongly connected components of the groups, numbered in topological order: int64[groups].

    Tarjan (1972), without recursion: groups with their tasks' dependencies as the edges.
    """
    first, member = _members(group, groups)
    index, low = np.full(groups, -1, np.int64), np.zeros(groups, np.int64)
    component = np.full(groups, -1, np.int64)
    stack, path = np.empty(groups, np.int64), np.empty(groups, np.int64)
    at_task, at_edge = first[:-1].copy(), np.zeros(groups, np.int64)
    seen, stacked, found = 0, 0, 0
    for root in range(groups):
        if index[root] >= 0:
            continue
        depth = 1
        path[0] = root
        while depth > 0:
            g = path[depth - 1]
            if index[g] < 0:
                index[g] = low[g] = seen
                seen += 1
                stack[stacked] = g
                stacked += 1
                if at_task[g] < first[g + 1]:
                    at_edge[g] = p.s_first[member[at_task[g]]]
            descend = False
            while at_task[g] < first[g + 1] and not descend:
                task = member[at_task[g]]
                if at_edge[g] >= p.s_first[task + 1]:
                    at_task[g] += 1
                    if at_task[g] < first[g + 1]:
                        at_edge[g] = p.s_first[member[at_task[g]]]
                    continue
                other = group[p.s_task[at_edge[g]]]
                if index[other] < 0:  # looked at again on the way back, for its `low`
                    path[depth] = other
                    depth += 1
                    descend = True
                    continue
                if component[other] < 0:
                    low[g] = min(low[g], low[other])
                at_edge[g] += 1
            if descend:
                continue
            depth -= 1
            if low[g] == index[g]:
                while True:
                    stacked -= 1
                    component[stack[stacked]] = found
                    if stack[stacked] == g:
                        break
                found += 1
    return found - 1 - component


@kernel
def _members(group, groups):
    first = np.zeros(groups + 1, np.int64)
    for g in group:
        first[g + 1] += 1
    for g in range(groups):
        first[g + 1] += first[g]
    at, member = first[:-1].copy(), np.empty(len(group), np.int64)
    for task in range(len(group)):
        member[at[group[task]]] = task
        at[group[task]] += 1
    return first, member


@kernel
def phases(p, group, component):
    """Fill `phase`: within a component, a step to a group of a lower number is one to a later."""
    for task in p.order:
        phase = 0
        for e in range(p.p_first[task], p.p_first[task + 1]):
            source = p.p_task[e]
            if component[group[source]] == component[group[task]]:
                phase = max(phase, p.phase[source] + (group[source] > group[task]))
        p.phase[task] = phase
    for sweep in range(_SWEEPS):
        moved = 0
        for i in range(len(p.order)):
            task = p.order[i] if sweep % 2 else p.order[len(p.order) - 1 - i]
            moved += _better_phase(p, group, component, task, sweep % 2 == 0)
        if moved == 0:
            break


@kernel
def _better_phase(p, group, component, task, later):
    """Move a task to the earliest or latest phase it may have, if fewer bytes are cut there.

    Towards `later`, as many bytes will do: what follows may then join it there.
    """
    own, low, high, keeps_low, keeps_high = component[group[task]], 0, -1, 0.0, 0.0
    for e in range(p.p_first[task], p.p_first[task + 1]):
        source = p.p_task[e]
        if component[group[source]] == own:
            bound = p.phase[source] + (group[source] > group[task])
            if bound > low:
                low, keeps_low = bound, 0.0
            if bound == low and group[source] == group[task]:
                keeps_low += p.p_mb[e]
    for e in range(p.s_first[task], p.s_first[task + 1]):
        target = p.s_task[e]
        if component[group[target]] == own:
            bound = p.phase[target] - (group[task] > group[target])
            if high < 0 or bound < high:
                high, keeps_high = bound, 0.0
            if bound == high and group[target] == group[task]:
                keeps_high += p.s_mb[e]
    if high < 0 or low == high:
        chosen = low
    elif later:
        chosen = high if keeps_high >= keeps_low else low
    else:
        chosen = low if keeps_low >= keeps_high else high
    if chosen == p.phase[task]:
        return 0
    p.phase[task] = chosen
    return 1


@kernel
def site_components(p, site):
    """The components of clusters as groups, in topological order, by closure of the reach bits.

    For at most 62 clusters, which is many times faster than `components` and as good: a component
    that reaches another one reaches more clusters than it.
    """
    k = len(p.reach)
    reach = p.reach
    for a in range(k):
        reach[a] = np.int64(1) << a
    for task in range(len(site)):
        a = site[task]
        for e in range(p.s_first[task], p.s_first[task + 1]):
            reach[a] |= np.int64(1) << site[p.s_task[e]]
    for middle in range(k):
        for a in range(k):
            if (reach[a] >> middle) & 1:
                reach[a] |= reach[middle]
    component = np.empty(k, np.int64)
    for a in range(k):  # the first member stands for its component
        component[a] = a
        for b in range(a):
            if (reach[a] >> b) & 1 and (reach[b] >> a) & 1:
                component[a] = b
                break
    return component


@kernel
def cut_of(p, group):
    """10^6 bytes between tasks of different group or phase."""
    total = 0.0
    for task in range(len(group)):
        for e in range(p.s_first[task], p.s_first[task + 1]):
            other = p.s_task[e]
            if group[task] != group[other] or p.phase[task] != p.phase[other]:
                total += p.s_mb[e]
    return total


@kernel
def site_cut(p, site):
    """10^6 bytes cut when the tasks of a cluster form as few parts as acyclicity allows."""
    if len(p.reach) > 62:
        component = np.zeros(len(p.reach), np.int64)
    else:
        component = site_components(p, site)
    phases(p, site, component)
    return cut_of(p, site)


@kernel
def number(key, out):
    """Numbers from 0 for the distinct keys, in ascending order; how many."""
    order = np.argsort(key, kind="mergesort")
    count = 0
    for i in range(len(order)):
        if i > 0 and key[order[i]] != key[order[i - 1]]:
            count += 1
        out[order[i]] = count
    return count + 1 if len(order) else 0


@kernel
def number_parts(p, group, component, groups, out):
    """Parts by component, phase and group, as `phase` stands; how many."""
    key = np.empty(len(group), np.int64)
    phases = np.int64(p.phase.max()) + 1
    for task in range(len(group)):
        place = component[group[task]] * phases + p.phase[task]
        key[task] = place * groups + group[task]
    return number(key, out)


@kernel
def repair(handle, group, groups, contract, out):
    """Acyclic parts of groups numbered from 0, in topological order: int32[tasks]; how many."""
    p = open_problem(handle)
    component = components(p, group, groups)
    if not contract:
        phases(p, group, component)
        return number_parts(p, group, component, groups, out)
    key = np.empty(len(group), np.int64)
    for task in range(len(group)):
        key[task] = component[group[task]]
    return number(key, out)
