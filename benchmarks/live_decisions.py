"""A pod's whole way through the engine of a live cluster: 5,000 nodes, 50,000 tasks, all changing.

One step admits a task, submits, decides, binds and starts it, ends and retires the oldest. Every
20th task is of a class nobody saw before, every 50th has constraints nobody had before; every 100
steps a node goes and another joins, every 30 a node changes. The number is the 99th percentile of
admitting and deciding; the table on stderr has the other parts. Scorers: Kubernetes' defaults.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from rich.table import Table

from benchmarks._harness import Benchmark, Measured, console, progress
from cerebrum.engine.engine import Engine
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.constraints import Constraints, Requirement, Term
from cerebrum.model.decisions import Bind
from cerebrum.model.events import Event, EventKind
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.policies import get_policy

NODES, TASKS, STEPS = 5_000, 50_000, 6_000
PARTS = ("admit", "decide", "bind", "end and retire", "node")


def described(number: int, cpu: int = 64) -> Node:
    """A node with the labels nodes have."""
    name = f"node-{number:06}"
    labels = {
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": f"zone-{number % 5}",
        "disk": ("ssd", "hdd")[number % 2],
    }
    return Node(name, Resources(cpu * 1000, cpu * 4096), labels=labels)


def pod(number: int) -> Task:
    """A task; some are of new classes, some want what nobody wanted before."""
    cpu = 250 * (1 + number % 8) if number % 20 else 100 + number // 20 % 4000
    constraints = Constraints()
    if number % 50 == 0:
        names = tuple(f"node-{(number * 7 + k) % NODES:06}" for k in range(NODES // 2))
        wanted = Requirement("kubernetes.io/hostname", "NotIn", names[: 1 + number // 50 % 40])
        constraints = Constraints(required=(Term((wanted,)),))
    return Task(f"pod-{number}", TaskClass(Resources(cpu, cpu), constraints=constraints))


class Life:
    """The engine, what runs, and how long each part of a step took, in microseconds."""

    def __init__(self) -> None:
        cluster = Cluster(tuple(described(i) for i in range(NODES)))
        self.engine = Engine(Scenario(cluster, TaskTable.from_tasks(())), reuse_rows=True)
        self.policy = get_policy("kubernetes-default")
        self.running: deque[int] = deque()
        self.took: dict[str, list[float]] = {part: [] for part in PARTS}
        self._next_node = NODES

    def fill(self, count: int) -> None:
        """Tasks that run already, in one go, spread over the nodes."""
        ids = self.engine.admit(TaskTable.from_tasks([pod(1_000_000 + i) for i in range(count)]))
        for i, task in enumerate(ids.tolist()):
            self.engine.apply(Event(0.0, EventKind.SUBMITTED, task))
            self.engine.apply(Event(0.0, EventKind.BOUND, task, i % NODES, value=1.0))
            self.engine.apply(Event(0.0, EventKind.STARTED, task))
            self.running.append(task)

    def step(self, number: int) -> None:
        """One task comes and the oldest goes."""
        engine, now_s = self.engine, float(number)
        if number % 30 == 0:
            self._timed("node", lambda: self._update_node(number, now_s))
        if number % 100 == 0:
            self._timed("node", lambda: self._replace_node(now_s))
        table = TaskTable.from_tasks([pod(number)])
        start = time.perf_counter()
        task = int(engine.admit(table)[0])
        engine.apply(Event(now_s, EventKind.SUBMITTED, task))
        self.took["admit"].append((time.perf_counter() - start) * 1e6)
        start = time.perf_counter()
        decision = self.policy.decide(engine.snapshot())
        self.took["decide"].append((time.perf_counter() - start) * 1e6)
        self._timed("bind", lambda: self._bind(decision.actions[0], now_s))
        self._timed("end and retire", lambda: self._end(self.running.popleft(), now_s))

    def _bind(self, action: object, now_s: float) -> None:
        assert isinstance(action, Bind)
        self.engine.apply(Event(now_s, EventKind.BOUND, action.task, action.row))
        self.engine.apply(Event(now_s, EventKind.STARTED, action.task))
        self.running.append(action.task)

    def _end(self, task: int, now_s: float) -> None:
        self.engine.apply(Event(now_s, EventKind.FINISHED, task))
        self.engine.retire([task])

    def _update_node(self, number: int, now_s: float) -> None:
        name = self.engine.node_names[number % NODES]
        old = self.engine.nodes[number % NODES]
        new = Node(name, Resources(60_000, 64 * 4096), labels={**old.labels, "k": str(number % 7)})
        self.engine.change_node(NodeEvent(now_s, NodeChange.UPDATE, name, new))

    def _replace_node(self, now_s: float) -> None:
        row = self._next_node % NODES
        name = self.engine.node_names[row]
        for task in np.flatnonzero(self.engine.snapshot().tasks.row == row).tolist():
            self.engine.apply(Event(now_s, EventKind.FAILED, task, value=1.0))
            self.running.remove(task)
            self.engine.retire([task])
        self.engine.change_node(NodeEvent(now_s, NodeChange.FAIL, name))
        node = described(self._next_node)
        self.engine.change_node(NodeEvent(now_s, NodeChange.JOIN, node.name, node))
        self._next_node += 1

    def _timed(self, part: str, work) -> None:  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        work()
        self.took[part].append((time.perf_counter() - start) * 1e6)


def run() -> Measured:
    life = Life()
    progress(f"{NODES:,} nodes, {TASKS:,} tasks, {STEPS:,} steps")
    life.fill(TASKS)
    for number in range(1, 500):  # loads kernels and meets the usual classes
        life.step(number)
    for values in life.took.values():
        values.clear()
    for number in range(500, 500 + STEPS):
        life.step(number)
    table = Table("part", "p50 us", "p99 us", "worst us")
    peer: dict[str, float] = {}
    for part, values in life.took.items():
        p50, p99 = np.percentile(values, [50, 99])
        table.add_row(part, f"{p50:.0f}", f"{p99:.0f}", f"{max(values):.0f}")
        peer |= {f"{part}, p50 us": float(p50), f"{part}, p99 us": float(p99)}
    console.print(table)
    whole = np.array(life.took["admit"]) + np.array(life.took["decide"])
    return Measured(float(np.percentile(whole, 99)) / 1000, peer)


BENCHMARK = Benchmark(
    name="live_decisions", unit="ms, p99", target=2.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
