"""Small scenarios told in a few words, and a log told back as lines."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import scorer
from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.executors.simulated import Simulation
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.events import EventKind, gpu_indices
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable


@scorer
def fullest(before, after, task, typical):
    """The node with least CPU left afterwards."""
    return -float(after.cpu_free)


@scorer
def emptiest(before, after, task, typical):
    """The node with most CPU left afterwards."""
    return float(after.cpu_free)


@scorer
def alike(before, after, task, typical):
    """Every node."""
    return 0.0


def policy(score=fullest, **rules) -> Incremental:
    return Incremental(score.name, (Weighted(score),), Rules(**rules))


def node(name: str, cpu: int = 4, gpus: int = 0, model: str = "", **more) -> Node:
    """`cpu` cores, 1 GiB a core."""
    ways, extended = more.pop("ways", 0), more.pop("extended", ())
    capacity = Resources(cpu * 1000, cpu * 1024, gpus, 1000 if gpus else 0, ways, extended)
    return Node(name, capacity, model or ("A100" if gpus else ""), **more)


def task(name: str, cpu: float = 1, at: float = 0.0, runs: float = np.inf, **more) -> Task:
    """`gpus=2` whole GPUs, `gpu_milli=300` a share of one; `constraints`, `models`, ..."""
    gpus, milli = more.pop("gpus", 0), more.pop("gpu_milli", 1000)
    if milli < 1000:
        gpus = 1
    resources = Resources(
        int(cpu * 1000),
        more.pop("memory", 0),
        gpus,
        milli if gpus else 0,
        cache_ways=more.pop("ways", 0),
        extended=more.pop("extended", ()),
    )
    chosen = TaskClass(resources, more.pop("models", ()), **_constraints(more))
    return Task(name, chosen, at, runs, **more)


def _constraints(more):
    constraints = more.pop("constraints", None)
    return {} if constraints is None else {"constraints": constraints}


def scenario(nodes, tasks, gangs=None, **more) -> Scenario:
    return Scenario(Cluster(tuple(nodes)), TaskTable.from_tasks(tasks, gangs), **more)


def simulate(story: Scenario, chosen=None, compiled: bool = True, seed: int = 0) -> Simulation:
    simulation = Simulation(story, np.random.default_rng(seed))
    simulation.run(chosen or policy(), compiled=compiled)
    return simulation


def told(simulation: Simulation, *kinds: str) -> list[str]:
    """The log as `time kind subject[@node[gpus]]` lines; without `kinds`, what happens to tasks."""
    names, nodes = simulation.scenario.tasks.names, simulation.engine.node_names
    wanted = kinds or ("bound", "finished", "failed", "preempted", "rejected")
    lines = []
    for row in simulation.engine.log.rows:
        kind = EventKind(int(row["kind"])).name.lower()
        if kind not in wanted:
            continue
        who = nodes[row["subject"]] if kind.startswith("node") else names[row["subject"]]
        line = f"{row['time_s']:g} {kind} {who}"
        if kind == "bound":
            line += f"@{nodes[row['row']]}"
            if row["gpus"]:
                line += str(list(gpu_indices(int(row["gpus"]))))
        lines.append(line)
    return lines
