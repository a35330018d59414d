"""Where the scenarios of episodes come from: given ones, windows of a trace, or a generator.

A source is asked for scenario number k and gives the same one whenever it is asked again; a batch
draws the numbers by its seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.typical import has_gpus, typical_classes
from cerebrum.model.cluster import Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import NodeChange, Scenario
from cerebrum.model.tasks import TaskClass, TaskTable


@dataclass(frozen=True, slots=True, eq=False)
class Carbon:
    """Carbon intensity: `g_per_kwh[i]` holds from `time_s[i]` (ascending) to the next."""

    time_s: NDArray[np.float64]
    g_per_kwh: NDArray[np.float64]

    def __post_init__(self) -> None:
        times, values = np.asarray(self.time_s, float), np.asarray(self.g_per_kwh, float)
        if times.ndim != 1 or times.shape != values.shape or not len(times):
            raise ConfigError("expected as many times as values, at least one").at(field="carbon")
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise ConfigError("expected finite, ascending times").at(field="carbon")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ConfigError("expected finite values of at least 0").at(field="carbon")


class Source(Protocol):
    """Scenarios by number, 0 to `variants` - 1. `carbon` is what `emissions` needs."""

    @property
    def variants(self) -> int:
        """How many different scenarios there are."""
        ...

    @property
    def carbon(self) -> Carbon | None:
        """Carbon intensity over the time of every scenario, where it is known."""
        ...

    @property
    def rows(self) -> int:
        """Nodes at most in one scenario, those that join included."""
        ...

    def scenario(self, number: int) -> Scenario:
        """The same one for the same number."""
        ...


def rows_of(scenario: Scenario) -> int:
    """Nodes that are there or join: each has a row of its own for good."""
    joins = sum(event.change == NodeChange.JOIN for event in scenario.node_events)
    return len(scenario.cluster) + joins


@dataclass(frozen=True)
class Given:
    """These scenarios, as they are."""

    scenarios: Sequence[Scenario]
    carbon: Carbon | None = None

    @property
    def variants(self) -> int:
        """How many were given."""
        return len(self.scenarios)

    @property
    def rows(self) -> int:
        """Of the largest."""
        return max((rows_of(scenario) for scenario in self.scenarios), default=0)

    def scenario(self, number: int) -> Scenario:
        """The one at that place."""
        return self.scenarios[number]


@dataclass(frozen=True, eq=False)
class Windows:
    """Consecutive tasks of a trace, from random places in it, in their order and with their times.

    Each scenario is a window of `tasks` tasks, second 0 at the first of them, on `nodes` nodes
    drawn from the trace's without replacement (None: all, in their order). Tasks too large for
    every node drawn are left out. With a `load` the time between tasks is stretched or squeezed
    until the window asks, on average, for that part of the scarcest resource: a few nodes cannot
    carry what came in for a thousand. Fragmentation counts the typical classes of the whole trace;
    node events of the trace are left out.
    """

    base: Scenario
    tasks: int = 200
    nodes: int | None = None
    load: float | None = None
    variants: int = 1024
    seed: int = 0
    carbon: Carbon | None = None

    def __post_init__(self) -> None:
        size, count = len(self.base.tasks), len(self.base.cluster)
        for name, value, most in (
            ("tasks", self.tasks, size), ("nodes", self.rows, count),
            ("variants", self.variants, 2**31),
        ):  # fmt: skip
            if not 1 <= value <= most:
                raise ConfigError(f"expected 1..{most:,}, got {value!r}").at(field=name)
        if self.load is None:
            return
        if not (math.isfinite(self.load) and self.load > 0):
            raise ConfigError(f"expected a finite number above 0, got {self.load!r}").at(
                field="load"
            )
        if not np.isfinite(self.base.tasks.duration_s).all():
            raise ConfigError("needs tasks that end: this trace has some that never do").at(
                field="load"
            )

    @property
    def rows(self) -> int:
        """Nodes of each scenario."""
        return len(self.base.cluster) if self.nodes is None else self.nodes

    def scenario(self, number: int) -> Scenario:
        """Number and seed decide the window and the nodes."""
        rng = np.random.default_rng([self.seed, number])
        first = int(rng.integers(len(self._order) - self.tasks + 1))
        nodes = self.base.cluster.nodes
        if self.nodes is not None:
            chosen = np.sort(rng.choice(len(nodes), self.nodes, replace=False))
            nodes = tuple(nodes[int(i)] for i in chosen)
        table = self.base.tasks.take(self._order[first : first + self.tasks])
        table = table.take(np.flatnonzero(_placeable(table, nodes)))
        table = replace(table, submit_s=self._times(table, nodes))
        return replace(
            self.base,
            cluster=replace(self.base.cluster, nodes=nodes),
            tasks=table,
            name=f"{self.base.name}-{self.seed}-{number}",
            node_events=(),
            bound={},
            typical=self._typical,
        )

    def _times(self, table: TaskTable, nodes: tuple[Node, ...]) -> NDArray[np.float64]:
        times = table.submit_s - table.submit_s.min(initial=np.inf) if len(table) else np.zeros(0)
        if self.load is None or len(table) < 2 or times[-1] == 0:
            return times
        amount = {name: table.request(name) * table.duration_s for name in AMOUNTS}
        mean = {name: float(total.mean()) for name, total in amount.items()}
        return times * ((len(table) - 1) / times[-1] / arrival_rate(nodes, mean, self.load))

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.base.tasks.submit_s, kind="stable")

    @cached_property
    def _typical(self) -> tuple[tuple[TaskClass, float], ...] | None:
        if self.base.typical is not None or not has_gpus(self.base.tasks.classes):
            return self.base.typical
        return typical_classes(self.base.tasks)


AMOUNTS = ("cpu_milli", "memory_mib", "gpu_milli_total")


def arrival_rate(nodes: Sequence[Node], mean: Mapping[str, float], load: float) -> float:
    """Tasks a second that keep `load` of the scarcest resource in use, if nothing has to wait.

    `mean` amount x run time of a task, by name of the resource.
    """
    offered = {name: sum(getattr(n.capacity, name) for n in nodes) for name in AMOUNTS}
    return load / max(mean[name] / offered[name] for name in AMOUNTS if offered[name])


def holds(node: Node, wanted: TaskClass) -> bool:
    """Whether the node, when empty, has room for a task of the class."""
    asked, has = wanted.resources, node.capacity
    if asked.gpu_count and wanted.gpu_models and node.gpu_model not in wanted.gpu_models:
        return False
    names = ("cpu_milli", "memory_mib", "gpu_count")
    return all(getattr(has, name) >= getattr(asked, name) for name in names)


def _placeable(table: TaskTable, nodes: Sequence[Node]) -> NDArray[np.bool_]:
    kinds = {(n.capacity, n.gpu_model): n for n in nodes}.values()
    able = np.array([any(holds(node, wanted) for node in kinds) for wanted in table.classes])
    return able[table.class_id]


def named(text: str) -> Source:
    """A trace, or a name such as `openb-like:nodes=8`, as `cerebrum simulate` takes them."""
    from cerebrum import traces

    return Given([traces.read(text)])
