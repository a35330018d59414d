"""Ready-made recipes: a cluster like Alibaba's openb, and a plain one. No download needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.typical import typical_classes
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import InputError
from cerebrum.model.resources import GPU_MILLI, Resources
from cerebrum.model.scenario import ReadReport, Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces._arrivals import Diurnal, Poisson, check_number
from cerebrum.traces._durations import LogNormal, Quantiles
from cerebrum.traces._generate import (
    MAX_GENERATED,
    JobKind,
    Recipe,
    check_count,
    generate,
    numbered,
)
from cerebrum.traces._openb_counts import NODES, PODS, PROBABILITIES, RUN_TIMES_S
from cerebrum.traces._power import node_power

MAX_NODES = 100_000
_OPENB_SLOTS = 1001
_OPENB_NODES = 1213
_PACKING_LOAD, _STEADY_LOAD = 1.3, 0.9
_PACKING_GAP_S = 1.0


def openb_like(
    nodes: int = _OPENB_NODES,
    tasks: int | None = None,
    seed: int = 0,
    load: float | None = None,
    departures: bool = False,
) -> Scenario:
    """A GPU cluster and tasks drawn from the counts of the Alibaba openb trace.

    Without `departures`, the packing experiment: one task a second, none ever ends, until they ask
    for `load` (1.3) times the cluster's GPUs, or until there are `tasks`. With `departures`, a
    steady state: `tasks` (default: twice those that run at once) arrive by a Poisson process that
    asks for `load` (0.9) times the GPUs on average, and the cluster starts full.
    """
    check_count("nodes", nodes, 1, MAX_NODES)
    if load is None:
        load = _STEADY_LOAD if departures else _PACKING_LOAD
    check_number("load", load, 0, 100, strict=True)
    check_count("seed", seed, 0, 2**63 - 1)
    if tasks is not None:
        check_count("tasks", tasks, 1, MAX_GENERATED)
    cluster = _openb_cluster(nodes, np.random.default_rng([seed, 1]))
    if departures:
        return _steady(cluster, _openb_kinds(), tasks, seed, load)
    return _packing(cluster, tasks, np.random.default_rng([seed, 2]), load)


def plain(
    nodes: int = 16, tasks: int | None = 1000, seed: int = 0, load: float | None = None
) -> Scenario:
    """Small batch jobs on equal nodes of 32 cores and 128 GiB, without GPUs, with a daily rhythm.

    Jobs of 1, 4 and 16 cores and a median of 5 to 20 minutes ask for `load` (0.7) of the cores.
    """
    check_count("nodes", nodes, 1, MAX_NODES)
    capacity = Resources(cpu_milli=32_000, memory_mib=131_072)
    cluster = Cluster(tuple(Node(name, capacity) for name in numbered("node", nodes)))
    kinds = tuple(
        JobKind(
            name=f"{cores}-core",
            task_class=TaskClass(Resources(cpu_milli=1000 * cores, memory_mib=2048 * cores)),
            duration=LogNormal(median_s=300.0 * (1 + cores // 5), sigma=1.2),
            weight=weight,
            overestimate=3.0,
        )
        for cores, weight in ((1, 70.0), (4, 24.0), (16, 6.0))
    )
    wanted = 0.7 if load is None else load
    check_number("load", wanted, 0, 100, strict=True)
    rate = wanted * 32.0 * nodes / _demand(kinds, [1.0, 4.0, 16.0])
    return generate(
        Recipe(cluster, kinds, 1000 if tasks is None else tasks, Diurnal(rate), seed, name="plain")
    )


def _openb_cluster(count: int, rng: np.random.Generator) -> Cluster:
    """Openb's nodes, their kinds in openb's proportions, named in a random order of kinds."""
    shares = np.array([kind[-1] for kind in NODES]) * count / _OPENB_NODES
    counts = np.floor(shares).astype(int)
    rest = count - int(counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[:rest]] += 1
    order: list[int] = rng.permutation(np.repeat(np.arange(len(NODES)), counts)).tolist()
    kinds = [
        (Resources(cpu, memory, gpus, GPU_MILLI), model, node_power(model))
        for model, gpus, cpu, memory, _ in NODES
    ]
    nodes = tuple(
        Node(name, kinds[kind][0], kinds[kind][1], slots=_OPENB_SLOTS, power=kinds[kind][2])
        for name, kind in zip(numbered("node", count), order, strict=True)
    )
    return Cluster(nodes, name="openb-like")


def _openb_kinds() -> tuple[JobKind, ...]:
    """One kind for each of the 151 shapes of pod, with the run times of pods of its sort."""
    run_times = {name: Quantiles(PROBABILITIES, values) for name, values in RUN_TIMES_S.items()}
    return tuple(
        JobKind(
            name=f"shape-{i}",
            task_class=task_class,
            duration=run_times[_sort(task_class.resources)],
            weight=float(pods),
        )
        for i, (task_class, pods) in enumerate(_openb_classes())
    )


def _openb_classes() -> list[tuple[TaskClass, int]]:
    return [
        (TaskClass(Resources(cpu, memory, gpus, milli)), pods)
        for cpu, memory, gpus, milli, pods in PODS
    ]


def _sort(request: Resources) -> str:
    return {-1: "cpu", 0: "shared", 1: "one"}.get(request.gpu_kind, "many")


def _packing(
    cluster: Cluster, tasks: int | None, rng: np.random.Generator, load: float
) -> Scenario:
    """Tasks until `load`, or exactly `tasks`, that stay for ever."""
    classes = [task_class for task_class, _ in _openb_classes()]
    weights = np.array([pods for _, pods in _openb_classes()], float)
    asked = np.array([c.resources.gpu_milli_total for c in classes])
    capacity = cluster.gpu_capacity * GPU_MILLI
    mean = float((weights * asked).sum() / weights.sum())
    count = tasks or int(1.2 * load * capacity / mean) + 1000
    if count > MAX_GENERATED:
        raise InputError(f"expected at most {MAX_GENERATED:,} tasks, got {count:,}").at(
            field="load"
        )
    class_id = rng.choice(len(classes), count, p=weights / weights.sum())
    if tasks is None:
        class_id = class_id[np.cumsum(asked[class_id]) <= load * capacity]
    if not len(class_id):
        raise InputError("no task is that small: give more nodes or a higher load").at(field="load")
    table = TaskTable.build(
        numbered("task", len(class_id)),
        classes,
        class_id,
        _PACKING_GAP_S * np.arange(len(class_id)),
    )
    return _openb_scenario(cluster, table, "openb-like")


def _steady(
    cluster: Cluster, kinds: tuple[JobKind, ...], tasks: int | None, seed: int, load: float
) -> Scenario:
    """A full cluster and Poisson arrivals that keep it as full."""
    gpus = [kind.task_class.resources.gpu_milli_total / GPU_MILLI for kind in kinds]
    rate = load * cluster.gpu_capacity / _demand(kinds, gpus)
    recipe = Recipe(cluster, kinds, 1, Poisson(rate), seed, stationary=True)
    running = int(recipe.running_jobs.sum())
    margin = int(4 * running**0.5) + 1  # of the Poisson number that is found running
    if tasks is None:
        tasks = 2 * running + margin
    if tasks <= running + margin:
        raise InputError(
            f"expected over {running + margin:,}, of which about {running:,} run at the start, "
            f"got {tasks:,}: give more tasks or fewer nodes"
        ).at(field="tasks")
    full = generate(Recipe(cluster, kinds, tasks, Poisson(rate), seed, stationary=True))
    return _openb_scenario(cluster, full.tasks[:tasks], "openb-like-steady", full.report.notes)


def _demand(kinds: Sequence[JobKind], amounts: Sequence[float]) -> float:
    """Mean amount x run time of a job, in amount-seconds."""
    weights = np.array([kind.weight for kind in kinds])
    means: NDArray[np.float64] = np.array([kind.duration.mean_s for kind in kinds])
    return float((weights * np.asarray(amounts) * means).sum() / weights.sum())


def _openb_scenario(
    cluster: Cluster, tasks: TaskTable, name: str, notes: tuple[str, ...] = ()
) -> Scenario:
    source = "counts of the Alibaba openb trace (Apache-2.0)"
    report = ReadReport(read=len(tasks), kept=len(tasks), notes=notes)
    return Scenario(cluster, tasks, name, typical=_typical(), source=source, report=report)


def _typical() -> tuple[tuple[TaskClass, float], ...]:
    """The typical classes of the original trace, which every scenario drawn from it shares."""
    classes = _openb_classes()
    class_id = np.repeat(np.arange(len(classes)), [pods for _, pods in classes])
    original = TaskTable.build(
        numbered("pod", len(class_id)), [c for c, _ in classes], class_id, np.zeros(len(class_id))
    )
    return typical_classes(original)
