"""An engine all of whose inputs are written down, so that a replay comes to the same decisions.

Entries are plain lists, of the kinds the agent's journal has: `session` (what the engine was made
of), `admit`, `event`, `node`, `retire`, `typical` (what fragmentation is measured against), and
each `decision` of the policy. Without a journal nothing is encoded, which is what a cluster that
nobody replays pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cerebrum.engine.engine import Engine
from cerebrum.executors.kubernetes import _recorded_forms as forms
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.decisions import Bind, Decision
from cerebrum.model.errors import InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.journal import (
    action_record,
    event_of_record,
    event_record,
    node_of_record,
    node_record,
)
from cerebrum.model.protocols import Policy, Scores
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable

Journal = Callable[[list[Any]], None]
_MAX_LOG = 1_000_000  # rows, 32 MB
_ANY_NUMBER = 2**31 - 1  # of attempts: the API server's objects say when a pod is given up


class RecordedEngine:
    """One engine and its journal. `clock` gives seconds that never go back (Unix time at best)."""

    def __init__(
        self,
        nodes: Sequence[Node],
        policy: Policy,
        clock: Callable[[], float],
        key: int = 0,
        journal: Journal | None = None,
        cluster: str = "kubernetes",
    ) -> None:
        self.policy = policy
        self.engine = _empty_engine(nodes, key, cluster)
        self._clock = clock
        self._journal = journal
        if journal is not None:
            made_of = [node_record(node) for node in nodes]
            header = {"cluster": cluster, "policy": policy.name, "key": key, "nodes": made_of}
            journal(["session", header])

    def now(self) -> float:
        """The time the next event would have: the clock's, but never before the last event."""
        return max(self._clock(), self.engine.now_s)

    @property
    def now_s(self) -> float:
        """See `now`."""
        return self.now()

    def state(self, task: int) -> TaskState:
        """Where a task stands."""
        return TaskState(int(self.engine.table.state.t_state[task]))

    def admit(
        self, tasks: Sequence[Task], gangs: Mapping[str, int] | None = None, submit: bool = True
    ) -> list[int]:
        """Make tasks known and put them in the queue; their ids. `gangs`: job -> how many.

        Without `submit` they are only known, to be judged by, until they are retired.
        """
        ids = [int(i) for i in self.engine.admit(TaskTable.from_tasks(tasks, gangs))]
        if self._journal is not None:
            made = [forms.task_record(task) for task in tasks]
            self._journal(["admit", made, dict(gangs or {})])
        for task in ids if submit else ():
            self.tell(EventKind.SUBMITTED, task)
        return ids

    def tell(
        self,
        kind: EventKind,
        task: int,
        row: int = -1,
        gpus: int = 0,
        cache_ways: int = 0,
        value: float = 0.0,
        reason: int = 0,
    ) -> None:
        """One event, now. Raises `InvalidEvent`, changing nothing."""
        event = Event(self.now_s, kind, task, row, gpus, reason, cache_ways, value)
        self.engine.apply(event)
        if self._journal is not None:
            self._journal(event_record(event))

    def retire(self, ids: Sequence[int]) -> None:
        """Ended tasks may be forgotten."""
        if not ids:
            return
        self.engine.retire(ids)
        if self._journal is not None:
            self._journal(["retire", [int(i) for i in ids]])
        if len(self.engine.log.rows) > _MAX_LOG:
            self.engine.drain_log()  # who wants to keep it has the journal

    def measure_against(self, typical: Sequence[tuple[TaskClass, float]]) -> None:
        """What fragmentation is measured against from now on."""
        self.engine.measure_against(typical)
        if self._journal is not None:
            shown = [[forms.class_record(one), weight] for one, weight in typical]
            self._journal(["typical", shown])

    def change_node(self, name: str, change: NodeChange, node: Node | None = None) -> None:
        """A node joins, changes or goes."""
        time_s = self.now_s
        self.engine.change_node(NodeEvent(time_s, change, name, node))
        if self._journal is not None:
            shown = None if node is None else node_record(node)
            self._journal([time_s, "node", name, str(change), shown])

    def decide(self) -> Decision:
        """What the policy says now."""
        decision = self.policy.decide(self.engine.snapshot())
        if self._journal is not None:
            self._journal(["decision", [action_record(a) for a in decision.actions]])
        return decision


def warm_up(policy: Policy) -> None:
    """Compile what deciding needs, on an engine of its own: the first time it can take minutes.

    Of a policy with `sides` (a baseline and a candidate) only the baseline is: this runs where
    nobody could end a candidate that does not return.
    """
    if sides := getattr(policy, "sides", None):
        warm_up(sides[0])
        return
    small = RecordedEngine([Node("warm", Resources(2000, 64))], policy, lambda: 0.0)
    wants = TaskClass(Resources(1000, 1))
    tasks = small.admit([Task(str(i), wants, priority=i) for i in range(3)])
    if isinstance(policy, Scores):
        policy.totals(small.engine.snapshot(), tasks[0])
        policy.gpus_on(small.engine.snapshot(), tasks[0], 0)
    small.engine.snapshot().refusals(tasks[0])
    for _ in tasks:
        for action in small.decide().actions:
            if isinstance(action, Bind):
                small.tell(EventKind.BOUND, action.task, action.row, action.gpus)
    for task in tasks:
        if small.state(task) == TaskState.BOUND:
            small.tell(EventKind.FAILED, task, value=1.0)
        else:
            small.engine.snapshot().refusals(task)
            small.tell(EventKind.CANCELLED, task)
    small.retire(tasks)


def replay(entries: Sequence[list[Any]], policy: Policy) -> list[tuple[list[Any], list[Any]]]:
    """Tell a new engine the same and ask `policy` again: (live, replayed) where they differ.

    Raises `InvalidEvent` for a journal that does not begin with a session or does not follow.
    """
    engine: Engine | None = None
    differences: list[tuple[list[Any], list[Any]]] = []
    for entry in entries:
        if entry[0] == "session":
            header = entry[1]
            nodes = [node_of_record(node) for node in header["nodes"]]
            engine = _empty_engine(nodes, int(header["key"]), str(header["cluster"]))
        elif engine is None:
            raise InvalidEvent("the journal does not begin with a session")
        elif entry[0] == "decision":
            made = [action_record(a) for a in policy.decide(engine.snapshot()).actions]
            if made != entry[1]:
                differences.append((entry[1], made))
        else:
            _tell(engine, entry)
    return differences


def _tell(engine: Engine, entry: list[Any]) -> None:
    if entry[0] == "admit":
        engine.admit(TaskTable.from_tasks([forms.task_of_record(t) for t in entry[1]], entry[2]))
    elif entry[0] == "retire":
        engine.retire(entry[1])
    elif entry[0] == "typical":
        engine.measure_against([(forms.class_of_record(one), weight) for one, weight in entry[1]])
    elif entry[1] == "node":
        time_s, _, name, change, shown = entry
        node = None if shown is None else node_of_record(shown)
        engine.change_node(NodeEvent(time_s, NodeChange(change), name, node))
    else:
        engine.apply(event_of_record(entry))


def _empty_engine(nodes: Sequence[Node], key: int, cluster: str) -> Engine:
    tasks = TaskTable.from_tasks(())
    scenario = Scenario(Cluster(tuple(nodes), cluster), tasks, max_attempts=_ANY_NUMBER)
    return Engine(scenario, key, reuse_rows=True)
