"""Metrics against their naive twin, and small stories with numbers one can check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.engine import metrics
from cerebrum.engine.series import series, time_mean
from cerebrum.engine.typical import typical_classes
from cerebrum.model.scenario import NodeChange, NodeEvent
from tests.engine.stories import node, policy, scenario, simulate, task
from tests.naive import metrics as naive


def random_story(seed: int):
    """Shared and whole GPUs, priorities, endless tasks, nodes that come and go."""
    rng = np.random.default_rng(seed)
    nodes = [node(f"n{i}", 8, gpus=int(rng.integers(0, 5))) for i in range(5)]
    tasks = [
        task(
            f"t{i}",
            cpu=int(rng.integers(1, 4)),
            at=float(rng.integers(0, 40)),
            runs=float(rng.choice([3, 7, 20, np.inf], p=[0.4, 0.3, 0.25, 0.05])),
            gpus=int(rng.integers(0, 3)),
            gpu_milli=int(rng.choice([1000, 300, 500])),
            memory=int(rng.integers(0, 900)),
            priority=int(rng.integers(0, 3)),
        )
        for i in range(60)
    ]
    events = (
        NodeEvent(5.0, NodeChange.FAIL, "n0"),
        NodeEvent(9.0, NodeChange.LEAVE, "n1"),
        NodeEvent(12.0, NodeChange.JOIN, "late", node("late", 16, gpus=4)),
        NodeEvent(15.0, NodeChange.DRAIN, "n2"),
        NodeEvent(25.0, NodeChange.UNCORDON, "n2"),
        NodeEvent(30.0, NodeChange.LEAVE, "n3"),
    )
    return scenario(nodes, tasks, node_events=events, max_attempts=2)


@pytest.mark.parametrize("seed", range(6))
def test_curves_and_node_sums_are_those_of_the_twin(seed: int) -> None:
    story = random_story(seed)
    log = simulate(story, policy(preempt=seed % 2 == 0)).engine.log
    found = series(story, log)
    states, sums = naive.curves(story, log.rows, list(typical_classes(story.tasks)))
    for name, column in found.columns.items():
        assert column == pytest.approx([state[name] for state in states]), name
    assert found.node_sums[:, :4] == pytest.approx(np.array(sums))
    times = [state["time_s"] for state in states]
    gpu = [state["gpu_milli"] for state in states]
    assert found.mean(found.columns["gpu_milli"]) == pytest.approx(naive.mean_over_time(times, gpu))


@pytest.mark.parametrize("seed", range(6))
def test_the_table_of_tasks_is_that_of_the_twin(seed: int) -> None:
    story = random_story(seed)
    log = simulate(story, policy(preempt=True)).engine.log
    columns = metrics.task_columns(story, log)
    expected = naive.tasks(story, log.rows, metrics.SLOWDOWN_FLOOR_S)
    for name in expected[0]:
        assert columns[name] == pytest.approx([e[name] for e in expected], nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_states_are_those_the_engine_ended_in(seed: int) -> None:
    story = random_story(seed)
    engine = simulate(story, policy(preempt=True)).engine
    columns = metrics.task_columns(story, engine.log)
    assert columns["state"].tolist() == engine.table.state.t_state.tolist()


def test_the_heat_map_holds_the_same_as_the_sums() -> None:
    story = random_story(1)
    log = simulate(story).engine.log
    found = series(story, log, bins=7)
    gpus = np.array([n.capacity.gpu_count for n in found.nodes])
    whole = found.heat[gpus > 0].mean(axis=1) * gpus[gpus > 0] * 1000 * found.span_s
    assert whole == pytest.approx(found.node_sums[gpus > 0, 2])
    assert np.isnan(found.heat[gpus == 0]).all()


def test_two_tasks_on_one_node_by_hand() -> None:
    story = scenario([node("n", 4)], [task("a", 4, runs=10), task("b", 2, at=4, runs=5)])
    log = simulate(story).engine.log
    columns = metrics.task_columns(story, log)
    found = series(story, log)
    told = metrics.summary(story, log, columns, found)
    assert columns["wait_s"].tolist() == [0, 6]
    assert columns["completion_s"].tolist() == [10, 11]
    assert columns["bounded_slowdown"].tolist() == [1.0, 1.1]  # 11 s over the floor of 10 s
    assert told["makespan_s"] == 15
    assert told["cpu_utilisation_pct"] == pytest.approx(100 * (4 * 10 + 2 * 5) / (4 * 15))
    assert told["queued_mean"] == pytest.approx(6 / 15)
    assert told["unschedulable_by_reason"] == {"Insufficient cpu": 1}
    assert told["gpu_utilisation_pct"] is None


def test_a_preempted_task_waits_until_its_last_start() -> None:
    tasks = [task("victim", 2, runs=10), task("boss", 2, at=5, runs=3, priority=9)]
    story = scenario([node("n", 2)], tasks)
    log = simulate(story, policy(preempt=True)).engine.log
    columns = metrics.task_columns(story, log)
    assert columns["wait_s"].tolist() == [8, 0]
    assert columns["run_s"].tolist() == [10, 3]
    assert (columns["wait_s"] + columns["run_s"]).tolist() == columns["completion_s"].tolist()
    assert columns["preemptions"].tolist() == [1, 0]


def test_load_points_round_halves_to_even_and_fall_back_to_their_neighbours() -> None:
    tasks = [task(f"t{i}", 0, at=i, gpu_milli=100) for i in range(20)]
    story = scenario([node("n", 4, gpus=2)], tasks)
    log = simulate(story).engine.log
    found = metrics.by_load(series(story, log), [5, 10, 52, 53, 100])
    assert found[5]["allocation_pct"] == 5.0
    assert 52 not in found  # 50 and 55 % arrived, nothing within 51..53
    assert found[100]["allocation_pct"] == 100.0


def test_means_weigh_by_time_and_survive_no_time_at_all() -> None:
    assert time_mean(np.array([0.0, 1.0, 4.0]), np.array([10.0, 2.0, 99.0])) == pytest.approx(4.0)
    assert time_mean(np.array([3.0]), np.array([7.0])) == 7.0
    assert np.isnan(time_mean(np.zeros(0), np.zeros(0)))


def test_reasons_read_like_kube_scheduler() -> None:
    text = metrics.no_node_text([1, 1, 3, 0])
    assert text == "1/4 nodes are available: 3 Insufficient cpu, 1 Insufficient memory."
    assert metrics.no_node_text([0, 0]) == "2/2 nodes are available."
