"""Small federations and random workflows for the tests of decomposition and assignment."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from cerebrum.model.federation import ClusterView, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.model.workflow import Workflow

CPU = TaskClass(Resources(cpu_milli=1000, memory_mib=100))
BIG = TaskClass(Resources(cpu_milli=4000, memory_mib=100))
GPU = TaskClass(Resources(cpu_milli=1000, gpu_count=1, gpu_milli=1000), ("A100",))
HUGE = TaskClass(Resources(cpu_milli=10**6))


def cluster(name="c0", nodes=2, cores=1, **other) -> ClusterView:
    """Idle, of equal nodes."""
    known = {
        "cpu_milli": 1000 * cores * nodes,
        "memory_mib": 1000 * nodes,
        "nodes": nodes,
        "largest_cpu_milli": 1000 * cores,
        "largest_memory_mib": 1000,
    }
    return ClusterView(name, **{**known, **other})


def clusters(count: int, **other) -> tuple[ClusterView, ...]:
    return tuple(cluster(f"c{i}", **other) for i in range(count))


def network(count: int, mb_s: float = 10.0) -> Network:
    return Network.uniform(count, Link(0.01, mb_s), Link(0.0001, 1000.0))


def workflow(edges, seconds, mb=None, classes=(CPU,), class_id=0) -> Workflow:
    """Tasks t0, t1, ... and (before, after) pairs."""
    table = TaskTable.build([f"t{i}" for i in range(len(seconds))], classes, class_id, 0.0, seconds)
    volume = [1.0] * len(edges) if mb is None else mb
    return Workflow.build("w", table, [a for a, _ in edges], [b for _, b in edges], volume)


@st.composite
def workflows(draw, classes=(CPU,), most=14) -> Workflow:
    """Any DAG: task numbers are shuffled, so that they are in no topological order."""
    n = draw(st.integers(1, most))
    pairs = [(a, b) for b in range(n) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=3 * n)) if pairs else []
    name = draw(st.permutations(range(n)))
    amounts = st.sampled_from([0.0, 0.5, 1.0, 3.0, 100.0])
    return workflow(
        [(name[a], name[b]) for a, b in chosen],
        [draw(amounts) for _ in range(n)],
        [draw(amounts) for _ in chosen],
        classes,
        np.array([draw(st.integers(0, len(classes) - 1)) for _ in range(n)]),
    )
