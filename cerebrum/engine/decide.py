# pyright: basic, reportPrivateImportUsage=false
"""One decision over the queue, and the compiled loop that takes many in a row.

`next_action` is the whole scheduler of an incremental policy: walk the queue from a position, place
the first task (or gang) that fits, refuse or wait for the rest. `run` repeats it between arrivals
and departures with the same `apply` that Python uses, so both give the same log.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import CHANGES, RULED, bar, count_peer, helped, peered
from cerebrum.engine.picking import (
    best_row,
    fits_nowhere,
    why_nowhere,
    why_nowhere_among_peers,
)
from cerebrum.engine.placement import give_back, mix, take
from cerebrum.engine.scoring import (
    DISCIPLINE,
    KEY,
    evaluate,
    node_refusals,
    tidy,
    unpack_memo,
)
from cerebrum.engine.state import (
    DECISIONS,
    FREED,
    LOGGED,
    LOWEST,
    NOW,
    PENDING,
    TURN,
    unpack_state,
)
from cerebrum.engine.transitions import (
    BOUND,
    FINISHED,
    IS_PENDING,
    REJECTED,
    STARTED,
    SUBMITTED,
    UNSCHEDULABLE,
    apply,
    row_changed,
)

SKIP, BLOCK_QUEUE, GIVE_UP = 0, 1, 2  # disciplines: what happens when a task fits nowhere

# What `next_action` found: the queue position to go on from is in `found[POSITION]`.
NOTHING, BINDS, REJECTS, WAITS = 0, 1, 2, 3
WHAT, POSITION, TASK, REASON, N_BINDS, HOPEFUL = 0, 1, 2, 3, 4, 5
N_FOUND = 8


@kernel
def place_one(s, m, task, draw, out):
    """Best node and GPU mask for one task; row -1 if there is none."""
    class_id = s.t_class[task]
    if m.failed_at[class_id] == s.counts[FREED]:
        return -1, 0  # nothing was freed since it last fitted nowhere
    if peered(s, task):
        return _place_among_peers(s, m, task, draw, out)
    row = best_row(s, m, class_id, draw, out, False)
    tidy(s, m, out)
    if row < 0:
        m.failed_at[class_id] = s.counts[FREED]
        return -1, 0
    return row, evaluate(s, m, row, s.classes[class_id], draw, out)


@kernel
def _place_among_peers(s, m, task, draw, out):
    """`place_one` for a task that rules about other tasks can keep away.

    Its failure holds for its labels only, and only until anything the rules look at changes.
    """
    class_id, labels = s.t_class[task], s.t_labels[task]
    known = m.failed_with[class_id]
    same = known.labels == labels and known.changes == s.p_counts[CHANGES]
    if same and known.freed == s.counts[FREED]:
        return -1, 0
    bar(s, task)
    row = best_row(s, m, class_id, draw, out, True)
    tidy(s, m, out)
    if row >= 0:
        return row, evaluate(s, m, row, s.classes[class_id], draw, out)
    known.labels, known.changes, known.freed = labels, s.p_counts[CHANGES], s.counts[FREED]
    if fits_nowhere(s, m, class_id, out):
        m.failed_at[class_id] = s.counts[FREED]
    return -1, 0


@kernel
def place_gang(s, m, job, draw, out, rows, masks, tasks):
    """Place all waiting members one after the other, then take them back. Returns how many, or 0.

    The state is as before on return: a decision does not change it.
    """
    first, size = s.j_first[job], s.j_size[job]
    placed, complete = 0, True
    for i in range(size):
        task = s.members[first + i]
        if s.t_state[task] != IS_PENDING:
            continue
        if s.t_not_before[task] > s.clock[NOW]:
            complete = False
            break
        row, mask = place_one(s, m, task, mix(draw, i + 1), out)
        if row < 0:
            complete = False
            break
        task_class = s.classes[s.t_class[task]]
        take(s.nodes[row], task_class, mask, task_class.cache_ways)
        count_peer(s, task, row, 1)
        row_changed(s, row)
        tasks[placed], rows[placed], masks[placed] = task, row, mask
        placed += 1
        s.counts[TURN] += 1
    s.counts[TURN] -= placed
    for i in range(placed):
        task_class = s.classes[s.t_class[tasks[i]]]
        give_back(s.nodes[rows[i]], task_class, masks[i], task_class.cache_ways)
        count_peer(s, tasks[i], rows[i], -1)
        row_changed(s, rows[i])
    if not complete:
        for i in range(size):  # learnt while the gang held room: forget it
            m.failed_at[s.t_class[s.members[first + i]]] = -1
            m.failed_with[s.t_class[s.members[first + i]]].freed = -1
        return 0
    return placed


@kernel
def gang_is_here(s, job):
    """Whether enough members are queued (or already run) for the gang to start."""
    here = 0
    for i in range(s.j_size[job]):
        state = s.t_state[s.members[s.j_first[job] + i]]
        if state >= IS_PENDING and state <= 5:
            here += 1
    return here >= s.j_gang[job]


@kernel
def _gang_is_helped(s, job):
    """Whether a bind of another task can make room for a member."""
    for i in range(s.j_size[job]):
        if helped(s, s.members[s.j_first[job] + i]):
            return True
    return False


@kernel
def next_action(s, m, position, found, rows, masks, tasks, out):
    """Walk the queue from `position` to the first task about which there is something to do.

    Sets `found[HOPEFUL]` when it passes a task that a bind of another may help.
    """
    now, discipline = s.clock[NOW], m.options[DISCIPLINE]
    found[WHAT] = NOTHING
    for at in range(position, s.counts[PENDING]):
        task = s.pending[at]
        if s.t_state[task] != IS_PENDING or s.t_not_before[task] > now:
            continue
        draw = mix(m.options[KEY], task * 1024 + s.t_attempts[task])
        job = s.t_job[task]
        reason = 0
        if job >= 0 and s.j_gang[job] > 1:
            if not gang_is_here(s, job):
                if discipline == BLOCK_QUEUE:
                    return
                continue
            placed = place_gang(s, m, job, draw, out, rows, masks, tasks)
            reason = 2048
        else:
            placed = 0
            row, mask = place_one(s, m, task, draw, out)
            if row >= 0:
                placed, tasks[0], rows[0], masks[0] = 1, task, row, mask
        found[POSITION] = at
        found[TASK] = task
        if placed:
            found[WHAT], found[N_BINDS] = BINDS, placed
            return
        if found[HOPEFUL] == 0 and s.p_counts[RULED]:
            found[HOPEFUL] = helped(s, task) if reason == 0 else _gang_is_helped(s, job)
        if discipline == GIVE_UP or not s.t_refused[task]:
            if reason == 0:
                if peered(s, task):
                    reason = why_nowhere_among_peers(s, task)
                else:
                    reason = why_nowhere(s, m, s.t_class[task], out)
            found[WHAT] = REJECTS if discipline == GIVE_UP else WAITS
            found[REASON] = reason
            return
        if discipline == BLOCK_QUEUE:
            return


@kernel
def decide(state_handle, memo_handle, found, rows, masks, tasks, out):
    """`next_action` from the head of the queue, for Python."""
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    next_action(s, m, 0, found, rows, masks, tasks, out)


@kernel
def node_scores(state_handle, memo_handle, task, row, out):
    """Every scorer's number for one node, for explanations. Returns Refusal bits (-1: gone)."""
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    task_class = s.classes[s.t_class[task]]
    bits = node_refusals(s, task_class, row)
    if bits == 0:
        evaluate(s, m, row, task_class, mix(m.options[KEY], task * 1024), out)
    return bits


@kernel
def _sift_up(key, item, i):
    while i > 0:
        parent = (i - 1) // 2
        if _earlier(key, item, parent, i):
            return
        key[i], key[parent] = key[parent], key[i]
        item[i], item[parent] = item[parent], item[i]
        i = parent


@kernel
def _earlier(key, item, a, b):
    return key[a] < key[b] or (key[a] == key[b] and item[a] < item[b])


@kernel
def _sift_down(key, item, n):
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            return
        if child + 1 < n and _earlier(key, item, child + 1, child):
            child += 1
        if _earlier(key, item, i, child):
            return
        key[i], key[child] = key[child], key[i]
        item[i], item[child] = item[child], item[i]
        i = child


# `cursor` of `run`: next arrival, running tasks with an end, and why it came back.
ARRIVAL, ENDS, STATUS = 0, 1, 2
ENDED, LOG_FULL, LIMIT = 0, 1, 2


@kernel
def run(state_handle, memo_handle, arrivals, end_s, end_task, cursor, limit, work):
    """Arrivals, departures and decisions until nothing is left, the log is full, or `limit` events.

    `arrivals` task ids by submit time; `end_s`, `end_task` a heap of running tasks; `work` int64
    space for one decision: N_FOUND + 3 x the largest gang. This is the simulated executor and an
    incremental policy fused; every change goes through `apply`.
    """
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    gang = (len(work) - N_FOUND) // 3
    found, rows = work[:N_FOUND], work[N_FOUND : N_FOUND + gang]
    masks, tasks = work[N_FOUND + gang : N_FOUND + 2 * gang], work[N_FOUND + 2 * gang :]
    out = np.zeros(max(1, len(m.scorers)))
    position = cursor[3]
    while True:
        if cursor[4] == 0:  # move time forward
            when = np.inf
            if cursor[ARRIVAL] < len(arrivals):
                when = s.t_submit[arrivals[cursor[ARRIVAL]]]
            if cursor[ENDS] > 0:
                when = min(when, end_s[0])
            if when == np.inf:
                cursor[STATUS] = ENDED
                return
            if s.counts[LOGGED] >= limit:
                cursor[STATUS] = LIMIT
                return
            while cursor[ENDS] > 0 and end_s[0] == when:
                if s.counts[LOGGED] + 1 > len(s.log):
                    cursor[STATUS] = LOG_FULL
                    return
                apply(s, when, FINISHED, end_task[0], -1, 0, 0, 0, 0.0)
                cursor[ENDS] -= 1
                end_s[0], end_task[0] = end_s[cursor[ENDS]], end_task[cursor[ENDS]]
                _sift_down(end_s, end_task, cursor[ENDS])
            while cursor[ARRIVAL] < len(arrivals):
                task = arrivals[cursor[ARRIVAL]]
                if s.t_submit[task] != when:
                    break
                if s.counts[LOGGED] + 1 > len(s.log):
                    cursor[STATUS] = LOG_FULL
                    return
                apply(s, when, SUBMITTED, task, -1, 0, 0, 0, 0.0)
                cursor[ARRIVAL] += 1
            cursor[4] = 1
            # What was refused before is refused still unless something was freed since.
            again = s.counts[FREED] != cursor[5] or m.options[DISCIPLINE] == BLOCK_QUEUE
            position = 0 if again else s.counts[LOWEST]
        while True:  # decide until there is nothing to do
            if s.counts[LOGGED] + 2 * gang + 2 > len(s.log):
                cursor[STATUS], cursor[3] = LOG_FULL, 0
                return
            next_action(s, m, position, found, rows, masks, tasks, out)
            if found[WHAT] == NOTHING:
                break
            s.counts[DECISIONS] += 1
            # Room only shrinks while deciding, so what failed before `position` still fails:
            # unless its rules want others near or spread, and this bind is what they wait for.
            position = found[POSITION]
            if found[WHAT] == BINDS and found[HOPEFUL]:
                position, found[HOPEFUL] = 0, 0
            now = s.clock[NOW]
            if found[WHAT] == REJECTS:
                apply(s, now, REJECTED, found[TASK], -1, 0, found[REASON], 0, 0.0)
            elif found[WHAT] == WAITS:
                apply(s, now, UNSCHEDULABLE, found[TASK], -1, 0, found[REASON], 0, 0.0)
            else:
                for i in range(found[N_BINDS]):
                    ways = s.classes[s.t_class[tasks[i]]].cache_ways
                    apply(s, now, BOUND, tasks[i], rows[i], masks[i], 0, ways, 0.0)
                for i in range(found[N_BINDS]):
                    task = tasks[i]
                    length = s.t_duration[task] / s.nodes[s.t_row[task]].speed
                    apply(s, now, STARTED, task, -1, 0, 0, 0, length)
                    if length < np.inf:
                        n = cursor[ENDS]
                        end_s[n], end_task[n] = now + length, task
                        cursor[ENDS] = n + 1
                        _sift_up(end_s, end_task, n)
        cursor[4] = 0
        cursor[5], s.counts[LOWEST] = s.counts[FREED], s.counts[PENDING]
