"""Load a cluster to a chosen share of its GPUs: the arrival protocol of FGD (USENIX ATC'23).

Tasks sorted by name arrive in a random order, one second apart, and never end. If together they
ask for less than `ratio` of the cluster's GPUs, tasks drawn from the original ones follow until the
next would pass it; if for more, random ones are removed. Nodes stand in a random order, which
decides ties where the lowest row wins. `docs/reference/openb-protocol.md` states every step.

The protocol is one function of a source of random draws: Go's generator replays the published
experiments draw by draw; NumPy's serves everything else.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.typical import COVER
from cerebrum.engine.typical import typical_classes as engine_typical_classes
from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces._files import MAX_ROWS
from cerebrum.traces._go_rand import GoRand

RATIO = 1.3
"""Requested GPUs in relation to the cluster's, as published."""
MAX_RATIO = 100.0
ARRIVALS = ("trace", "fgd", "uniform")

_WATCHES = 10  # random time-outs the original draws for its watches before it orders the nodes


class Draws(Protocol):
    """Random numbers as the protocol asks for them."""

    def intn(self, n: int) -> int:
        """A number in 0 .. n - 1."""
        ...

    def shuffle_indices(self, n: int) -> NDArray[np.int64]:
        """A random order: position k takes the thing at out[k]."""
        ...

    def perm(self, n: int) -> list[int]:
        """A random permutation of 0 .. n - 1."""
        ...

    def skip(self, count: int) -> None:
        """Let `count` draws pass."""
        ...


class NumpyDraws:
    """`Draws` from a NumPy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def intn(self, n: int) -> int:
        """A number in 0 .. n - 1."""
        return int(self._rng.integers(n))

    def shuffle_indices(self, n: int) -> NDArray[np.int64]:
        """A random order: position k takes the thing at out[k]."""
        return self._rng.permutation(n)

    def perm(self, n: int) -> list[int]:
        """A random permutation of 0 .. n - 1."""
        return self._rng.permutation(n).tolist()

    def skip(self, count: int) -> None:
        """Nothing: these numbers replay no other program's."""


def apply(
    scenario: Scenario,
    arrivals: Literal["trace", "fgd", "uniform"] | str,
    seed: int = 42,
    ratio: float = RATIO,
) -> Scenario:
    """The scenario with its own arrival times (`trace`), or inflated with Go's numbers (`fgd`) or
    NumPy's (`uniform`)."""
    if arrivals not in ARRIVALS:
        raise UnknownName("arrivals", arrivals, ARRIVALS)
    if arrivals == "trace":
        return scenario
    if isinstance(seed, bool) or not isinstance(seed, int):  # pyright: ignore
        raise ConfigError(f"expected a whole number, got {seed!r}").at(field="seed")
    draws = GoRand(seed) if arrivals == "fgd" else NumpyDraws(np.random.default_rng(seed))
    return inflate(scenario, draws, ratio)


def inflate(
    scenario: Scenario,
    draws: Draws,
    ratio: float = RATIO,
    shuffle: bool = True,
    clones: float = 0.0,
) -> Scenario:
    """The scenario under FGD's protocol. `ratio` 0 leaves the tasks as they are; without `shuffle`
    the original tasks keep their order; `clones` above 1 draws further tasks at the end, until
    there are that many times the original ones or they ask for more than the cluster has. Typical
    classes are those of the original tasks.
    """
    if not 0 <= ratio <= MAX_RATIO:
        raise ConfigError(f"expected 0..{MAX_RATIO:g}, got {ratio}").at(field="ratio")
    tasks = scenario.tasks
    by_name = np.array(sorted(range(len(tasks)), key=tasks.names.__getitem__), dtype=np.int64)
    draws.skip(1)
    order = by_name[draws.shuffle_indices(len(tasks))] if shuffle else np.arange(len(tasks))
    target = ratio * (scenario.cluster.gpu_capacity * 1000)
    arriving = tune(tasks, order, by_name, target, draws) if target else order
    draws.skip(_WATCHES)
    cluster = permuted(scenario.cluster, draws)
    cloned = _clones(tasks, arriving, by_name, clones, cluster, draws) if clones > 1 else []
    return replace(
        scenario,
        cluster=cluster,
        tasks=_arriving(tasks, arriving, cloned, len(order)),
        typical=scenario.typical or typical_classes(tasks) or None,
    )


def tune(
    tasks: TaskTable,
    order: NDArray[np.int64],
    by_name: NDArray[np.int64],
    target: float,
    draws: Draws,
) -> NDArray[np.int64]:
    """`order` with tasks of `by_name` appended, or its own removed, to ask for `target` milli GPU.

    The next task is compared by what it asks of one GPU, not of all of them: so the original does,
    and the end can be up to seven GPUs above the target.
    """
    share, asked = tasks.request("gpu_milli"), tasks.request("gpu_milli_total")
    total = int(asked[order].sum())
    chosen: list[int] = order.tolist()
    while total > target and chosen:
        total -= int(asked[chosen.pop(draws.intn(len(chosen)))])
    if len(chosen) < len(order) or total == target or not asked.any():
        return np.array(chosen, dtype=np.int64)
    while True:
        task = int(by_name[draws.intn(len(by_name))])
        if total + share[task] > target:
            return np.array(chosen, dtype=np.int64)
        if len(chosen) >= MAX_ROWS:
            raise ConfigError(f"needs more than {MAX_ROWS:,} tasks to get there").at(field="ratio")
        chosen.append(task)
        total += int(asked[task])


def permuted(cluster: Cluster, draws: Draws) -> Cluster:
    """The same nodes in a random order."""
    by_name = sorted(cluster.nodes, key=lambda node: node.name)
    places = np.argsort(draws.perm(len(by_name)))
    return replace(cluster, nodes=tuple(by_name[int(i)] for i in places))


def typical_classes(
    tasks: TaskTable, cover: float = COVER, cpu_tasks: bool = True, step: int = 1
) -> tuple[tuple[TaskClass, float], ...]:
    """The commonest classes covering `cover` of the tasks; without `cpu_tasks`, of GPU tasks; in
    steps of `step` classes.
    """
    if not cpu_tasks:
        tasks = tasks.take(np.flatnonzero(tasks.request("gpu_count") > 0))
    found = engine_typical_classes(tasks, cover)
    if step == 1:
        return found
    return engine_typical_classes(tasks, 1.0)[: -(-len(found) // step) * step]


def _clones(
    tasks: TaskTable,
    arriving: NDArray[np.int64],
    by_name: NDArray[np.int64],
    ratio: float,
    cluster: Cluster,
    draws: Draws,
) -> list[int]:
    """Tasks drawn from the original ones while all together ask for no more than there is."""
    cpu, gpu = tasks.request("cpu_milli"), tasks.request("gpu_milli_total")
    left_cpu = sum(node.capacity.cpu_milli for node in cluster) - int(cpu.sum())
    left_gpu = cluster.gpu_capacity * 1000 - int(gpu[arriving].sum())
    chosen: list[int] = []
    for _ in range(math.ceil(len(tasks) * ratio) - len(tasks)):
        task = int(by_name[draws.intn(len(by_name))])
        left_cpu, left_gpu = left_cpu - int(cpu[task]), left_gpu - int(gpu[task])
        if left_cpu < 0 or left_gpu < 0:
            break
        chosen.append(task)
    return chosen


def _arriving(
    tasks: TaskTable, chosen: NDArray[np.int64], cloned: list[int], originals: int
) -> TaskTable:
    """The chosen tasks, one second apart, without end; a second coming gets a name of its own."""
    names = [tasks.names[int(i)] for i in chosen[:originals]]
    names += [f"{tasks.names[int(i)]}-tuned-{k}" for k, i in enumerate(chosen[originals:])]
    names += [f"{tasks.names[i]}-clone-{k}" for k, i in enumerate(cloned)]
    table = tasks.take(np.concatenate([chosen, np.array(cloned, dtype=np.int64)]), names)
    return replace(
        table,
        submit_s=np.arange(len(names), dtype=np.float64),
        duration_s=np.full(len(names), np.inf),
        requested_s=np.full(len(names), np.nan),
    )
