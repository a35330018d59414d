"""The arrival protocol of FGD: the published experiment draw by draw, and the same with NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum import traces
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.traces import inflate


def digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def originals(names: Iterable[str]) -> list[str]:
    return [name.split("-tuned-")[0] for name in names]


# docs/reference/openb-protocol.md, "Checks for another implementation"
PUBLISHED = [
    ("default", 42, 10_866, 8_075_080, "80e1e09a8ef1875d", "7ab1747346239703", 35, 7_766),
    ("gpuspec10", 42, 10_866, 8_075_080, "80e1e09a8ef1875d", "7ab1747346239703", 74, 7_747),
    ("multigpu20", 45, 9_468, 8_075_500, "abb6bb124767e82a", "02e906b25a2d51fa", 38, 7_914),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_published_arrivals_come_out_task_by_task(shared_data: Path, row: tuple):
    pods, seed, tasks, milli, arrivals, rows, classes, counted = row
    scenario = traces.read(shared_data / "openb", pods=pods, arrivals="fgd", seed=seed)
    assert len(scenario.tasks) == tasks
    assert int(scenario.tasks.request("gpu_milli_total").sum()) == milli
    assert digest(originals(scenario.tasks.names)) == arrivals
    assert digest(node.name for node in scenario.cluster) == rows
    assert scenario.typical is not None
    assert (len(scenario.typical), sum(w for _, w in scenario.typical)) == (classes, counted)
    assert scenario.tasks.submit_s.tolist() == list(range(tasks))
    assert np.isinf(scenario.tasks.duration_s).all()


def small(shares: list[int], gpus: int = 4, cpu_tasks: int = 1) -> Scenario:
    """One node; tasks `t0`.. asking for that many thousandths of a GPU, then CPU tasks."""
    wants = [Resources(1_000, 1, max(1, share // 1000), min(share, 1000)) for share in shares]
    wants += [Resources(1_000, 1)] * cpu_tasks
    tasks = [Task(f"t{i}", TaskClass(want)) for i, want in enumerate(wants)]
    nodes = tuple(Node(f"n{i}", Resources(64_000, 64, gpus, 1000), "T4") for i in range(3))
    return Scenario(Cluster(nodes), TaskTable.from_tasks(tasks))


def test_tasks_are_removed_when_they_ask_for_too_much():
    scenario = inflate.apply(small([1000] * 40), "uniform", seed=1, ratio=0.5)
    assert int(scenario.tasks.request("gpu_milli_total").sum()) == 6_000
    assert set(scenario.tasks.names) <= {f"t{i}" for i in range(41)}


def test_no_gpu_tasks_means_nothing_is_added():
    scenario = inflate.apply(small([], cpu_tasks=5), "uniform", seed=1)
    assert sorted(scenario.tasks.names) == [f"t{i}" for i in range(5)]


def test_ratio_zero_only_reorders():
    scenario = inflate.apply(small([500] * 5), "fgd", seed=7, ratio=0)
    assert sorted(scenario.tasks.names) == [f"t{i}" for i in range(6)]


def test_clones_stop_when_the_cluster_is_asked_for_in_full():
    draws = inflate.NumpyDraws(np.random.default_rng(3))
    scenario = inflate.inflate(small([1000] * 10, cpu_tasks=0), draws, ratio=0, clones=5)
    assert int(scenario.tasks.request("gpu_milli_total").sum()) == 12_000
    assert scenario.tasks.names[-1].endswith("-clone-1")


def test_typical_classes_can_leave_out_cpu_tasks_and_go_in_steps():
    tasks = small([500] * 90 + [250] * 9 + [100], cpu_tasks=50).tasks
    assert [w for _, w in inflate.typical_classes(tasks, 0.85)] == [90, 50]
    assert [w for _, w in inflate.typical_classes(tasks, 0.85, cpu_tasks=False)] == [90]
    assert [w for _, w in inflate.typical_classes(tasks, 0.5, step=3)] == [90, 50, 9]


@pytest.mark.parametrize("ratio", [-1, float("nan"), float("inf"), 1e9])
def test_a_ratio_out_of_bounds_is_refused(ratio: float):
    with pytest.raises(ConfigError, match=r"ratio: expected 0\.\.100"):
        inflate.apply(small([500]), "fgd", ratio=ratio)


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(ConfigError, match=r"seed: expected a whole number, got 1\.5"):
        inflate.apply(small([500]), "fgd", seed=1.5)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(
    shares=st.lists(st.sampled_from([100, 500, 1000, 2000, 4000]), min_size=1, max_size=30),
    ratio=st.floats(0.1, 3),
    seed=st.integers(0, 2**32),
    arrivals=st.sampled_from(["fgd", "uniform"]),
)
def test_the_protocol_ends_where_it_should(
    shares: list[int], ratio: float, seed: int, arrivals: str
):
    before = small(shares)
    after = inflate.apply(before, arrivals, seed, ratio)
    again = inflate.apply(before, arrivals, seed, ratio)
    assert after.tasks.names == again.tasks.names
    target = ratio * before.cluster.gpu_capacity * 1000
    asked = int(after.tasks.request("gpu_milli_total").sum())
    assert asked <= target + 3_000  # the last task is compared by one of its GPUs
    if sum(shares) <= target:
        assert set(before.tasks.names) <= set(after.tasks.names)
    assert sorted(n.name for n in after.cluster) == ["n0", "n1", "n2"]
    assert len(set(after.tasks.names)) == len(after.tasks)
