# pyright: basic, reportPrivateImportUsage=false
"""The batch in one compiled call: carry out what was decided, move time to the next decision.

Every change goes through the engine's `apply`, in the order of `executors.simulated`: what frees
capacity first, then node events, then arrivals, then decisions. Node events carry objects, so
for those the kernel comes back to Python and goes on afterwards.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import RULED
from cerebrum.engine.placement import BEST_FIT, choose_gpus
from cerebrum.engine.scoring import node_refusals
from cerebrum.engine.state import DECISIONS as ENGINE_DECISIONS
from cerebrum.engine.state import (
    FREED,
    LOGGED,
    LOWEST,
    NOW,
    PENDING,
    ROWS,
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
from cerebrum.learn._ends import pop_end, push_end
from cerebrum.learn._feasible import fits_somewhere, why_nowhere
from cerebrum.learn._levels import give_up_waiting, imbalance, part_of_cluster, pass_time, refresh
from cerebrum.learn._observe import observe
from cerebrum.learn._tables import (
    ACTED,
    ARRIVAL,
    CHANGE,
    DECISIONS,
    ENDS,
    FREED_BEFORE,
    LEAVING,
    PHASE,
    POSITION,
    TASK,
    TO_DECIDE,
    TO_HAPPEN,
    TO_MOVE,
    unpack_progress,
)

# `status` of a cluster: it asks for a decision, has one to carry out, has to go on, needs Python
# (a node event, an end while nodes leave, a full log, a decision refused), or is over.
ASKS, DECIDED, GOES_ON, CHANGES, FINISHES, LOG_FULL, REFUSED, ENDED = 0, 1, 2, 3, 4, 5, 6, 7

# Places in `options`.
PASSED_IS_REJECTED, UNPLACEABLE_IS_REJECTED, KEEPS_LOG = 0, 1, 2
N_OPTIONS = 4

_SPARE = 8  # log rows that one decision or one event can need


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
    """Departures of this moment: GOES_ON, FINISHES or LOG_FULL.

    While nodes are leaving Python applies them, since the last task to end takes its node along.
    """
    while p.cursor[ENDS] > 0 and p.end_s[0] == when:
        task, attempt = p.end_task[0], p.end_attempt[0]
        if s.t_attempts[task] != attempt or s.t_state[task] != IS_RUNNING:
            pop_end(p)  # an attempt that was preempted or failed ends nothing
            continue
        if not _has_room(s, options):
            return LOG_FULL
        pass_time(s, p, when)
        p.terms[levels.COMPLETION] += 1.0
        pop_end(p)
        if p.cursor[LEAVING]:
            p.cursor[TASK] = task
            return FINISHES
        apply(s, when, FINISHED, task, -1, 0, 0, 0, 0.0)
    return GOES_ON


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
def _find_task(s, p, options):
    """Go on through the queue to a task that fits somewhere: ASKS, GOES_ON or LOG_FULL."""
    now = s.clock[NOW]
    while p.cursor[POSITION] < s.counts[PENDING]:
        task = s.pending[p.cursor[POSITION]]
        waits = s.t_state[task] == IS_PENDING and s.t_not_before[task] <= now
        if waits and p.declined[task] != s.counts[FREED]:
            if not _has_room(s, options):
                return LOG_FULL
            if fits_somewhere(s, p, task):
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
        ended = _end_tasks(s, p, when, options)
        if ended != GOES_ON:
            return ended
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
