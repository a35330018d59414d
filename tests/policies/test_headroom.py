"""Headroom places by what others will use, told as data; without data nobody else is there."""

import numpy as np

from cerebrum.executors.simulated import Simulation
from cerebrum.model.decisions import Bind
from cerebrum.policies import get_policy
from tests.engine.stories import node, scenario, task


def placed(forecasts, tasks, nodes):
    """Where each task goes; None for those that go nowhere."""
    names = [n.name for n in nodes]
    simulation, policy = Simulation(scenario(nodes, tasks)), get_policy("headroom")
    simulation.engine.forecasts.update({k: np.array(v, float) for k, v in forecasts.items()})
    snapshot, where = simulation.next_snapshot(), dict.fromkeys(t.name for t in tasks)
    while decision := policy.decide(snapshot):
        for action in decision.actions:
            if isinstance(action, Bind):
                where[tasks[action.task].name] = names[action.row]
        snapshot = simulation.act(decision)
    return where


NODES = [node("a", cpu=10), node("b", cpu=10)]


def test_a_node_about_to_be_busy_is_avoided():
    forecasts = {"others_cpu_upper": [[0.1, 0.9], [0.4, 0.4]]}
    assert placed(forecasts, [task("t", cpu=2, runs=600)], NODES) == {"t": "b"}


def test_a_task_that_ends_before_the_rush_may_go_where_the_rush_will_be():
    forecasts = {"others_cpu_upper": [[0.1, 0.9], [0.4, 0.4]]}
    assert placed(forecasts, [task("t", cpu=2, runs=300)], NODES) == {"t": "a"}
    forecasts["step_s"] = [[600.0], [600.0]]
    assert placed(forecasts, [task("t", cpu=2, runs=600)], NODES) == {"t": "a"}


def test_a_task_waits_when_the_bound_leaves_no_room_anywhere():
    forecasts = {"others_cpu_upper": [[0.85], [0.9]]}
    assert placed(forecasts, [task("t", cpu=2, runs=60)], NODES) == {"t": None}


def test_what_was_placed_counts_beside_the_forecast():
    forecasts = {"others_cpu_upper": [[0.5], [0.9]]}
    tasks = [task(f"t{i}", cpu=2, runs=60) for i in range(3)]
    assert list(placed(forecasts, tasks, NODES).values()) == ["a", "a", None]


def test_the_expected_use_stands_in_where_there_is_no_bound_and_a_gap_counts_as_busy():
    assert placed({"others_cpu": [[0.9], [0.1]]}, [task("t", cpu=2, runs=60)], NODES) == {"t": "b"}
    forecasts = {"others_cpu_upper": [[np.nan], [0.5]]}
    assert placed(forecasts, [task("t", cpu=2, runs=60)], NODES) == {"t": "b"}


def test_without_a_forecast_the_emptiest_node_wins():
    tasks = [task("t1", cpu=2), task("t2", cpu=2)]
    assert placed({}, tasks, NODES) == {"t1": "a", "t2": "b"}
