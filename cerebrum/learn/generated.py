"""Scenarios from nothing but a seed: random nodes, classes of tasks, arrivals and node events."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from cerebrum.learn.sources import AMOUNTS, Carbon, arrival_rate, holds
from cerebrum.model.cluster import Cluster, Node, PowerModel
from cerebrum.model.errors import ConfigError
from cerebrum.model.resources import GPU_MILLI, Resources
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.tasks import TaskClass, TaskTable


@dataclass(frozen=True)
class Generated:
    """Random clusters and Poisson arrivals of random classes.

    Each scenario has `nodes` (low, high) nodes with 8, 16, 32, 64 or 96 cores, 2 to 8 GiB a core,
    and on `gpu_nodes` of them 1, 2, 4 or 8 GPUs; `tasks` tasks of `classes` classes of 0.25 to 16
    cores, 0.5 to 8 GiB a core, `gpu_tasks` of them with a share of a GPU, 1, 2 or 4 GPUs. Run times
    are log-normal with mean `mean_s` and sigma 1; arrivals are Poisson at the rate at which, if
    nothing had to wait, `load` of the scarcest resource would be in use. `endless` tasks never end:
    then they come one a second. Nodes draw 60 to 250 W idle to full a package of 32 cores, and 30
    to 300 W a GPU. `changes` node events fall into the time of the arrivals: a node joins, or one
    fails, leaves, is drained or cordoned, and a quarter of the time later takes tasks again.
    """

    nodes: tuple[int, int] = (8, 8)
    tasks: int = 200
    load: float = 0.9
    gpu_nodes: float = 0.5
    gpu_tasks: float = 0.4
    classes: int = 16
    mean_s: float = 600.0
    endless: bool = False
    changes: int = 0
    variants: int = 256
    seed: int = 0
    carbon: Carbon | None = None

    def __post_init__(self) -> None:
        low, high = self.nodes
        for name, value, most in (
            ("nodes", low, 100_000), ("nodes", high, 100_000), ("tasks", self.tasks, 10_000_000),
            ("classes", self.classes, 10_000), ("variants", self.variants, 2**31),
            ("changes + 1", self.changes + 1, 10_000),
        ):  # fmt: skip
            if not 1 <= value <= most:
                raise ConfigError(f"expected 1..{most:,}, got {value!r}").at(field=name)
        if high < low:
            raise ConfigError(f"expected (low, high), got {self.nodes}").at(field="nodes")
        for name in ("gpu_nodes", "gpu_tasks"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"expected 0..1, got {getattr(self, name)!r}").at(field=name)
        for name in ("load", "mean_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"expected a finite number above 0, got {value!r}").at(field=name)

    @property
    def rows(self) -> int:
        """The most nodes, and one more for each change."""
        return self.nodes[1] + self.changes

    def scenario(self, number: int) -> Scenario:
        """Number and seed decide everything in it."""
        rng = np.random.default_rng([self.seed, number])
        nodes = _nodes(rng, int(rng.integers(self.nodes[0], self.nodes[1] + 1)), self.gpu_nodes)
        gpus = sum(node.capacity.gpu_count for node in nodes)
        classes = _classes(rng, self.classes, self.gpu_tasks if gpus else 0.0, nodes)
        class_id = rng.integers(len(classes), size=self.tasks)
        if self.endless:
            submit_s, duration_s = np.arange(self.tasks, dtype=float), np.full(self.tasks, np.inf)
        else:
            gaps = rng.standard_exponential(self.tasks) / self._rate(nodes, classes)
            duration_s = rng.lognormal(math.log(self.mean_s) - 0.5, 1.0, self.tasks)
            submit_s = np.cumsum(gaps)
        names = [f"task-{i}" for i in range(self.tasks)]
        return Scenario(
            cluster=Cluster(nodes, name=f"generated-{number}"),
            tasks=TaskTable.build(names, classes, class_id, submit_s, duration_s),
            node_events=_changes(rng, nodes, self.changes, float(submit_s[-1]), self.gpu_nodes),
            name=f"generated-{self.seed}-{number}",
            source=f"generated, seed {self.seed}, number {number}",
        )

    def _rate(self, nodes: tuple[Node, ...], classes: list[TaskClass]) -> float:
        """Tasks a second."""
        mean = {
            name: self.mean_s * float(np.mean([getattr(c.resources, name) for c in classes]))
            for name in AMOUNTS
        }
        return arrival_rate(nodes, mean, self.load)


def _nodes(rng: np.random.Generator, count: int, gpu_share: float) -> tuple[Node, ...]:
    cores = rng.choice([8, 16, 32, 64, 96], count)
    gib = rng.choice([2, 4, 8], count) * cores
    gpus = np.where(rng.random(count) < gpu_share, rng.choice([1, 2, 4, 8], count), 0)
    watts = PowerModel(60.0, 250.0, 32_000, 30.0, 300.0)
    width = len(str(count - 1))
    return tuple(
        Node(
            f"node-{i:0{width}d}",
            Resources(
                1000 * int(cores[i]), 1024 * int(gib[i]), int(gpus[i]), GPU_MILLI * bool(gpus[i])
            ),
            gpu_model="gpu" if gpus[i] else "",
            power=watts,
        )
        for i in range(count)
    )  # fmt: skip


def _changes(
    rng: np.random.Generator, nodes: tuple[Node, ...], count: int, span_s: float, gpu_share: float
) -> tuple[NodeEvent, ...]:
    """Half of them joins, the rest one of four ends for a node that nothing happened to yet."""
    found: list[NodeEvent] = []
    free = [node.name for node in nodes]
    for i, time_s in enumerate(np.sort(rng.uniform(0.0, span_s, count)).tolist()):
        joins = rng.random() < 0.5 or len(free) < 2
        name = f"joined-{i}" if joins else free.pop(int(rng.integers(len(free))))
        if joins:
            node = replace(_nodes(rng, 1, gpu_share)[0], name=name)
            found.append(NodeEvent(time_s, NodeChange.JOIN, name, node))
            continue
        change = (NodeChange.FAIL, NodeChange.LEAVE, NodeChange.DRAIN, NodeChange.CORDON)[
            rng.integers(4)
        ]
        found.append(NodeEvent(time_s, change, name))
        if change in (NodeChange.DRAIN, NodeChange.CORDON):
            found.append(NodeEvent(time_s + span_s / 4, NodeChange.UNCORDON, name))
    return tuple(found)


def _classes(
    rng: np.random.Generator, count: int, gpu_share: float, nodes: tuple[Node, ...]
) -> list[TaskClass]:
    """Classes of which each fits on some empty node."""
    found: list[TaskClass] = []
    while len(found) < count:
        cores = float(rng.choice([0.25, 0.5, 1, 2, 4, 8, 16]))
        memory = int(1024 * cores * float(rng.choice([0.5, 1, 2, 4, 8])))
        gpus, milli = 0, 0
        if rng.random() < gpu_share:
            gpus, milli = ((1, 250), (1, 500), (1, 1000), (2, 1000), (4, 1000))[rng.integers(5)]
        asked = Resources(int(1000 * cores), memory, gpus, milli)
        if any(holds(node, TaskClass(asked)) for node in nodes):
            found.append(TaskClass(asked))
    return found
