"""The event loop of a workflow in virtual time: one engine a cluster, one queue of what happens."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.actions import event_of
from cerebrum.engine.engine import Engine
from cerebrum.engine.schedule import Platform, rank_order
from cerebrum.executors._placements import Planned
from cerebrum.executors._workflow_run import WorkflowRun
from cerebrum.model.decisions import Bind, Decision, Defer, Reject
from cerebrum.model.errors import InfeasibleDecision, InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.federation import Federation
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskTable
from cerebrum.model.workflow import Workflow

_MAX_DECISIONS = 10_000_000  # of one cluster at one time: beyond this a policy goes in circles

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Luck:
    """What is drawn beforehand: `slow` float64[tasks] stretches the computation; `fails`
    bool[tasks, attempts] and `when` float64[tasks, attempts], the share of the run until then.
    """

    slow: Floats
    fails: NDArray[np.bool_]
    when: Floats
    backoff_s: float = 0.0


class Execution:
    """Tasks move from blocked to ready to running to an end. Task ids are the workflow's.

    `members[c]` are the tasks of a cluster: its engine knows each by its place there. With
    `planned` (rows of the platform) data moves to a task's node as soon as it exists; else only
    to its cluster, and on from there after the bind.
    """

    def __init__(
        self,
        workflow: Workflow,
        federation: Federation,
        platform: Platform,
        cluster: NDArray[np.int32],
        rank: NDArray[np.floating] | NDArray[np.integer],
        luck: Luck,
        planned: NDArray[np.int32] | None = None,
    ) -> None:
        n, k = len(workflow), len(federation.clusters)
        self.workflow, self.platform, self.cluster, self.luck = workflow, platform, cluster, luck
        self.placements: list[Policy] = []
        self.members = [np.flatnonzero(cluster == c).astype(np.int32) for c in range(k)]
        sizes = [len(one) for one in federation.clusters]
        self.first_row = np.concatenate([[0], np.cumsum(sizes)])[:k].astype(np.int64)
        self._planned = planned
        self._priority = np.empty(n, np.int32)
        self._priority[rank_order(workflow, np.asarray(rank, np.float64))] = np.arange(n, 0, -1)
        self._engines = [
            Engine(self._scenario(federation, c, luck.fails.shape[1])) for c in range(k)
        ]
        self._local = np.zeros(n, np.int32)
        for own in self.members:
            self._local[own] = np.arange(len(own))
        self._heap: list[tuple[float, int, int, int]] = []  # time, kind, task, attempt
        self._waits = np.diff(workflow.predecessors[0])
        self._staging: dict[int, Floats] = {}
        self._lengths: dict[int, Floats] = {}
        self._fits = platform.fits(workflow)
        self._node = np.full(n, -1, np.int32)
        self._ready_s, self._start_s, self._end_s = (np.full(n, np.nan) for _ in range(3))
        self._stage_in_s, self._expected_s = np.zeros(n), np.full(n, np.nan)
        self._moved_mb, self._moved_within_mb, self._cost = 0.0, 0.0, 0.0

    def _scenario(self, federation: Federation, c: int, max_attempts: int) -> Scenario:
        """A cluster with its tasks, to be looked at in the order of their ranks."""
        own, tasks = self.members[c], self.workflow.tasks
        table = TaskTable.build(
            [tasks.names[i] for i in own.tolist()],
            tasks.classes,
            tasks.class_id[own],
            np.zeros(len(own)),
            tasks.duration_s[own],
            tasks.requested_s[own],
            self._priority[own],
            preemptible=False,
        )
        name = f"{self.workflow.name} on {federation.clusters[c].name}"
        return Scenario(federation.clusters[c], table, name, max_attempts=max_attempts)

    # -- what a placement may ask -----------------------------------------------------------

    def expectations(
        self, c: int
    ) -> tuple[
        Floats, Callable[[NDArray[np.int32], float], Floats], NDArray[np.int64], NDArray[np.int64]
    ]:
        """For a cluster's tasks: lengths, expected ends, lanes needed; and the lanes of its nodes.

        Lengths are float64[tasks, rows], data included, inf where a task may not run; a row is
        filled when its task is ready. One that is late is expected to take as long again as it is
        late.
        """
        here, own = self.platform.cluster == c, self.members[c]
        lengths = self._lengths[c] = np.full((len(own), int(here.sum())), np.inf)

        def ends_s(local: NDArray[np.int32], now_s: float) -> Floats:
            ends = self._expected_s[own[local]]
            return np.where(ends > now_s, ends, now_s + (now_s - ends))

        return lengths, ends_s, self.platform.need(self.workflow)[own], self.platform.lanes[here]

    def _expect(self, task: int) -> None:
        """Fill the ready task's row of its cluster's lengths, if a placement asked for them."""
        c = int(self.cluster[task])
        lengths = self._lengths.get(c)
        if lengths is None:
            return
        here = slice(int(self.first_row[c]), int(self.first_row[c]) + lengths.shape[1])
        compute_s = self.workflow.tasks.duration_s[task] / self.platform.speed[here]
        fits = self._fits[self.workflow.tasks.class_id[task], here]
        lengths[self._local[task]] = np.where(fits, self._stage_in(task) + compute_s, np.inf)

    def _stage_in(self, task: int) -> Floats:
        """float64[rows of its cluster]: seconds to fetch a ready task's data, all at once.

        What came from other clusters is in the cluster already.
        """
        found = self._staging.get(task)
        if found is not None:
            return found
        c = int(self.cluster[task])
        first, network = int(self.first_row[c]), self.platform.network
        moves = [
            (network.transfer_s(c, c, mb), int(self._node[p]) - first)
            for p, mb in self._sources(task)
            if self.cluster[p] == c
        ]
        longest = max((move for move, _ in moves), default=0.0)
        out = np.full(len(self._engines[c].nodes), longest)
        for row in {row for _, row in moves}:
            out[row] = max((move for move, source in moves if source != row), default=0.0)
        self._staging[task] = out
        return out

    def _sources(self, task: int) -> list[tuple[int, float]]:
        """Whose data a task reads, and how much, MB."""
        w = self.workflow
        first, edges = w.predecessors
        edges = edges[first[task] : first[task + 1]]
        return list(zip(w.before[edges].tolist(), w.volume_mb[edges].tolist(), strict=True))

    def _arrival_s(self, task: int) -> float:
        """When all that a task reads is on its planned node or, without a plan, in its cluster."""
        c, network = int(self.cluster[task]), self.platform.network
        place, where = (
            (self._planned[task], self._node) if self._planned is not None else (c, self.cluster)
        )
        return max(
            (
                float(self._end_s[p])
                + (0 if where[p] == place else network.transfer_s(int(self.cluster[p]), c, mb))
                for p, mb in self._sources(task)
            ),
            default=0.0,
        )

    # -- the loop ---------------------------------------------------------------------------

    def run(self) -> WorkflowRun:
        """To the end: until nothing will ever happen again."""
        waiting = np.flatnonzero(self._waits > 0).tolist()
        for task in waiting:
            self._apply(task, Event(0.0, EventKind.SUBMITTED, task, value=1.0))
        first = np.flatnonzero(self._waits == 0)
        self._make_ready(0.0, first.tolist(), EventKind.SUBMITTED)
        self._decide(0.0, range(len(self._engines)))
        while self._heap:
            now, ready, touched = self._heap[0][0], list[int](), set[int]()
            while self._heap and self._heap[0][0] == now:
                _, kind, task, attempt = heapq.heappop(self._heap)
                touched.add(int(self.cluster[task]))
                ready += self._happen(now, EventKind(kind), task, attempt)
            self._make_ready(now, ready, EventKind.READY)
            touched.update(self.cluster[ready].tolist())
            self._decide(now, sorted(touched))
        return self._result()

    def _apply(self, task: int, event: Event) -> None:
        """An event of the workflow's task, in its cluster's engine."""
        local = replace(event, subject=int(self._local[task]))
        self._engines[self.cluster[task]].apply(local)

    def _state(self, task: int) -> int:
        engine = self._engines[int(self.cluster[task])]
        return int(engine.table.state.t_state[int(self._local[task])])

    def _attempts(self, task: int) -> int:
        engine = self._engines[int(self.cluster[task])]
        return int(engine.table.state.t_attempts[int(self._local[task])])

    def _make_ready(self, now_s: float, tasks: list[int], kind: EventKind) -> None:
        """Queue them, highest rank first; each waits until data from afar is there."""
        for task in sorted(tasks, key=lambda t: -int(self._priority[t])):
            self._ready_s[task] = now_s
            self._apply(task, Event(now_s, kind, task))
            self._expect(task)
            self._defer(task, now_s, self._arrival_s(task))

    def _defer(self, task: int, now_s: float, until_s: float) -> None:
        if until_s > now_s:
            self._apply(task, Event(now_s, EventKind.DEFERRED, task, value=until_s))
            heapq.heappush(self._heap, (until_s, int(EventKind.TIMER_FIRED), task, 0))

    def _happen(self, now_s: float, kind: EventKind, task: int, attempt: int) -> list[int]:
        """Carry out what the queue held; the tasks that are ready by it."""
        if kind == EventKind.TIMER_FIRED:
            self._apply(task, Event(now_s, kind, task))
            return []
        if self._state(task) != TaskState.RUNNING or self._attempts(task) != attempt:
            return []  # it was preempted in the meantime
        self._end_s[task] = now_s
        self._apply(task, Event(now_s, kind, task))
        if kind == EventKind.FAILED:
            self._after_failure(now_s, task, attempt)
            return []
        self._staging.pop(task, None)
        first, edges = self.workflow.successors
        followers = self.workflow.after[edges[first[task] : first[task + 1]]]
        self._waits[followers] -= 1
        return followers[self._waits[followers] == 0].tolist()

    def _after_failure(self, now_s: float, task: int, attempt: int) -> None:
        """Try again after a while, or give up all that depends on it."""
        if attempt >= self.luck.fails.shape[1]:
            self._give_up(now_s, task)
            return
        placement = self.placements[int(self.cluster[task])]
        if isinstance(placement, Planned):
            placement.put_back(int(self._local[task]))
        self._defer(task, now_s, now_s + self.luck.backoff_s * 2 ** (attempt - 1))

    def _give_up(self, now_s: float, task: int) -> None:
        """Cancel what waits for a task that will never succeed."""
        first, edges = self.workflow.successors
        stack = [task]
        while stack:
            at = stack.pop()
            for follower in self.workflow.after[edges[first[at] : first[at + 1]]].tolist():
                if self._state(follower) != TaskState.BLOCKED:
                    continue
                self._apply(follower, Event(now_s, EventKind.CANCELLED, follower))
                placement = self.placements[int(self.cluster[follower])]
                if isinstance(placement, Planned):
                    placement.drop(int(self._local[follower]))
                stack.append(follower)

    # -- deciding ---------------------------------------------------------------------------

    def _decide(self, now_s: float, clusters: range | list[int]) -> None:
        for c in clusters:
            engine, policy = self._engines[c], self.placements[c]
            for _ in range(_MAX_DECISIONS):
                snapshot = engine.snapshot()
                if not len(snapshot.pending):
                    break
                decision = policy.decide(snapshot)
                if not decision:
                    break
                self._act(c, now_s, decision)
            else:
                raise InfeasibleDecision(f"policy {policy.name!r} never stops deciding")

    def _act(self, c: int, now_s: float, decision: Decision) -> None:
        try:
            for action in decision.actions:
                self._engines[c].apply(event_of(action, now_s))
                if isinstance(action, Defer):
                    task = int(self.members[c][action.task])
                    item = (action.until_s, int(EventKind.TIMER_FIRED), task, 0)
                    heapq.heappush(self._heap, item)
                elif isinstance(action, Reject):
                    self._give_up(now_s, int(self.members[c][action.task]))
        except InvalidEvent as problem:
            raise InfeasibleDecision(str(problem)) from problem
        for action in decision.actions:
            if isinstance(action, Bind):
                self._start(now_s, int(self.members[c][action.task]), c, action.row)

    def _start(self, now_s: float, task: int, c: int, row: int) -> None:
        """A bound task fetches its data and runs; when that ends is known from its luck."""
        self._node[task] = self.first_row[c] + row
        stage_s = 0.0 if self._planned is not None else float(self._stage_in(task)[row])
        compute_s = float(self.workflow.tasks.duration_s[task] / self._engines[c].nodes[row].speed)
        self._start_s[task], self._stage_in_s[task] = now_s, stage_s
        self._expected_s[task] = now_s + stage_s + compute_s
        self._apply(task, Event(now_s, EventKind.STARTED, task, value=stage_s + compute_s))
        attempt = self._attempts(task)
        length_s = stage_s + compute_s * float(self.luck.slow[task])
        kind = EventKind.FINISHED
        if self.luck.fails[task, attempt - 1]:
            kind, length_s = EventKind.FAILED, length_s * float(self.luck.when[task, attempt - 1])
        heapq.heappush(self._heap, (now_s + length_s, int(kind), task, attempt))
        self._count_data(task, c, attempt)

    def _count_data(self, task: int, c: int, attempt: int) -> None:
        """What this attempt moves: a repeat finds in the cluster what came from others."""
        price = self.platform.network.cost_per_gb
        for source, mb in self._sources(task):
            other = int(self.cluster[source])
            if self._node[source] == self._node[task] or (other != c and attempt > 1):
                continue
            self._cost += mb / 1000 * float(price[other, c])
            if other == c:
                self._moved_within_mb += mb
            else:
                self._moved_mb += mb

    def _result(self) -> WorkflowRun:
        n = len(self.workflow)
        attempts, state = np.zeros(n, np.int32), np.zeros(n, np.int8)
        scenarios: list[Scenario] = []
        for own, engine in zip(self.members, self._engines, strict=True):
            columns = engine.snapshot().tasks
            attempts[own], state[own] = columns.attempts, columns.state
            ready_s = np.nan_to_num(self._ready_s[own])
            tasks = replace(engine.scenario.tasks, submit_s=ready_s)
            scenarios.append(replace(engine.scenario, tasks=tasks))
        ended = (state == TaskState.SUCCEEDED) | (state == TaskState.FAILED)
        return WorkflowRun(
            self.workflow, self.platform, self.cluster, self._node, self._ready_s, self._start_s,
            self._stage_in_s, np.where(ended, self._end_s, np.nan), attempts, state,
            self._moved_mb, self._moved_within_mb, self._cost, tuple(scenarios),
            tuple(engine.log for engine in self._engines),
        )  # fmt: skip
