"""Rules about other tasks while tasks and nodes come, change and go: counts stay those by hand."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.model.cluster import Cluster
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.tasks import TaskTable
from tests.engine.peer_worlds import some_nodes, some_tasks
from tests.engine.test_peers_twin import by_hand, judged

STEPS = ("admit", "admit", "bind", "bind", "bind", "end", "retire", "join", "update", "leave")


class Life:
    """An engine to which everything happens, one step at a time."""

    def __init__(self, data, nodes, tasks) -> None:
        self.data, self.count = data, 0
        self.engine = Engine(
            Scenario(Cluster(tuple(nodes)), TaskTable.from_tasks(tasks)), reuse_rows=True
        )
        for task in range(len(tasks)):
            self.engine.apply(Event(0.0, EventKind.SUBMITTED, task))

    def tasks(self, *states: TaskState) -> list[int]:
        found = self.engine.snapshot().tasks.state
        return [task for task, state in enumerate(found) if state in states]

    def one(self, of):
        return self.data.draw(st.sampled_from(of)) if len(of) else None

    def step(self, what: str) -> None:
        self.count += 1
        getattr(self, what)()

    def admit(self) -> None:
        new = [
            dataclasses.replace(task, name=f"{task.name}-{self.count}")
            for task in self.data.draw(some_tasks(most=4))
        ]
        for task in self.engine.admit(TaskTable.from_tasks(new)).tolist():
            self.engine.apply(Event(0.0, EventKind.SUBMITTED, task))

    def bind(self) -> None:
        task = self.one(self.tasks(TaskState.PENDING))
        row = self.one(list(self.engine.fleet.rows.values()))
        if task is not None and row is not None:
            self.engine.apply(Event(0.0, EventKind.BOUND, task, row, value=1.0))

    def end(self) -> None:
        task = self.one(self.tasks(TaskState.BOUND))
        if task is not None:
            self.engine.apply(Event(0.0, EventKind.FAILED, task, value=1.0))

    def retire(self) -> None:
        task = self.one(self.tasks(TaskState.FAILED))
        if task is not None:
            self.engine.retire([task])

    def join(self) -> None:
        node = self.data.draw(some_nodes())[0]
        self._change(NodeChange.JOIN, dataclasses.replace(node, name=f"new-{self.count}"))

    def update(self) -> None:
        name = self.one(list(self.engine.fleet.rows))
        if name is not None:
            node = self.data.draw(some_nodes())[0]
            self._change(NodeChange.UPDATE, dataclasses.replace(node, name=name))

    def leave(self) -> None:
        name = self.one(list(self.engine.fleet.rows))
        if name is not None:
            self.engine.change_node(NodeEvent(0.0, NodeChange.LEAVE, name))

    def _change(self, change: NodeChange, node) -> None:
        self.engine.change_node(NodeEvent(0.0, change, node.name, node))

    def check(self) -> None:
        there = self.engine.table.state.present
        for task in self.tasks(TaskState.PENDING):
            counted = [bits for row, bits in enumerate(judged(self.engine, task)) if there[row]]
            assert counted == by_hand(self.engine, task)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(some_nodes(), some_tasks(most=4), st.lists(st.sampled_from(STEPS), max_size=25), st.data())
def test_whatever_comes_and_goes_nodes_are_judged_as_by_hand(nodes, tasks, steps, data):
    life = Life(data, nodes, tasks)
    for what in steps:
        life.step(what)
        life.check()
