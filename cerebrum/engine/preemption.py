# pyright: basic, reportPrivateImportUsage=false
"""Whom to stop so that a more important task fits, in the order kube-scheduler prefers.

On each node: imagine every preemptible task of lower priority gone; if the task then fits, put them
back one by one, most important first, as long as it still fits. What stays out are the victims. The
best node has the lowest highest victim priority, then the lowest sum, then the fewest victims, then
the lowest row. Rules about other tasks are judged with the same tasks gone, and a node that lacks
the company or the label a task asks for is no candidate: stopping tasks there cannot help.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import BEYOND_EVICTION, consider, imagine, peered, would_refuse
from cerebrum.engine.placement import choose_gpus, fits, give_back, take
from cerebrum.engine.scoring import admits, unpack_memo
from cerebrum.engine.state import unpack_state


@kernel
def _has_room(s, node, wanted, task, row, ruled):
    """Whether the task fits the node, and no rule about other tasks keeps it away."""
    return fits(node, wanted) and (not ruled or would_refuse(s, task, row) == 0)


@kernel
def _let_go(s, node, running, first, end, task, ruled):
    """Give back everything of lower priority; returns how many there were."""
    priority = s.t_priority[task]
    count = 0
    for i in range(first, end):
        other = running[i]
        if s.t_priority[other] < priority:
            give_back(node, s.classes[s.t_class[other]], s.t_gpus[other], s.t_ways[other])
            if ruled:
                imagine(s, task, other, s.t_row[other], -1)
            count += 1
    return count


@kernel
def _reprieve(s, node, wanted, running, first, end, task, ruled, victim):
    """Put tasks back while `task` still fits. Marks victims; returns (highest, sum, count)."""
    priority = s.t_priority[task]
    highest, total, count = np.int64(-(2**31)), np.int64(0), np.int64(0)
    for i in range(first, end):
        other = running[i]
        victim[i] = 0
        if s.t_priority[other] >= priority:
            continue
        row, their_class = s.t_row[other], s.classes[s.t_class[other]]
        take(node, their_class, s.t_gpus[other], s.t_ways[other])
        if ruled:
            imagine(s, task, other, row, 1)
        if not _has_room(s, node, wanted, task, row, ruled):
            give_back(node, their_class, s.t_gpus[other], s.t_ways[other])
            if ruled:
                imagine(s, task, other, row, -1)
            victim[i] = 1
            highest = max(highest, np.int64(s.t_priority[other]))
            total += s.t_priority[other]
            count += 1
    return highest, total, count


@kernel
def _come_back(s, running, first, end, task, victim):
    """Undo what `_let_go` and `_reprieve` imagined."""
    for i in range(first, end):
        if victim[i] and s.t_priority[running[i]] < s.t_priority[task]:
            imagine(s, task, running[i], s.t_row[running[i]], 1)


@kernel
def find_victims(s, m, task, running, victim):
    """The best node for `task` with victims marked in `victim`; -1 if none helps.

    `running` preemptible tasks sorted by row, then priority descending, then start. The node as it
    would be without the victims is left in `m.scratch[1]`.
    """
    wanted, ruled = s.classes[s.t_class[task]], peered(s, task)
    if ruled:
        consider(s, task)
    best = np.int64(-1)
    best_key = (np.int64(0), np.int64(0), np.int64(0))
    best_first, best_end = 0, 0
    first = 0
    while first < len(running):
        row = s.t_row[running[first]]
        end = first
        while end < len(running) and s.t_row[running[end]] == row:
            end += 1
        if admits(s, wanted, row) and not (ruled and would_refuse(s, task, row) & BEYOND_EVICTION):
            victim[first:end] = 1
            m.scratch[1] = s.nodes[row]
            node = m.scratch[1]
            if _let_go(s, node, running, first, end, task, ruled) and _has_room(
                s, node, wanted, task, row, ruled
            ):
                key = _reprieve(s, node, wanted, running, first, end, task, ruled, victim)
                if best < 0 or key < best_key:
                    best, best_key, best_first, best_end = np.int64(row), key, first, end
            if ruled:
                _come_back(s, running, first, end, task, victim)
        first = end
    if best >= 0:
        m.scratch[1] = s.nodes[best]
        node = m.scratch[1]
        _let_go(s, node, running, best_first, best_end, task, ruled)
        _reprieve(s, node, wanted, running, best_first, best_end, task, ruled, victim)
        victim[:best_first] = 0
        victim[best_end:] = 0
    return best


@kernel
def plan(state_handle, memo_handle, task, running, victim):
    """`find_victims` for Python."""
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    return find_victims(s, m, task, running, victim)


@kernel
def gpus_after(scratch, classes, class_id, rule):
    """GPU mask on the node that `find_victims` left in `scratch[1]`; by best fit if by score."""
    return choose_gpus(scratch[1], classes[class_id], rule, np.uint64(class_id))
