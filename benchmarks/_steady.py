"""A cluster in steady state: tasks arrive, the oldest leave, every decision is timed.

The clock is read inside the compiled loop, around what a decision is: choosing node and GPUs and
applying bind and start. Departures and arrivals themselves are not in it, as in `floor/fgd.c`.
"""

from __future__ import annotations

import ctypes

import numba
import numpy as np

from cerebrum.engine.decide import BINDS, N_FOUND, REASON, WHAT, next_action
from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental
from cerebrum.engine.scoring import scores_of, unpack_memo
from cerebrum.engine.state import PENDING, unpack_state
from cerebrum.engine.transitions import BOUND, FINISHED, REJECTED, STARTED, SUBMITTED, apply
from cerebrum.model.scenario import Scenario

_clock_gettime = ctypes.CDLL(None).clock_gettime
_clock_gettime.argtypes = [ctypes.c_int, ctypes.c_void_p]
_MONOTONIC = 1


@numba.njit
def _nanoseconds(now):
    _clock_gettime(_MONOTONIC, now.ctypes.data)
    return now[0] * 1_000_000_000 + now[1]


@numba.njit
def _drive(state, memo, first, last, limit, running, ends, took, found, work, out):
    """Tasks first..last one by one; `ends` [head, tail] of `running`; times into `took` if > 0."""
    s, m = unpack_state(state), unpack_memo(memo)
    now = np.zeros(2, np.int64)
    measured = 0
    for task in range(first, last):
        time_s = s.t_submit[task]
        while s.counts[15] > limit and ends[0] < ends[1]:
            gone = running[ends[0]]
            ends[0] += 1
            c = s.classes[s.t_class[gone]]
            s.counts[15] -= c.gpu_count * c.gpu_milli
            apply(s, time_s, FINISHED, gone, -1, 0, 0, 0, 0.0)
        apply(s, time_s, SUBMITTED, task, -1, 0, 0, 0, 0.0)
        start = _nanoseconds(now)
        next_action(s, m, s.counts[PENDING] - 1, found, work[:1], work[1:2], work[2:3], out)
        if found[WHAT] == BINDS:
            apply(s, time_s, BOUND, task, work[0], work[1], 0, 0, 0.0)
            apply(s, time_s, STARTED, task, -1, 0, 0, 0, 0.0)
            c = s.classes[s.t_class[task]]
            s.counts[15] += c.gpu_count * c.gpu_milli
            running[ends[1]] = task
            ends[1] += 1
        else:
            apply(s, time_s, REJECTED, task, -1, 0, found[REASON], 0, 0.0)
        if len(took):
            took[measured] = _nanoseconds(now) - start
            measured += 1


@numba.njit
def _first_sight(state, memo, class_id, out, now):
    """Time to score every node for a class nothing is remembered of."""
    s, m = unpack_state(state), unpack_memo(memo)
    if m.slot_of[m.shape_of[class_id]] >= 0:
        m.version[m.slot_of[m.shape_of[class_id]]] = -1
    start = _nanoseconds(now)
    scores_of(s, m, class_id, out)
    return _nanoseconds(now) - start


def steady(
    scenario: Scenario, policy: Incremental, measure: int, percent: float = 90.0
) -> tuple[np.ndarray, np.ndarray]:
    """Decision times in us of the last `measure` tasks, and first-sight times in us by class."""
    engine = Engine(scenario)
    handle = policy.memo_handle(engine.snapshot())
    n, capacity = len(scenario.tasks), 1000 * scenario.cluster.gpu_capacity
    engine.make_room(4 * n + 16)
    running, ends = np.zeros(n, np.int64), np.zeros(2, np.int64)
    found, work, out = np.zeros(N_FOUND, np.int64), np.zeros(8, np.int64), np.zeros(4)
    took = np.zeros(measure)
    limit = int(capacity * percent / 100)
    table = engine.table.handle
    for first, last, times in ((0, n - measure, np.zeros(0)), (n - measure, n, took)):
        _drive(table, handle, first, last, limit, running, ends, times, found, work, out)
    now = np.zeros(2, np.int64)
    sight = [_first_sight(table, handle, c, out, now) for c in range(len(scenario.tasks.classes))]
    return took / 1000, np.array(sight) / 1000
