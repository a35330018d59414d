"""The simulated executor: virtual time. Binds start at once, tasks end after their duration.

`Simulation` steps from decision point to decision point, so a training environment, a replay and
`simulate` are the same thing. `run` drives a policy; incremental policies on scenarios without node
events take the engine's compiled loop, which gives the same log. Tasks that are bound from the
start run before anything else happens, in the order of the scenario's tasks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from cerebrum.engine import decide as kernels
from cerebrum.engine import state as at
from cerebrum.engine.actions import check_gangs, event_of
from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental
from cerebrum.model.decisions import Action, Bind, Decision, Defer
from cerebrum.model.errors import InfeasibleDecision, InputError, InvalidEvent, nearest
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.protocols import Policy
from cerebrum.model.resources import MAX_GPUS
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.snapshot import Snapshot

_NODE_KINDS = {NodeChange.JOIN: EventKind.NODE_ADDED, NodeChange.FAIL: EventKind.NODE_REMOVED}
_CHUNK = 200_000  # log rows between progress reports
_MAX_DECISIONS = 10_000_000  # at one time: beyond this a policy goes round in circles

Progress = Callable[[int, int], None]


class Simulation:
    """Virtual time over one scenario.

    `next_snapshot()` applies what happens until there is something to decide, `act(decision)`
    carries a decision out, `run(policy)` does both to the end, and `decisions(policy)` shows each
    on the way. `rng` gives policies their key.
    """

    def __init__(self, scenario: Scenario, rng: np.random.Generator | None = None) -> None:
        key = 0 if rng is None else int(rng.integers(2**62))
        self.scenario = scenario
        self.engine = Engine(scenario, key)
        bound = bound_tasks(scenario, self.engine)
        arrivals = np.argsort(scenario.tasks.submit_s, kind="stable")
        self._arrivals = arrivals[~np.isin(arrivals, list(bound))].astype(np.int32)
        self._arrived = 0
        self._stepped = False
        self._heap: list[tuple[float, int, int, int]] = []  # time, kind, subject, attempt
        for task, end_s in start_bound(self.engine, bound):
            self._end_at(end_s, task)
        for time_s, kind, index in node_changes(scenario):
            heapq.heappush(self._heap, (time_s, kind, index, 0))

    # -- stepping ---------------------------------------------------------------------------

    def next_snapshot(self) -> Snapshot | None:
        """The next decision point with tasks to place, or None when nothing will happen again."""
        self._stepped = True
        while self._advance():
            snapshot = self.engine.snapshot()
            if len(snapshot.pending):
                return snapshot
        return None

    def act(self, decision: Decision) -> Snapshot:
        """Carry out one decision now. Raises `InfeasibleDecision`; the state is then undefined."""
        check_gangs(self.engine, decision)
        try:
            for action in decision.actions:
                self._perform(action)
        except InvalidEvent as problem:
            raise InfeasibleDecision(str(problem)) from problem
        self.engine.table.state.counts[at.DECISIONS] += 1
        self._start(decision)
        return self.engine.snapshot()

    def _advance(self) -> bool:
        """Apply everything that happens at the next time; False when nothing does."""
        arrivals, submit = self._arrivals, self.scenario.tasks.submit_s
        times = [self._heap[0][0]] if self._heap else []
        if self._arrived < len(arrivals):
            times.append(float(submit[arrivals[self._arrived]]))
        if not times:
            return False
        now = min(times)
        while self._heap and self._heap[0][0] == now and self._heap[0][1] < EventKind.SUBMITTED:
            self._happen(*heapq.heappop(self._heap))
        while self._arrived < len(arrivals) and submit[arrivals[self._arrived]] == now:
            self.engine.apply(Event(now, EventKind.SUBMITTED, int(arrivals[self._arrived])))
            self._arrived += 1
        return True

    def _happen(self, time_s: float, kind: int, subject: int, attempt: int) -> None:
        if kind >= EventKind.NODE_ADDED and kind <= EventKind.NODE_REMOVED:
            change_node(self.engine, EventKind(kind), subject)
            return
        s = self.engine.table.state
        if kind == EventKind.FINISHED:
            stale = s.t_attempts[subject] != attempt or s.t_state[subject] != TaskState.RUNNING
            if stale:  # it was preempted or failed in the meantime
                return
        self.engine.apply(Event(time_s, EventKind(kind), subject))

    # -- carrying out -----------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        self.engine.apply(event_of(action, self.engine.now_s))
        if isinstance(action, Defer):
            timer = (action.until_s, int(EventKind.TIMER_FIRED), action.task, 0)
            heapq.heappush(self._heap, timer)

    def _start(self, decision: Decision) -> None:
        for action in decision.actions:
            if isinstance(action, Bind):
                self._end_at(start(self.engine, action.task, action.row), action.task)

    def _end_at(self, time_s: float, task: int) -> None:
        if time_s < np.inf:
            attempt = int(self.engine.table.state.t_attempts[task])
            heapq.heappush(self._heap, (time_s, int(EventKind.FINISHED), task, attempt))

    # -- running ----------------------------------------------------------------------------

    def run(self, policy: Policy, progress: Progress | None = None, compiled: bool = True) -> None:
        """Drive `policy` until nothing will happen again. `progress(events, tasks ended)`."""
        plain = not self.scenario.node_events and not self._stepped
        if compiled and plain and type(policy) is Incremental and not policy.rules.preempt:
            self._run_compiled(policy, progress)
            return
        for _ in self.decisions(policy):
            if progress is not None:
                progress(len(self.engine.log), int(self.engine.table.state.counts[at.TERMINAL]))

    def decisions(self, policy: Policy) -> Iterator[tuple[Snapshot, Decision]]:
        """Each decision of `policy` to the end, and what it was made on; it is carried out when the
        next one is asked for. Raises `InfeasibleDecision`, also when there is no end to them."""
        while (snapshot := self.next_snapshot()) is not None:
            for _ in range(_MAX_DECISIONS):
                decision = policy.decide(snapshot)
                if not decision:
                    break
                yield snapshot, decision
                snapshot = self.act(decision)
            else:
                raise InfeasibleDecision(f"policy {policy.name!r} never stops deciding")

    def _run_compiled(self, policy: Incremental, progress: Progress | None) -> None:
        engine, n = self.engine, len(self.scenario.tasks)
        memo = policy.memo_handle(engine.snapshot())
        gang = max(1, int(engine.table.state.j_size.max(initial=1)))
        end_s, end_task = np.zeros(n + 1), np.zeros(n + 1, np.int32)
        cursor = np.zeros(8, np.int64)
        for i, (time_s, _, task, _) in enumerate(sorted(self._heap)):  # in order, so a heap
            end_s[i], end_task[i] = time_s, task
        cursor[kernels.ENDS] = len(self._heap)
        self._heap, self._stepped = [], True
        work = np.zeros(kernels.N_FOUND + 3 * gang, np.int64)
        while True:
            limit = len(engine.log) + _CHUNK if progress is not None else 2**62
            handle = engine.table.handle
            kernels.run(handle, memo, self._arrivals, end_s, end_task, cursor, limit, work)
            status = int(cursor[kernels.STATUS])
            if progress is not None:
                progress(len(engine.log), int(engine.table.state.counts[at.TERMINAL]))
            if status == kernels.ENDED:
                return
            if status == kernels.LOG_FULL:
                engine.make_room(2 * gang + 64)


def bound_tasks(scenario: Scenario, engine: Engine) -> dict[int, tuple[int, int]]:
    """Task -> row and GPUs of `scenario.bound`, in the order of the tasks."""
    if not scenario.bound:
        return {}
    found: dict[int, tuple[int, int]] = {}
    for task, name in enumerate(scenario.tasks.names):
        if name in scenario.bound:
            node, gpus = scenario.bound[name]
            if node not in engine.fleet.rows:
                raise _unknown("node", node, engine.fleet.names)
            if not 0 <= gpus < 2**MAX_GPUS:
                raise InputError(
                    f"task {name!r}: expected a mask of at most {MAX_GPUS} GPUs, got {gpus}"
                ).at(field="bound")
            found[task] = engine.row_of(node), gpus
    if len(found) < len(scenario.bound):
        known = set(scenario.tasks.names)
        raise _unknown("task", next(n for n in scenario.bound if n not in known), known)
    return found


def start(engine: Engine, task: int, row: int) -> float:
    """Start a task that is bound to that row; gives the time of its end, infinity without one."""
    s, now = engine.table.state, engine.now_s
    length = float(s.t_duration[task] / s.nodes[row]["speed"])
    engine.apply(Event(now, EventKind.STARTED, task, value=length))
    return now + length


def start_bound(engine: Engine, bound: dict[int, tuple[int, int]]) -> list[tuple[int, float]]:
    """Start what runs from the start, room or not: those are facts. Gives each task and its end.

    `bound` as `bound_tasks` gives it. The time is that of the first node event if below zero.
    """
    now = min(0.0, min((change.time_s for change in engine.node_events), default=0.0))
    ends: list[tuple[int, float]] = []
    for task, (row, gpus) in bound.items():
        engine.apply(Event(now, EventKind.SUBMITTED, task))
        engine.apply(Event(now, EventKind.BOUND, task, row, gpus, value=1.0))
        ends.append((task, start(engine, task, row)))
    return ends


def node_changes(scenario: Scenario) -> list[tuple[float, int, int]]:
    """Time, kind of event and index of each of the scenario's node events, as they are listed."""
    return [
        (change.time_s, int(_NODE_KINDS.get(change.change, EventKind.NODE_CHANGED)), index)
        for index, change in enumerate(scenario.node_events)
    ]


def change_node(engine: Engine, kind: EventKind, index: int) -> NodeEvent:
    """Apply a node event; what runs on a node that fails or drains fails or is preempted first."""
    change = engine.node_events[index]
    if change.change in (NodeChange.FAIL, NodeChange.DRAIN):
        ending = EventKind.FAILED if change.change == NodeChange.FAIL else EventKind.PREEMPTED
        for task in np.flatnonzero(engine.table.state.t_row == engine.row_of(change.name)):
            engine.apply(Event(change.time_s, ending, int(task)))
    engine.apply(Event(change.time_s, kind, -1, value=float(index)))
    return change


def _unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    near = nearest(name, known)
    hint = f", did you mean {near!r}?" if near else ""
    return InputError(f"there is no {what} {name!r} in the scenario{hint}").at(field="bound")
