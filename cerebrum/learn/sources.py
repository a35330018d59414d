"""Where the scenarios of episodes come from: given ones, windows of a trace, or a generator.

A source is asked for scenario number k and gives the same one whenever it is asked again; a batch
draws the numbers by its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster, Node, PowerModel
from cerebrum.model.errors import ConfigError
from cerebrum.model.resources import GPU_MILLI, Resources
from cerebrum.model.scenario import Scenario
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

    def scenario(self, number: int) -> Scenario:
        """The same one for the same number."""
        ...


@dataclass(frozen=True)
class Given:
    """These scenarios, as they are."""

    scenarios: Sequence[Scenario]
    carbon: Carbon | None = None

    @property
    def variants(self) -> int:
        """How many were given."""
        return len(self.scenarios)

    def scenario(self, number: int) -> Scenario:
        """The one at that place."""
        return self.scenarios[number]


@dataclass(frozen=True)
class Generated:
    """Random clusters and Poisson arrivals of random classes.

    Each scenario has `nodes` (low, high) nodes with 8, 16, 32, 64 or 96 cores, 2 to 8 GiB a core,
    and on `gpu_nodes` of them 1, 2, 4 or 8 GPUs; `tasks` tasks of `classes` classes of 0.25 to 16
    cores, 0.5 to 8 GiB a core, `gpu_tasks` of them with a share of a GPU, 1, 2 or 4 GPUs. Run times
    are log-normal with mean `mean_s` and sigma 1; arrivals are Poisson at the rate at which, if
    nothing had to wait, `load` of the scarcest resource would be in use. `endless` tasks never end:
    then they come one a second. Nodes draw 60 to 250 W idle to full a package of 32 cores, and 30
    to 300 W a GPU.
    """

    nodes: tuple[int, int] = (8, 8)
    tasks: int = 200
    load: float = 0.9
    gpu_nodes: float = 0.5
    gpu_tasks: float = 0.4
    classes: int = 16
    mean_s: float = 600.0
    endless: bool = False
    variants: int = 256
    seed: int = 0
    carbon: Carbon | None = None

    def __post_init__(self) -> None:
        low, high = self.nodes
        for name, value, most in (
            ("nodes", low, 100_000), ("nodes", high, 100_000), ("tasks", self.tasks, 10_000_000),
            ("classes", self.classes, 10_000), ("variants", self.variants, 2**31),
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
            name=f"generated-{self.seed}-{number}",
            source=f"generated, seed {self.seed}, number {number}",
        )

    def _rate(self, nodes: tuple[Node, ...], classes: list[TaskClass]) -> float:
        """Tasks a second that keep `load` of the scarcest resource in use."""
        uses = []
        for name in ("cpu_milli", "memory_mib", "gpu_milli_total"):
            capacity = sum(getattr(node.capacity, name) for node in nodes)
            asked = float(np.mean([getattr(c.resources, name) for c in classes]))
            uses.append(asked / capacity if capacity else 0.0)
        return self.load / (max(uses) * self.mean_s)


def _nodes(rng: np.random.Generator, count: int, gpu_share: float) -> tuple[Node, ...]:
    cores = rng.choice([8, 16, 32, 64, 96], count)
    gib = rng.choice([2, 4, 8], count) * cores
    gpus = np.where(rng.random(count) < gpu_share, rng.choice([1, 2, 4, 8], count), 0)
    watts = PowerModel(60.0, 250.0, 32_000, 30.0, 300.0)
    width = len(str(count - 1))
    return tuple(
        Node(
            f"node-{i:0{width}d}",
            Resources(1000 * int(cores[i]), 1024 * int(gib[i]), int(gpus[i]), GPU_MILLI * bool(gpus[i])),
            gpu_model="gpu" if gpus[i] else "",
            power=watts,
        )
        for i in range(count)
    )  # fmt: skip


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
        if any(_holds(node.capacity, asked) for node in nodes):
            found.append(TaskClass(asked))
    return found


def _holds(capacity: Resources, asked: Resources) -> bool:
    names = ("cpu_milli", "memory_mib", "gpu_count")
    return all(getattr(capacity, name) >= getattr(asked, name) for name in names)
