"""The agent's engine and policy: where tasks go, with a journal from which it can be replayed.

The engine sees tasks by number, here they have uids. All the engine is told passes through this
class, which writes it down: `admit`, `event`, `node`, `forecast`, and each `decision` of the
policy.

Queue order, by the engine's own rule (priority, then submit time, then id): the workflow's
priority; then the second in which its tasks came; within it the larger HEFT rank (`rank_s`), which
is written into the fraction of the submit time. So ranks order the tasks of one workflow, and a
long workflow cannot push in front of one that came before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine.actions import event_of
from cerebrum.engine.engine import Engine
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.decisions import Action, Bind, Defer, Preempt, Reject, Wait
from cerebrum.model.errors import InfeasibleDecision, InputError, InvalidEvent
from cerebrum.model.events import REFUSAL_TEXT, Event, EventKind, TaskState
from cerebrum.model.journal import action_record, event_record, node_record
from cerebrum.model.protocols import Policy
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.snapshot import Snapshot
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.policies.learned.rollout import Rollout
from cerebrum.services.agent.journal import packed, task_record
from cerebrum.services.agent.reasons import Reasons

_MAX_DECISIONS = 100_000  # in one pass: beyond this a policy goes round in circles
_CROWDED = 10_000  # ended tasks the engine may carry along
_LONGEST_S = 3.2e9  # what a rank can be at most
_NOTED = (
    "mode", "key", "decider", "baseline", "candidate", "trip", "regret", "propensity",
    "candidate_propensity", "nodes",
)  # fmt: skip
_OPEN = (TaskState.PENDING, TaskState.BOUND, TaskState.RUNNING, TaskState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Placeable:
    """A task as the engine is to see it. `expected_s` run time a policy may know, inf: unknown."""

    uid: str
    task_class: TaskClass
    priority: int = 0
    arrived_s: float = 0.0
    rank_s: float = 0.0
    expected_s: float = math.inf

    def task(self, number: int) -> Task:
        """The engine's task; `number` makes its name unique."""
        sooner = math.log1p(min(self.rank_s, _LONGEST_S)) / math.log1p(_LONGEST_S)
        return Task(
            name=f"{self.uid}#{number}",
            task_class=self.task_class,
            submit_s=max(0.0, math.floor(self.arrived_s) - sooner),
            duration_s=self.expected_s,
            priority=self.priority,
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """The policy puts a task on a node; `gpus` a bit per GPU index, `reason` for people, `beside`
    what a rollout noted of the two sides (None: there is none)."""

    uid: str
    node: str
    gpus: int = 0
    cache_ways: int = 0
    reason: str = ""
    beside: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a pass over the queue came to. `waits` and `rejects`: uid -> reason for people."""

    placed: tuple[Placed, ...]
    preempts: tuple[str, ...]
    waits: Mapping[str, str]
    rejects: Mapping[str, str]
    defers: Mapping[str, float]
    problem: str = ""


def warm_up(policy: Policy) -> None:
    """Take tasks through all that can become of them, on an engine of its own: what a policy and
    the engine compile the first time would otherwise hold up an agent for minutes.

    Of a policy with `sides` (a baseline and a candidate) each is warmed up by itself, so that
    nothing of it counts; a candidate that fails is for its guards to see.
    """
    if sides := getattr(policy, "sides", None):
        warm_up(sides[0])
        with suppress(Exception):
            warm_up(sides[1])
        return
    node = Node("warm", Resources(2000, 64))
    small = Placement("warm", [node], policy, 0)
    wants = TaskClass(Resources(1000, 1))
    uids = [str(i) for i in range(4)]
    small.admit(Placeable(uid, wants, priority=i) for i, uid in enumerate(uids))
    small.rebind(Placed(uids[0], node.name), 0.0, running=True)
    for uid in uids[1:]:
        small.submit(uid, 0.0)
    small.decide({})
    small.succeeded(uids[0], 1.0)
    small.returned(uids[1], 1.0, 2.0)
    small.due(uids[1], 2.0)
    small.change_node(node.name, NodeChange.UPDATE, 2.0, node)
    small.decide({})
    for uid in uids[1:]:
        small.cancelled(uid, 3.0)


def empty_engine(cluster: str, nodes: Sequence[Node], key: int) -> Engine:
    """An engine of these nodes without tasks. The agent counts attempts, not the engine."""
    tasks = TaskTable.from_tasks(())
    return Engine(Scenario(Cluster(tuple(nodes), cluster), tasks, max_attempts=2**31 - 1), key)


class Placement:
    """One engine from its making to its replacement; `entries` is the journal not yet stored."""

    def __init__(
        self,
        cluster: str,
        nodes: Sequence[Node],
        policy: Policy,
        key: int,
        source: str = "",
        candidate: str = "",
    ) -> None:
        self.policy = policy
        self.engine = empty_engine(cluster, nodes, key)
        self.rows = {node.name: row for row, node in enumerate(nodes)}
        self.ids: dict[str, int] = {}
        self.uids: list[str] = []
        self.written = 0
        self._forecasts: dict[str, NDArray[np.float64]] = {}
        header: dict[str, Any] = {
            "cluster": cluster, "policy": source or policy.name, "key": key,
            "nodes": [node_record(node) for node in nodes],
        }  # fmt: skip
        if isinstance(policy, Rollout):
            beside = {"candidate": candidate, "explore": policy.explore, "salt": policy.salt}
            header["rollout"] = beside
        self.entries: list[list[Any]] = [["session", header]]

    # -- what becomes of tasks ----------------------------------------------------------------

    def admit(self, tasks: Iterable[Placeable]) -> None:
        """Make tasks known; they wait outside the queue until `submit`."""
        new = list(tasks)
        if not new:
            return
        first = len(self.uids)
        made = [item.task(first + i) for i, item in enumerate(new)]
        numbers = self.engine.admit(TaskTable.from_tasks(made)).tolist()
        for number, item in zip(numbers, new, strict=True):
            self.ids[item.uid] = int(number)
            self.uids.append(item.uid)
        self.entries.append(["admit", [task_record(task) for task in made]])

    def knows(self, uid: str) -> bool:
        """Whether the engine holds a task that has not ended."""
        number = self.ids.get(uid)
        return number is not None and self._state(number) in _OPEN

    def submit(self, uid: str, now_s: float) -> None:
        """Put it in the queue."""
        self._apply(now_s, EventKind.SUBMITTED, uid)

    def rebind(self, placed: Placed, now_s: float, running: bool) -> bool:
        """Put a task where it already is; False if there is no such place any more."""
        self.submit(placed.uid, now_s)
        row = self.rows.get(placed.node, -1)
        try:
            # A fact: it counts although others may have taken the room meanwhile.
            self._apply(
                now_s, EventKind.BOUND, placed.uid,
                row=row, gpus=placed.gpus, cache_ways=placed.cache_ways, value=1.0,
            )  # fmt: skip
        except InvalidEvent:
            self._apply(now_s, EventKind.CANCELLED, placed.uid)
            return False
        if running:
            self.started(placed.uid, now_s)
        return True

    def started(self, uid: str, now_s: float) -> None:
        """A bound task runs."""
        if self._is(uid, TaskState.BOUND):
            self._apply(now_s, EventKind.STARTED, uid)

    def succeeded(self, uid: str, now_s: float) -> None:
        """It is done."""
        self.started(uid, now_s)
        if self._is(uid, TaskState.RUNNING):
            self._apply(now_s, EventKind.FINISHED, uid)

    def failed(self, uid: str, now_s: float) -> None:
        """It has failed for good."""
        if self._is(uid, TaskState.BOUND, TaskState.RUNNING):
            self._apply(now_s, EventKind.FAILED, uid, value=1.0)
        else:
            self.cancelled(uid, now_s)

    def returned(self, uid: str, now_s: float, until_s: float = 0.0) -> None:
        """It is off its node and waits again, not to be placed before `until_s`."""
        if self._is(uid, TaskState.BOUND, TaskState.RUNNING):
            self._apply(now_s, EventKind.PREEMPTED, uid)
        self.defer(uid, now_s, until_s)

    def defer(self, uid: str, now_s: float, until_s: float) -> None:
        """Not before `until_s`."""
        if until_s > now_s and self._is(uid, TaskState.PENDING):
            self._apply(now_s, EventKind.DEFERRED, uid, value=until_s)

    def due(self, uid: str, now_s: float) -> None:
        """Its time has come: nothing changes but the engine's clock."""
        if uid in self.ids:
            self._apply(now_s, EventKind.TIMER_FIRED, uid)

    def cancelled(self, uid: str, now_s: float) -> None:
        """It ends for good, wherever it is."""
        if self._is(uid, TaskState.BOUND, TaskState.RUNNING):
            self._apply(now_s, EventKind.PREEMPTED, uid)
        if self._is(uid, TaskState.PENDING):
            self._apply(now_s, EventKind.CANCELLED, uid)
        elif self._is(uid, TaskState.UNKNOWN):
            self._apply(now_s, EventKind.SUBMITTED, uid)
            self._apply(now_s, EventKind.CANCELLED, uid)

    def change_node(
        self, name: str, change: NodeChange, now_s: float, node: Node | None = None
    ) -> None:
        """What happens to a node; JOIN and UPDATE bring the `node`. Raises `InvalidEvent`."""
        time_s = self._time(now_s)
        change_node(self.engine, name, change, time_s, node)
        described = [] if node is None else [node_record(node)]
        self.entries.append([time_s, "node", name, str(change), *described])
        if change is NodeChange.JOIN:
            self.rows[name] = self.engine.row_of(name)

    def holds(self, name: str) -> bool:
        """Whether the engine has a node of that name, if only until its last task has ended."""
        row = self.rows.get(name, -1)
        return row >= 0 and bool(self.engine.table.state.present[row])

    def given_cpu(self) -> dict[str, float]:
        """Node -> the share of its CPU that tasks of ours have been given."""
        nodes = self.engine.snapshot().nodes
        capacity = np.maximum(nodes["cpu_milli"], 1)
        shares = (nodes["cpu_milli"] - nodes["cpu_free"]) / capacity
        return dict(zip(self.engine.node_names, map(float, shares), strict=True))

    def look_ahead(self, forecasts: Mapping[str, NDArray[np.float64]]) -> None:
        """Forecasts for snapshots from now on: float64[rows, horizon] by name.

        They are cut to float32, which is what the journal holds.
        """
        self._forecasts = {
            name: values.astype(np.float32).astype(np.float64) for name, values in forecasts.items()
        }

    # -- deciding ---------------------------------------------------------------------------

    def decide(self, stopping: Mapping[str, str]) -> Answers:
        """Ask the policy until it has nothing more to do. Binds are applied to the engine.

        `stopping` are uids whose end is already asked for: preempting them again is no news.
        """
        placed: list[Placed] = []
        preempts: list[str] = []
        waits: dict[str, str] = {}
        rejects: dict[str, str] = {}
        defers: dict[str, float] = {}
        why = Reasons(self.policy)
        problem = ""
        for _ in range(_MAX_DECISIONS):
            snapshot = self.engine.snapshot()
            if not len(snapshot.pending):
                break
            self._show_forecasts()
            try:
                actions = self.policy.decide(self.engine.snapshot()).actions
                decided: list[Any] = ["decision", [action_record(a) for a in actions]]
                if isinstance(self.policy, Rollout):
                    decided.append(self.policy.trail)
                self.entries.append(decided)
                victims = [self.uids[a.task] for a in actions if isinstance(a, Preempt)]
                if victims or not actions:  # the rest waits for the room that is being made
                    preempts += [uid for uid in victims if uid not in stopping]
                    break
                for action in actions:
                    reason = why.of(self.snapshot, action) if isinstance(action, Bind) else ""
                    self._act(action, reason, placed, waits, rejects, defers)
            except (InvalidEvent, InfeasibleDecision) as infeasible:
                problem = str(infeasible)
                break
            except Exception as bug:  # a user's policy may raise anything; the agent goes on
                problem = f"policy {self.policy.name!r}: {type(bug).__name__}: {bug}"
                break
        else:
            problem = f"policy {self.policy.name!r} never stops deciding"
        return Answers(tuple(placed), tuple(preempts), waits, rejects, defers, problem)

    def _act(
        self,
        action: Action,
        why: str,
        placed: list[Placed],
        waits: dict[str, str],
        rejects: dict[str, str],
        defers: dict[str, float],
    ) -> None:
        event = event_of(action, self.engine.now_s)
        self._tell(event)
        uid = self.uids[action.task]
        match action:
            case Bind(_, row, gpus, ways):
                node = self.engine.node_names[row]
                placed.append(Placed(uid, node, gpus, ways, why, _beside(self.policy)))
            case Wait(_, reason):
                waits[uid] = self.reason(reason)
            case Reject(_, reason):
                rejects[uid] = self.reason(reason)
            case Defer(_, until_s):
                defers[uid] = until_s
            case Preempt():
                pass

    def _show_forecasts(self) -> None:
        if self._forecasts and self._forecasts is not self.engine.forecasts:
            self.engine.forecasts = self._forecasts
            shown = {name: packed(values) for name, values in self._forecasts.items()}
            self.entries.append(["forecast", shown])

    # -- looking ----------------------------------------------------------------------------

    def reason(self, bits: int) -> str:
        """Refusal bits for people."""
        found = [text for flag, text in REFUSAL_TEXT.items() if bits & int(flag)]
        usable = int(self.engine.snapshot().usable.sum())
        return f"0/{usable} nodes can take it: " + (", ".join(found) or "no reason given")

    def snapshot(self) -> Snapshot:
        """The engine's snapshot: valid until the next change."""
        return self.engine.snapshot()

    @property
    def crowded(self) -> bool:
        """Whether ended tasks make up most of the engine."""
        ended = int(self.engine.table.state.counts[at.TERMINAL])
        return ended > _CROWDED and 2 * ended > len(self.uids)

    def take_entries(self) -> list[list[Any]]:
        """The journal since the last call."""
        entries, self.entries = self.entries, []
        self.written += 1 if entries else 0
        return entries

    # -- the engine -------------------------------------------------------------------------

    def _time(self, now_s: float) -> float:
        return max(now_s, self.engine.now_s)

    def _state(self, number: int) -> TaskState:
        return TaskState(int(self.engine.table.state.t_state[number]))

    def _is(self, uid: str, *states: TaskState) -> bool:
        number = self.ids.get(uid)
        return number is not None and self._state(number) in states

    def _apply(
        self,
        now_s: float,
        kind: EventKind,
        uid: str,
        row: int = -1,
        gpus: int = 0,
        cache_ways: int = 0,
        value: float = 0.0,
    ) -> None:
        time_s = self._time(now_s)
        self._tell(Event(time_s, kind, self.ids[uid], row, gpus, 0, cache_ways, value))

    def _tell(self, event: Event) -> None:
        self.engine.apply(event)
        self.entries.append(event_record(event))


def _beside(policy: Policy) -> dict[str, Any] | None:
    """What a rollout noted of its last decision, for the history; NaN (not known) left out."""
    if not isinstance(policy, Rollout) or policy.noted is None:
        return None
    found = asdict(policy.noted)
    return {key: found[key] for key in _NOTED if found[key] == found[key]}


def change_node(
    engine: Engine, name: str, change: NodeChange, time_s: float, node: Node | None = None
) -> None:
    """Tell an engine of a change that its scenario did not foresee. Raises `InvalidEvent`."""
    index = len(engine.node_events)
    engine.node_events.append(NodeEvent(time_s, change, name, node))
    kind = EventKind.NODE_ADDED if change is NodeChange.JOIN else EventKind.NODE_CHANGED
    try:
        engine.apply(Event(time_s, kind, -1, value=float(index)))
    except (InvalidEvent, InputError):
        engine.node_events.pop()
        raise
