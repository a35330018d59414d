# pyright: basic, reportPrivateImportUsage=false
"""The batch in one compiled call: carry out what was decided, move time to the next decision.

Every change goes through the engine's `apply`, in the order of `executors.simulated`: what frees
capacity first, then node events, then arrivals, then decisions. Node events carry objects, so
for those the kernel comes back to Python and goes on afterwards.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import RULED, bar, coarse, peered
from cerebrum.engine.placement import BEST_FIT, choose_gpus, take
from cerebrum.engine.scoring import node_refusals
from cerebrum.engine.state import DECISIONS as ENGINE_DECISIONS
from cerebrum.engine.state import (
    FREED,
    LABELLED,
    LOGGED,
    LOWEST,
    NOW,
    PENDING,
    ROWS,
    STRIDE,
    unpack_state,
)
from cerebrum.engine.transitions import (
    BOUND,
    FINISHED,
    IS_PENDING,
    IS_RUNNING,
    OK,
    REJECTED,
    STARTED,
    SUBMITTED,
    UNSCHEDULABLE,
    apply,
)
from cerebrum.learn import _levels as levels
from cerebrum.learn._levels import give_up_waiting, imbalance, part_of_cluster, pass_time, refresh
from cerebrum.learn._tables import (
    ACTED,
    ARRIVAL,
    CHANGE,
    DECISIONS,
    ENDS,
    FREED_BEFORE,
    PHASE,
    POSITION,
    TASK,
    TO_DECIDE,
    TO_HAPPEN,
    TO_MOVE,
    unpack_progress,
)
from cerebrum.learn.encoders import encode

# `status` of a cluster: it asks for a decision, has one to carry out, has to go on, needs Python
# (a node event, a full log, a decision refused), or is over.
ASKS, DECIDED, GOES_ON, CHANGES, LOG_FULL, REFUSED, ENDED = 0, 1, 2, 3, 4, 5, 6

# Places in `options`.
PASSED_IS_REJECTED, UNPLACEABLE_IS_REJECTED, KEEPS_LOG = 0, 1, 2
N_OPTIONS = 4

_REASONS = 16
_SPARE = 8  # log rows that one decision or one event can need


@kernel
def _earlier(p, a, b):
    if p.end_s[a] != p.end_s[b]:
        return p.end_s[a] < p.end_s[b]
    if p.end_task[a] != p.end_task[b]:
        return p.end_task[a] < p.end_task[b]
    return p.end_attempt[a] < p.end_attempt[b]


@kernel
def _swap(p, a, b):
    p.end_s[a], p.end_s[b] = p.end_s[b], p.end_s[a]
    p.end_task[a], p.end_task[b] = p.end_task[b], p.end_task[a]
    p.end_attempt[a], p.end_attempt[b] = p.end_attempt[b], p.end_attempt[a]


@kernel
def push_end(p, when, task, attempt):
    """A running task will end: by time, then task, then attempt."""
    i = p.cursor[ENDS]
    p.end_s[i], p.end_task[i], p.end_attempt[i] = when, task, attempt
    p.cursor[ENDS] = i + 1
    while i > 0 and _earlier(p, i, (i - 1) // 2):
        _swap(p, i, (i - 1) // 2)
        i = (i - 1) // 2


@kernel
def push_end_of(handle, when, task, attempt):
    """`push_end` for Python."""
    push_end(unpack_progress(handle), when, task, attempt)


@kernel
def _pop_end(p):
    n = p.cursor[ENDS] - 1
    p.cursor[ENDS] = n
    _swap(p, 0, n)
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and _earlier(p, child + 1, child):
            child += 1
        if not _earlier(p, child, i):
            return
        _swap(p, i, child)
        i = child


@kernel
def _next_time(s, p):
    """When something happens next; inf if nothing does."""
    when = np.inf
    if p.cursor[ARRIVAL] < len(p.arrivals):
        when = s.t_submit[p.arrivals[p.cursor[ARRIVAL]]]
    if p.cursor[ENDS] > 0:
        when = min(when, p.end_s[0])
    if p.cursor[CHANGE] < len(p.change_s):
        when = min(when, p.change_s[p.cursor[CHANGE]])
    return when


@kernel
def _end_tasks(s, p, when, options):
    """Departures of this moment; False when the log is full."""
    while p.cursor[ENDS] > 0 and p.end_s[0] == when:
        task, attempt = p.end_task[0], p.end_attempt[0]
        if s.t_attempts[task] == attempt and s.t_state[task] == IS_RUNNING:
            if not _has_room(s, options):
                return False
            pass_time(s, p, when)
            apply(s, when, FINISHED, task, -1, 0, 0, 0, 0.0)
            p.terms[levels.COMPLETION] += 1.0
        _pop_end(p)  # an attempt that was preempted or failed ends nothing
    return True


@kernel
def _submit_tasks(s, p, when, options):
    """Arrivals of this moment; False when the log is full."""
    while p.cursor[ARRIVAL] < len(p.arrivals):
        task = p.arrivals[p.cursor[ARRIVAL]]
        if s.t_submit[task] != when:
            break
        if not _has_room(s, options):
            return False
        pass_time(s, p, when)
        apply(s, when, SUBMITTED, task, -1, 0, 0, 0, 0.0)
        p.cursor[ARRIVAL] += 1
    return True


@kernel
def _has_room(s, options):
    """Whether the log takes what may come next; where nobody wants it, it starts anew."""
    if s.counts[LOGGED] + _SPARE <= len(s.log):
        return True
    if options[KEEPS_LOG]:
        return False
    s.counts[LOGGED] = 0
    return True


@kernel
def _refusal(s, task, row, ruled):
    """Refusal bits of one node for a task, -1 for a node that is gone."""
    bits = node_refusals(s, s.classes[s.t_class[task]], row)
    if ruled and bits >= 0:
        bits |= coarse(s.p_barred[row])
    return bits


@kernel
def fill_mask(s, task, mask):
    """Which rows take the task now. Returns how many."""
    ruled = peered(s, task)
    if ruled:
        bar(s, task)
    able = 0
    for row in range(s.counts[ROWS]):
        mask[row] = _refusal(s, task, row, ruled) == 0
        able += mask[row]
    mask[s.counts[ROWS] :] = False
    return able


@kernel
def _fits_somewhere(s, p, task):
    """Whether any node takes the task, unless it is known that nothing was freed since."""
    ruled, kind = peered(s, task), s.t_class[task]
    if p.nowhere[kind] == s.counts[FREED]:
        return False
    if ruled:
        bar(s, task)
    for row in range(s.counts[ROWS]):
        if _refusal(s, task, row, ruled) == 0:
            return True
    if not ruled:
        p.nowhere[kind] = s.counts[FREED]
    return False


@kernel
def why_nowhere(s, task):
    """The reason that keeps a task out, as the engine's: one Refusal bit.

    The commonest among nodes refused for one reason alone, else the commonest of all; ties: the
    lowest bit.
    """
    ruled = peered(s, task)
    if ruled:
        bar(s, task)
    alone, all_ = np.zeros(_REASONS, np.int64), np.zeros(_REASONS, np.int64)
    for row in range(s.counts[ROWS]):
        bits = _refusal(s, task, row, ruled)
        if bits < 0:
            continue
        single = bits & (bits - 1) == 0
        for b in range(_REASONS - 1):
            if (bits >> b) & 1:
                all_[b] += 1
                alone[b] += single
    if alone.max() > 0:
        return np.int64(1) << np.argmax(alone)
    if all_.max() > 0:
        return np.int64(1) << np.argmax(all_)
    return np.int64(4096)


@kernel
def _find_task(s, p, options):
    """Go on through the queue to a task that fits somewhere: ASKS, GOES_ON or LOG_FULL."""
    now = s.clock[NOW]
    while p.cursor[POSITION] < s.counts[PENDING]:
        task = s.pending[p.cursor[POSITION]]
        waits = s.t_state[task] == IS_PENDING and s.t_not_before[task] <= now
        if waits and p.declined[task] != s.counts[FREED]:
            if not _has_room(s, options):
                return LOG_FULL
            if _fits_somewhere(s, p, task):
                p.cursor[TASK] = task
                return ASKS
            if options[UNPLACEABLE_IS_REJECTED]:
                p.terms[levels.REJECTED] -= part_of_cluster(s, p, task)
                apply(s, now, REJECTED, task, -1, 0, why_nowhere(s, task), 0, 0.0)
                s.counts[ENGINE_DECISIONS] += 1
            elif not s.t_refused[task]:
                apply(s, now, UNSCHEDULABLE, task, -1, 0, why_nowhere(s, task), 0, 0.0)
                s.counts[ENGINE_DECISIONS] += 1
        p.cursor[POSITION] += 1
    return GOES_ON


@kernel
def go_on(s, p, options):
    """Move time until a task has to be decided, or Python is needed, or nothing will happen."""
    while True:
        if p.cursor[PHASE] == TO_DECIDE:
            found = _find_task(s, p, options)
            if found != GOES_ON:
                return found
            p.cursor[FREED_BEFORE], s.counts[LOWEST] = s.counts[FREED], s.counts[PENDING]
            p.cursor[PHASE] = TO_MOVE
        when = _next_time(s, p)
        if p.cursor[PHASE] == TO_MOVE:
            if when == np.inf:
                give_up_waiting(s, p)
                return ENDED
            p.levels[levels.NEXT_S] = when
            p.cursor[PHASE] = TO_HAPPEN
        when = p.levels[levels.NEXT_S]
        if not _end_tasks(s, p, when, options):
            return LOG_FULL
        if p.cursor[CHANGE] < len(p.change_s) and p.change_s[p.cursor[CHANGE]] == when:
            pass_time(s, p, when)
            return CHANGES
        if not _submit_tasks(s, p, when, options):
            return LOG_FULL
        # What fitted nowhere fits nowhere still unless something was freed since.
        again = s.counts[FREED] != p.cursor[FREED_BEFORE]
        p.cursor[POSITION] = 0 if again else s.counts[LOWEST]
        p.cursor[PHASE] = TO_DECIDE


@kernel
def carry_out(s, p, row, options):
    """Bind the task to the row, or let it wait or go (-1). False if the engine refuses."""
    task, now = p.cursor[TASK], s.clock[NOW]
    s.counts[ENGINE_DECISIONS] += 1
    p.cursor[ACTED] = 1
    p.cursor[DECISIONS] += 1
    if row < 0:
        if options[PASSED_IS_REJECTED]:
            p.terms[levels.REJECTED] -= part_of_cluster(s, p, task)
            apply(s, now, REJECTED, task, -1, 0, 0, 0, 0.0)
        else:
            p.declined[task] = s.counts[FREED]
        p.cursor[POSITION] += 1
        refresh(s, p)
        p.terms[levels.BALANCE] -= imbalance(p)
        return True
    kind = s.classes[s.t_class[task]]
    if row >= s.counts[ROWS] or node_refusals(s, kind, row) != 0:
        return False
    gpus = choose_gpus(s.nodes[row], kind, BEST_FIT, 0)
    before = s.nodes[row].fragmentation
    if apply(s, now, BOUND, task, row, gpus, 0, kind.cache_ways, 0.0) != OK:
        return False
    p.terms[levels.FRAGMENTATION] -= (s.nodes[row].fragmentation - before) / 1000.0
    length = s.t_duration[task] / s.nodes[row].speed
    apply(s, now, STARTED, task, -1, 0, 0, 0, length)
    if length < np.inf:
        push_end(p, now + length, task, s.t_attempts[task])
    # Room only shrinks while deciding, unless rules of tasks want others near.
    p.cursor[POSITION] = 0 if s.p_counts[RULED] else p.cursor[POSITION] + 1
    refresh(s, p)
    p.terms[levels.BALANCE] -= imbalance(p)
    return True


@kernel
def observe(s, p, encoder, mask, observation, pooled):
    """Mask, one row of features a feasible node, and the pooled state of the cluster."""
    task = p.cursor[TASK]
    kind, features = s.classes[s.t_class[task]], observation.shape[1]
    able = fill_mask(s, task, mask)
    after = p.scratch[0]
    pooled[:] = 0.0
    first = True
    for row in range(len(mask)):
        seen = observation[row]
        if not mask[row]:
            seen[:] = 0.0
            continue
        before = s.nodes[row]
        p.scratch[0] = before
        if s.counts[LABELLED]:
            at = kind.constraints * s.counts[STRIDE] + row
            after.preference, after.disliked_taints = s.preference[at], s.disliked[at]
        take(after, kind, choose_gpus(before, kind, BEST_FIT, 0), kind.cache_ways)
        encode(encoder, before, after, kind, s.typical, seen)
        for i in range(features):
            pooled[i] += seen[i] / able
            pooled[features + i] = seen[i] if first else max(pooled[features + i], seen[i])
        first = False
    _pool_levels(s, p, able, pooled[2 * features :])


@kernel
def _pool_levels(s, p, able, out):
    """What the whole cluster is like: see `clusters.STATE`."""
    refresh(s, p)
    nodes = max(1.0, p.levels[levels.PRESENT])
    waiting = levels.waiting(s)
    out[0] = able / nodes
    out[1] = nodes / (nodes + 64.0)
    out[2] = waiting / (waiting + 16.0)
    out[3] = imbalance(p)
    out[4] = p.levels[levels.FRAGMENTED] / nodes
    for resource in range(3):
        at = levels.RESOURCE + levels.PER_RESOURCE * resource
        whole = p.levels[at + levels.CAPACITY]
        out[5 + resource] = p.levels[at + levels.USED] / whole if whole > 0 else 0.0


@kernel
def advance(
    states, progresses, rows, status, encoder, options, weights,
    observation, mask, present, pooled, tasks, times, terms, rewards,
):  # fmt: skip
    """Clusters that DECIDED carry out `rows[e]`; with those that GO_ON they go to the next task.

    The others rest. One that needs Python is left with that status, to GO_ON in another call.
    """
    for e in range(len(status)):
        if status[e] != DECIDED and status[e] != GOES_ON:
            continue
        s, p = unpack_state(states[e]), unpack_progress(progresses[e])
        if status[e] == DECIDED and not carry_out(s, p, rows[e], options):
            status[e] = REFUSED
            continue
        status[e] = go_on(s, p, options)
        if status[e] == ASKS:
            observe(s, p, encoder, mask[e], observation[e], pooled[e])
            for row in range(present.shape[1]):
                present[e, row] = row < s.counts[ROWS] and s.present[row]
            tasks[e], times[e] = p.cursor[TASK], s.clock[NOW]
        if p.cursor[ACTED] and (status[e] == ASKS or status[e] == ENDED):
            p.cursor[ACTED] = 0
            total = 0.0
            for i in range(len(weights)):
                terms[e, i] = p.terms[i]
                total += weights[i] * p.terms[i]
                p.terms[i] = 0.0
            rewards[e] = total
