"""Federations and workflows that benchmarks share: seeded node speeds, three link speeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks._harness import need_data
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.federation import ClusterView, Federation, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.model.workflow import Workflow
from cerebrum.traces.workflows import generate, read_workflow

LINKS_MB_S = {"10 Gb/s": 1250.0, "1 Gb/s": 125.0, "100 Mb/s": 12.5}
WITHIN = Link(latency_s=0.0001, bandwidth_mb_s=1250.0)
LATENCY_S = 0.001


def federation(clusters: int, nodes: int, bandwidth_mb_s: float, seed: int) -> Federation:
    """Nodes of one core, one task at a time, speeds U(0.5, 2): what HEFT's authors assume."""
    rng = np.random.default_rng([seed, clusters, nodes])
    made = [
        Cluster(
            tuple(
                Node(f"c{c}n{i}", Resources(1000, 1_000_000), speed=float(rng.uniform(0.5, 2.0)))
                for i in range(nodes)
            ),
            f"c{c}",
        )
        for c in range(clusters)
    ]
    between = Link(LATENCY_S, bandwidth_mb_s)
    return Federation(tuple(made), Network.uniform(clusters, between, WITHIN))


def views(federation: Federation) -> tuple[ClusterView, ...]:
    """What a controller knows of idle clusters."""
    return tuple(
        ClusterView(
            name=cluster.name,
            cpu_milli=sum(node.capacity.cpu_milli for node in cluster),
            memory_mib=sum(node.capacity.memory_mib for node in cluster),
            nodes=len(cluster),
            largest_cpu_milli=max(node.capacity.cpu_milli for node in cluster),
            largest_memory_mib=max(node.capacity.memory_mib for node in cluster),
            speed=float(np.mean([node.speed for node in cluster])),
            node_speeds=tuple(node.speed for node in cluster),
        )
        for cluster in federation.clusters
    )


def real_workflows() -> Iterator[Workflow]:
    """The twelve WfFormat instances, each task on one core."""
    for path in sorted(need_data("workflows").glob("*.json")):
        yield one_core(read_workflow(path))


def generated_workflows(seed: int) -> Iterator[Workflow]:
    """Synthetic ones of 30 to 200 tasks, each task on one core."""
    for i, tasks in enumerate((30, 60, 200)):
        yield one_core(generate("layered", tasks=tasks, width=max(3, tasks // 8), seed=seed + i))
        yield one_core(generate("montage-like", tasks=tasks, seed=seed + i))


def one_core(workflow: Workflow) -> Workflow:
    """The same durations and data, but every task fits on every node."""
    small = TaskClass(Resources(cpu_milli=1000))
    tasks = TaskTable.build(
        workflow.tasks.names,
        (small,),
        [0] * len(workflow),
        [0.0] * len(workflow),
        workflow.tasks.duration_s,
    )
    w = workflow
    return Workflow.build(w.name, tasks, w.before, w.after, w.volume_mb)
