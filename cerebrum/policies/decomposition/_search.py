# pyright: basic, reportPrivateImportUsage=false
"""Local search over the clusters of tasks, under a bound on the bytes cut.

Threshold accepting (Dueck and Scheuer, J. Comput. Phys. 90, 1990): a move is taken unless the
makespan becomes worse than the best known one by more than a threshold, which falls to nothing. A
move takes one task to another cluster, or with it those before, behind or beside it that share its
cluster; the cut is that of the fewest parts that are acyclic. Draws are hashes of a counter.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import below, mix
from cerebrum.policies.decomposition._dispatch import length_s
from cerebrum.policies.decomposition._problem import open_problem
from cerebrum.policies.decomposition._quotient import site_cut

ALONE, WITH_FOLLOWERS, WITH_SOURCES, ALONG_CHAIN, SWAP, WITH_SIBLINGS = 0, 1, 2, 3, 4, 5
_KINDS = 6
_THRESHOLD = 0.02  # of the best makespan, at the start
_ROUNDING = 1.0 + 1e-12


@kernel
def search(handle, site, most_cut_mb, most_s, trials, key):
    """Improve `site` in place by `trials` moves; (makespan, cut) of what it becomes.

    With `most_s` 0 the makespan is to fall while the cut stays within its bound, which a start may
    be above: then the cut falls first. Otherwise the cut is to fall, and the makespan stays within
    `most_s`.
    """
    p = open_problem(handle)
    n, k = len(site), len(p.reach)
    moved, olds = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    length, cut = length_s(p, site), site_cut(p, site)
    best, best_cut, best_site = length, cut, site.copy()
    for trial in range(trials):
        task = below(mix(key, 4 * trial), n)
        target = below(mix(key, 4 * trial + 1), k)
        kind = below(mix(key, 4 * trial + 2), _KINDS)
        if target == site[task]:
            continue
        count = _pick(p, site, task, target, kind, mix(key, 4 * trial + 3), moved)
        if count == 0:
            continue
        for i in range(count):
            olds[i] = site[moved[i]]
            site[moved[i]] = target
        if kind == SWAP and count == 2:
            site[moved[1]] = olds[0]
        slack = 1.0 + _THRESHOLD * (1.0 - trial / trials)
        new, new_cut = length, site_cut(p, site)
        accept = new_cut <= _allowed_cut(cut, best_cut, most_cut_mb, most_s, slack)
        if accept:
            new = length_s(p, site)
            accept = new <= _allowed_s(best, best_cut, most_cut_mb, most_s, slack)
        if not accept:
            for i in range(count):
                site[moved[i]] = olds[i]
            continue
        length, cut = new, new_cut
        if _better(length, cut, best, best_cut, most_cut_mb, most_s):
            best, best_cut = length, cut
            best_site[:] = site
    site[:] = best_site
    return best, best_cut


@kernel
def _allowed_cut(cut, best_cut, most_cut_mb, most_s, slack):
    """What a move may cut: the bound, or what is cut now while that is above it."""
    if most_s > 0.0:
        return best_cut * slack * _ROUNDING
    return max(most_cut_mb, cut if cut > most_cut_mb else 0.0) * _ROUNDING


@kernel
def _allowed_s(best, best_cut, most_cut_mb, most_s, slack):
    if most_s > 0.0:
        return most_s
    return best * slack if best_cut <= most_cut_mb * _ROUNDING else np.inf


@kernel
def _better(length, cut, best, best_cut, most_cut_mb, most_s):
    """Within the bounds: by the figure that is to fall, then by the other. Above: less cut."""
    if most_s > 0.0 or best_cut > most_cut_mb * _ROUNDING:
        return cut < best_cut or (cut == best_cut and length < best)
    if cut > most_cut_mb * _ROUNDING:
        return False
    return length < best or (length == best and cut < best_cut)


@kernel
def _pick(p, site, task, target, kind, draw, moved):
    """The tasks of a move, `task` first; 0 when one of them may not run there."""
    k, home, count = len(p.reach), site[task], 1
    moved[0] = task
    if kind == WITH_FOLLOWERS:
        for e in range(p.s_first[task], p.s_first[task + 1]):
            if site[p.s_task[e]] == home:
                moved[count] = p.s_task[e]
                count += 1
    elif kind == WITH_SOURCES:
        for e in range(p.p_first[task], p.p_first[task + 1]):
            if site[p.p_task[e]] == home:
                moved[count] = p.p_task[e]
                count += 1
    elif kind == ALONG_CHAIN:
        count = _chain(p, site, task, home, moved)
    elif kind == SWAP:
        other = below(draw, len(site))
        if site[other] == target:
            if p.fits[other * k + home] == 0:
                return 0
            moved[1] = other
            count = 2
    elif kind == WITH_SIBLINGS and p.p_first[task] < p.p_first[task + 1]:
        inputs = p.p_first[task + 1] - p.p_first[task]
        source = p.p_task[p.p_first[task] + below(draw, inputs)]
        for e in range(p.s_first[source], p.s_first[source + 1]):
            other = p.s_task[e]
            if other != task and site[other] == home:
                moved[count] = other
                count += 1
    for i in range(count):
        if p.fits[moved[i] * k + target] == 0 and not (kind == SWAP and i == 1):
            return 0
    return count


@kernel
def _chain(p, site, task, home, moved):
    """A task and what follows it in its cluster along the largest volumes."""
    count = 1
    while True:
        heaviest, follower = -1.0, -1
        for e in range(p.s_first[task], p.s_first[task + 1]):
            if site[p.s_task[e]] == home and p.s_mb[e] > heaviest:
                heaviest, follower = p.s_mb[e], p.s_task[e]
        if follower < 0:
            return count
        moved[count] = follower
        count += 1
        task = follower
