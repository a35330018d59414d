# pyright: basic, reportPrivateImportUsage=false
"""`apply` - the only writer of task and node state - as one compiled function of one event.

Every event that is accepted is appended to the log; a refused event changes nothing and returns
the error code below. What happens when is not decided here: times arrive in events.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import CHANGES, bar, count_peer, peered
from cerebrum.engine.placement import fits, fragmentation, give_back, observed_gpus, take
from cerebrum.engine.state import (
    FREED,
    GONE,
    LOGGED,
    LOWEST,
    MAX_ATTEMPTS,
    NOW,
    PENDING,
    ROWS,
    RUNNING,
    STRIDE,
    TASKS,
    TERMINAL,
    TURN,
    TYPICAL,
    VERSION,
    unpack_state,
)

# EventKind and TaskState as plain integers: kernels cannot see enums.
FINISHED, FAILED, PREEMPTED, BIND_FAILED = 0, 1, 2, 3
TIMER_FIRED, SUBMITTED, READY, DEFERRED = 8, 9, 10, 11
UNSCHEDULABLE, REJECTED, BOUND, STARTED, CANCELLED = 12, 13, 14, 15, 16
IS_UNKNOWN, IS_BLOCKED, IS_PENDING, IS_BOUND, IS_RUNNING = 0, 1, 2, 3, 4
IS_SUCCEEDED, IS_FAILED, IS_REJECTED, IS_CANCELLED = 5, 6, 7, 8
VACANT = -1  # no task holds the id

OK, WRONG_STATE, NO_ROOM, NO_ROW, BAD_GPUS, PAST, FORBIDDEN, BY_PEERS = 0, 1, 2, 3, 4, 5, 6, 7
ERRORS = {
    WRONG_STATE: "the task's state does not allow it",
    NO_ROOM: "the node has no room for the task",
    NO_ROW: "there is no such node, or it takes no tasks",
    BAD_GPUS: "the GPUs do not match the request or what is free",
    PAST: "it lies before the last event",
    FORBIDDEN: "the node's labels or taints keep the task away",
    BY_PEERS: "rules about other tasks, ports or exclusive claims keep the task away",
}


@kernel
def row_changed(s, row):
    """Note that a node row changed: scores of it are stale, its fragmentation is kept current."""
    version = s.counts[VERSION]
    s.changed[version & (len(s.changed) - 1)] = row
    s.changed_at[row] = version
    s.counts[VERSION] = version + 1
    if s.counts[TYPICAL]:
        s.nodes[row].fragmentation = fragmentation(s.nodes[row], s.typical)


@kernel
def _goes_before(s, a, b):
    """Queue order: higher priority, then the task that was submitted first."""
    if s.t_priority[a] != s.t_priority[b]:
        return s.t_priority[a] > s.t_priority[b]
    if s.t_submit[a] != s.t_submit[b]:
        return s.t_submit[a] < s.t_submit[b]
    return a < b


@kernel
def enqueue(s, task):
    """Put a task in the queue at its place (binary search; the usual place is the end)."""
    n = s.counts[PENDING]
    if n == len(s.pending) or s.counts[GONE] > 64 + n // 2:
        compact(s)
        n = s.counts[PENDING]
    low, high = 0, n
    if n == 0 or not _goes_before(s, task, s.pending[n - 1]):
        low = n
    while low < high:
        middle = (low + high) // 2
        if _goes_before(s, task, s.pending[middle]):
            high = middle
        else:
            low = middle + 1
    for i in range(n, low, -1):
        s.pending[i] = s.pending[i - 1]
    s.pending[low] = task
    # A gang is looked at where its first member stands, so a late member sends us back to the head.
    in_gang = s.t_job[task] >= 0 and s.j_gang[s.t_job[task]] > 1
    s.counts[LOWEST] = 0 if in_gang else min(s.counts[LOWEST], low)
    s.counts[PENDING] = n + 1
    s.t_state[task] = IS_PENDING
    s.t_refused[task] = 0


@kernel
def compact(s):
    """Drop entries of the queue that are no longer pending."""
    kept = 0
    for i in range(s.counts[PENDING]):
        task = s.pending[i]
        again = kept > 0 and s.pending[kept - 1] == task  # it was placed, failed, came back
        if s.t_state[task] == IS_PENDING and not again:
            s.pending[kept] = task
            kept += 1
    s.counts[PENDING] = kept
    s.counts[GONE] = 0
    s.counts[LOWEST] = 0


@kernel
def _leave_queue(s, task, state):
    s.t_state[task] = state
    s.counts[GONE] += 1


@kernel
def gpus_free(node, task, gpus):
    """Whether mask `gpus` names exactly the GPUs asked for, each with enough left."""
    named = 0
    for g in range(64):
        if (gpus >> g) & 1:
            if g >= node.gpu_count or node.gpu_free[g] < task.gpu_milli:
                return False
            named += 1
    return named == task.gpu_count


@kernel
def bind(s, task, row, gpus, ways):
    """Reserve the node for the task. Checks everything first."""
    if s.t_state[task] != IS_PENDING:
        return WRONG_STATE
    if row < 0 or row >= s.counts[ROWS] or not s.present[row] or s.cordoned[row]:
        return NO_ROW
    task_class = s.classes[s.t_class[task]]
    if s.forbidden[task_class.constraints * s.counts[STRIDE] + row]:
        return FORBIDDEN
    if ways < task_class.cache_ways or s.nodes[row].cache_ways_free < ways:
        return NO_ROOM
    if not fits(s.nodes[row], task_class):
        return NO_ROOM
    if not gpus_free(s.nodes[row], task_class, gpus):
        return BAD_GPUS
    if peered(s, task):
        bar(s, task)
        if s.p_barred[row]:
            return BY_PEERS
    _occupy(s, task, row, gpus, ways)
    return OK


@kernel
def observe(s, task, row, gpus, ways):
    """`bind` that was seen to happen outside: a fact, whether the node has room or not."""
    if s.t_state[task] != IS_PENDING:
        return WRONG_STATE
    if row < 0 or row >= s.counts[ROWS] or not s.present[row]:
        return NO_ROW
    if gpus < 0 or gpus >= 2**31 or ways < 0:
        return BAD_GPUS
    _occupy(s, task, row, gpus, ways)
    return OK


@kernel
def _occupy(s, task, row, gpus, ways):
    """The task is on the node from now on."""
    take(s.nodes[row], s.classes[s.t_class[task]], gpus, ways)
    count_peer(s, task, row, 1)
    row_changed(s, row)
    s.t_row[task], s.t_gpus[task], s.t_ways[task] = row, gpus, ways
    s.t_attempts[task] += 1
    s.counts[RUNNING] += 1
    s.counts[TURN] += 1
    _leave_queue(s, task, IS_BOUND)


@kernel
def release(s, task):
    """Give a bound or running task's resources back to its node."""
    row = s.t_row[task]
    give_back(s.nodes[row], s.classes[s.t_class[task]], s.t_gpus[task], s.t_ways[task])
    count_peer(s, task, row, -1)
    row_changed(s, row)
    s.counts[FREED] += 1
    s.counts[RUNNING] -= 1
    s.t_row[task], s.t_gpus[task], s.t_ways[task] = -1, 0, 0


@kernel
def _end(s, task, kind, final):
    """A task stops: for good, or back to the queue if it may start again."""
    release(s, task)
    if kind == FINISHED:
        s.t_state[task] = IS_SUCCEEDED
        s.counts[TERMINAL] += 1
    elif kind == FAILED and (final or s.t_attempts[task] >= s.counts[MAX_ATTEMPTS]):
        s.t_state[task] = IS_FAILED
        s.counts[TERMINAL] += 1
    else:
        enqueue(s, task)


@kernel
def transition(s, time_s, kind, task, row, gpus, ways, value):
    """Change the state by one task event, or return why it is not allowed."""
    state = s.t_state[task]
    if kind == BOUND:
        seen = value > 0
        return observe(s, task, row, gpus, ways) if seen else bind(s, task, row, gpus, ways)
    if kind == STARTED:
        if state != IS_BOUND:
            return WRONG_STATE
        s.t_state[task] = IS_RUNNING
        s.t_started[task] = time_s
    elif kind == FINISHED:
        if state != IS_RUNNING:
            return WRONG_STATE
        _end(s, task, kind, True)
    elif kind == FAILED or kind == PREEMPTED or kind == BIND_FAILED:
        if state != IS_RUNNING and state != IS_BOUND:
            return WRONG_STATE
        _end(s, task, kind, value > 0)
    elif kind == SUBMITTED or kind == READY:
        if state != (IS_UNKNOWN if kind == SUBMITTED else IS_BLOCKED):
            return WRONG_STATE
        if kind == SUBMITTED and value > 0:
            s.t_state[task] = IS_BLOCKED
        else:
            enqueue(s, task)
    elif kind == CANCELLED and state == IS_BLOCKED:
        s.t_state[task] = IS_CANCELLED
        s.counts[TERMINAL] += 1
    elif state != IS_PENDING and kind != TIMER_FIRED:
        return WRONG_STATE
    elif kind == REJECTED:
        _leave_queue(s, task, IS_REJECTED)
        s.counts[TERMINAL] += 1
    elif kind == CANCELLED:
        _leave_queue(s, task, IS_CANCELLED)
        s.counts[TERMINAL] += 1
    elif kind == DEFERRED:
        s.t_not_before[task] = value
    elif kind == UNSCHEDULABLE:
        s.t_refused[task] = 1
    return OK


@kernel
def write_log(s, time_s, kind, subject, row, gpus, reason, ways, value):
    """Append one row; the caller made sure there is space."""
    entry = s.log[s.counts[LOGGED]]
    entry.time_s, entry.value = time_s, value
    entry.subject, entry.row, entry.gpus = subject, row, gpus
    entry.reason, entry.kind, entry.cache_ways = reason, kind, ways
    s.counts[LOGGED] += 1


@kernel
def apply(s, time_s, kind, task, row, gpus, reason, ways, value):
    """One task event: change the state and log it, or refuse it and change nothing."""
    if not time_s >= s.clock[NOW]:
        return PAST
    if kind != BOUND and kind != TIMER_FIRED:  # the log says where a task was when it ended
        row, gpus, ways = s.t_row[task], s.t_gpus[task], s.t_ways[task]
    elif kind == BOUND and value > 0 and row >= 0 and row < s.counts[ROWS] and gpus >= 0:
        gpus = observed_gpus(s.nodes[row], s.classes[s.t_class[task]], gpus)
    error = transition(s, time_s, kind, task, row, gpus, ways, value)
    if error == OK:
        s.clock[NOW] = time_s
        write_log(s, time_s, kind, task, row, gpus, reason, ways, value)
    return error


@kernel
def apply_one(handle, time_s, kind, task, row, gpus, reason, ways, value):
    """`apply` for Python."""
    return apply(unpack_state(handle), time_s, kind, task, row, gpus, reason, ways, value)


@kernel
def apply_many(handle, events):
    """Apply rows of a log in order; returns how many were applied before the first error."""
    s = unpack_state(handle)
    for i in range(len(events)):
        e = events[i]
        if np.int64(e.kind) >= 4 and np.int64(e.kind) <= 7:
            return i  # node events carry objects: Python applies them
        error = apply(
            s, e.time_s, e.kind, e.subject, e.row, e.gpus, e.reason, e.cache_ways, e.value
        )
        if error != OK:
            return i
    return len(events)


@kernel
def forget_ended(handle):
    """Clear the queue of what is not pending, so that ids in it may be used again."""
    s = unpack_state(handle)
    if s.counts[GONE]:
        compact(s)


@kernel
def take_again(handle, row):
    """Subtract what runs on a node whose record was written anew, in order of task ids."""
    s = unpack_state(handle)
    for task in range(s.counts[TASKS]):
        if s.t_row[task] == row:
            take(s.nodes[row], s.classes[s.t_class[task]], s.t_gpus[task], s.t_ways[task])


@kernel
def touch_row(handle, row):
    """`row_changed` for Python, after a node event."""
    s = unpack_state(handle)
    row_changed(s, row)
    s.p_counts[CHANGES] += 1


@kernel
def renew_rows(handle):
    """Fragmentation of every node, once the typical classes are known."""
    s = unpack_state(handle)
    for row in range(s.counts[ROWS]):
        s.nodes[row].fragmentation = 0.0
        if s.counts[TYPICAL]:
            s.nodes[row].fragmentation = fragmentation(s.nodes[row], s.typical)
