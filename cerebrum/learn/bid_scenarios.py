"""Small clusters cut out of a trace: its nodes, its tasks and its run times, drawn anew each time.

A policy for a cluster of any size is trained on clusters of a few nodes that look like it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.sources import Carbon
from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskTable

SCENARIOS = 2**31


@dataclass(frozen=True, eq=False)
class Sampled:
    """Scenarios drawn from `base`, a trace with run times: a `Source`.

    Each has `nodes` (low, high) of its nodes, drawn with replacement, or all of them where `nodes`
    is None. Its tasks are drawn with replacement, with the run time each had, cut at `longest_s`;
    they arrive as a Poisson process at the rate at which `load` (drawn between low and high) of the
    resource asked for most would be in use. There are `tasks_per_node` tasks a node, so that
    clusters of all sizes fill, empty and fill again as often. `seed` and number decide the rest.
    """

    base: Scenario
    nodes: tuple[int, int] | None = (8, 32)
    load: tuple[float, float] = (0.8, 1.2)
    tasks_per_node: int = 30
    longest_s: float = 7200.0
    seed: int = 0
    variants: int = SCENARIOS
    carbon: Carbon | None = None

    def __post_init__(self) -> None:
        low, high = self.nodes or (1, 1)
        if not 1 <= low <= high:
            raise ConfigError(f"expected 1 <= low <= high, got {self.nodes}").at(field="nodes")
        if not 0 < self.load[0] <= self.load[1] < math.inf:
            raise ConfigError(f"expected 0 < low <= high, got {self.load}").at(field="load")
        if self.tasks_per_node < 1 or not 0 < self.longest_s < math.inf:
            raise ConfigError("expected tasks_per_node >= 1 and a finite longest_s above 0")

    @property
    def rows(self) -> int:
        """The most nodes a scenario has."""
        return self.nodes[1] if self.nodes else len(self.base.cluster)

    def scenario(self, number: int) -> Scenario:
        """Clusters of equal nodes and tasks come back for equal numbers."""
        rng = np.random.default_rng([self.seed, number])
        cluster = self._cluster(rng)
        count = self.tasks_per_node * len(cluster)
        drawn = rng.integers(len(self.base.tasks), size=count)
        class_id, duration_s = self.base.tasks.class_id[drawn], self._durations_s[drawn]
        load = rng.uniform(*self.load)
        gaps = rng.standard_exponential(count) * self._gap_s(cluster, load)
        tasks = TaskTable.build(
            [f"task-{i}" for i in range(count)], self.base.tasks.classes, class_id,
            np.cumsum(gaps), duration_s,
        )  # fmt: skip
        name = f"{self.base.name}-{number}"
        return Scenario(cluster, tasks, name=name, source=f"drawn from {self.base.source}")

    def _cluster(self, rng: np.random.Generator) -> Cluster:
        nodes = self.base.cluster.nodes
        if self.nodes is None:
            return self.base.cluster
        count = int(rng.integers(self.nodes[0], self.nodes[1] + 1))
        drawn = [nodes[int(i)] for i in rng.integers(len(nodes), size=count)]
        width = len(str(count - 1))
        named = tuple(replace(node, name=f"node-{i:0{width}d}") for i, node in enumerate(drawn))
        return Cluster(named, name=f"drawn-{count}")

    @cached_property
    def _durations_s(self) -> NDArray[np.float64]:
        return np.clip(self.base.tasks.duration_s, 1.0, self.longest_s)

    @cached_property
    def _asked(self) -> NDArray[np.float64]:
        """Mean resource-seconds of a task: CPU, memory, GPU."""
        asked = np.array([_amounts(c.resources) for c in self.base.tasks.classes], float)
        return (asked[self.base.tasks.class_id] * self._durations_s[:, None]).mean(0)

    def _gap_s(self, cluster: Cluster, load: float) -> float:
        """Mean seconds between arrivals."""
        offered = np.array([_amounts(node.capacity) for node in cluster], float).sum(0)
        with np.errstate(divide="ignore"):
            return float((self._asked / np.maximum(offered, 1e-9))[offered > 0].max() / load)


def _amounts(r: object) -> list[int]:
    return [getattr(r, name) for name in ("cpu_milli", "memory_mib", "gpu_milli_total")]
