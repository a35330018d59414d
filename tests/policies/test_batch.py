"""Policies that look at the whole queue: Min-Min, Max-Min, flow, and gangs packed by topology."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cerebrum.model.errors import CerebrumError
from cerebrum.policies import get_policy
from cerebrum.policies.ecsched import _solve
from tests.engine.stories import node, scenario, simulate, task, told


def simulated(policy: str, nodes, tasks, gangs=None) -> list[str]:
    return told(simulate(scenario(nodes, tasks, gangs), get_policy(policy)), "bound")


# -- Min-Min and Max-Min -----------------------------------------------------------------------


def three_jobs():
    """Lengths 2, 3 and 5 on two single machines: the textbook case."""
    return [task("two", 4, 0, 2), task("three", 4, 0, 3), task("five", 4, 0, 5)]


def test_min_min_puts_short_tasks_first_and_ends_at_seven():
    """two -> n0, three -> n1, five after two: 2 + 5 = 7."""
    assert simulated("min-min", [node("n0"), node("n1")], three_jobs()) == [
        "0 bound two@n0",
        "0 bound three@n1",
        "2 bound five@n0",
    ]


def test_max_min_puts_the_long_one_first_and_ends_at_five():
    """five -> n0, three -> n1, two after three: 3 + 2 = 5."""
    assert simulated("max-min", [node("n0"), node("n1")], three_jobs()) == [
        "0 bound five@n0",
        "0 bound three@n1",
        "3 bound two@n1",
    ]


def test_min_min_waits_for_a_fast_node_if_that_is_sooner():
    """10 s of work: on the slow node until 10, on the fast one (speed 10) from 1 on, until 2."""
    nodes = [node("fast", speed=10.0), node("slow")]
    tasks = [task("first", 4, 0, 10), task("second", 4, 0, 10)]
    assert simulated("min-min", nodes, tasks) == ["0 bound first@fast", "1 bound second@fast"]


def test_min_min_runs_tasks_side_by_side_where_they_fit():
    tasks = [task("a", 2, 0, 9), task("b", 2, 0, 1)]
    assert simulated("min-min", [node("n")], tasks) == ["0 bound b@n", "0 bound a@n"]


def test_min_min_goes_by_requested_times():
    """One that asks for 1 and runs 50: the next is planned behind it again and again."""
    tasks = [task("liar", 4, 0, 50, requested_s=1), task("next", 4, 0, 5)]
    assert simulated("min-min", [node("n")], tasks) == ["0 bound liar@n", "50 bound next@n"]


def test_tasks_without_an_end_are_placed_too():
    tasks = [task("forever", 4), task("short", 4, 0, 1)]
    assert simulated("min-min", [node("n0"), node("n1")], tasks) == [
        "0 bound short@n0",
        "0 bound forever@n1",
    ]


def test_min_min_lets_a_gang_go_first():
    tasks = [task("t", 4, 0, 1), *(task(f"g{i}", 4, 0, 9, job="g") for i in range(2))]
    assert simulated("min-min", [node("n0"), node("n1")], tasks, {"g": 2}) == [
        "0 bound g0@n0",
        "0 bound g1@n1",
        "9 bound t@n0",
    ]


# -- ECSched -----------------------------------------------------------------------------------


def test_a_flow_round_gives_each_node_one_task_and_then_waits_a_second():
    tasks = [task(f"t{i}", 1, 0, 100) for i in range(3)]
    bound = simulated("ecsched-ml", [node("n0"), node("n1")], tasks)
    assert [line.split()[0] for line in bound] == ["0", "0", "1"]
    assert {line.split("@")[1] for line in bound[:2]} == {"n0", "n1"}


def test_flow_starts_as_many_as_it_can_before_it_asks_for_cheap():
    """Both fit only if "any" leaves the big node alone."""
    nodes = [node("small", 2), node("big", 8)]
    tasks = [task("any", 2, 0, 9), task("wide", 8, 0, 9)]
    bound = simulated("ecsched-ml:solver=paths", nodes, tasks)
    assert bound == ["0 bound any@small", "0 bound wide@big"]


def test_ml_prefers_the_fullest_node_and_dp_the_roomiest():
    nodes = [node("small", 4), node("big", 40)]
    tasks = [task("t", 2, 0, 9, memory=2048)]
    assert simulated("ecsched-ml", nodes, tasks) == ["0 bound t@small"]
    assert simulated("ecsched-dp", nodes, tasks) == ["0 bound t@big"]


def test_rounds_without_a_pause_place_everything_at_once():
    tasks = [task(f"t{i}", 1, 0, 100) for i in range(4)]
    bound = simulated("ecsched-ml:round_s=0", [node("n", 4)], tasks)
    assert [line.split()[0] for line in bound] == ["0"] * 4


def test_swarm_starts_one_a_second():
    tasks = [task(f"t{i}", 1, 0, 100) for i in range(3)]
    assert [line.split()[0] for line in simulated("swarm", [node("n", 4)], tasks)] == list("012")


def test_k8s_spreads_and_swarm_packs():
    nodes = [node("n0", 8), node("n1", 8)]
    tasks = [task("a", 2, 0, 50, memory=2048), task("b", 2, 1, 50, memory=2048)]
    assert simulated("ecsched-k8s", nodes, tasks) == ["0 bound a@n0", "1 bound b@n1"]
    assert simulated("swarm", nodes, tasks) == ["0 bound a@n0", "1 bound b@n0"]


@pytest.mark.parametrize("solver", ["ortools", "paths"])
@pytest.mark.parametrize("seed", range(20))
def test_a_matching_is_the_largest_and_then_the_cheapest(solver, seed):
    rng = np.random.default_rng(seed)
    cost = -rng.random((4, 5))
    cost[rng.random((4, 5)) < 0.5] = np.inf
    cost = cost[np.isfinite(cost).any(axis=1)]
    if not len(cost):
        return
    got = _solve(cost, solver)
    placed = [(i, m) for i, m in enumerate(got) if m >= 0]
    assert len({m for _, m in placed}) == len(placed)
    best = min(
        (-len(pairs), sum(cost[i, m] for i, m in pairs))
        for columns in itertools.product(range(-1, 5), repeat=len(cost))
        for pairs in [[(i, m) for i, m in enumerate(columns) if m >= 0]]
        if len({m for _, m in pairs}) == len(pairs) and all(cost[i, m] < np.inf for i, m in pairs)
    )
    total = sum(cost[i, m] for i, m in placed)
    assert (-len(placed), total) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ecsched-ml:batch=0", "batch: expected a whole number above 0, got 0"),
        ("ecsched-ml:solver=glpk", "unknown solver 'glpk'"),
        ("swarm:round_s=-1", "round_s: expected seconds, at least 0, got -1"),
        ("min-min:btch=3", "no option 'btch': did you mean 'batch'?"),
    ],
)
def test_a_wrong_option_is_named(name, message):
    with pytest.raises(CerebrumError) as problem:
        get_policy(name)
    assert message in str(problem.value)


# -- topology ----------------------------------------------------------------------------------


def racks(*sizes: int, cores: int = 4):
    """Racks r0, r1, ... with that many nodes each."""
    return [
        node(f"r{r}n{i}", cores, labels={"rack": f"r{r}", "server": f"s{i}"})
        for r, size in enumerate(sizes)
        for i in range(size)
    ]


def gang(size: int, cores: float = 4):
    return [task(f"g{i}", cores, 0, 9, job="g") for i in range(size)]


def where(nodes, tasks, size, before=()) -> list[str]:
    bound = simulated("topology-compact", nodes, [*before, *tasks], {"g": size})
    return [line.split("@")[1] for line in bound if " g" in line]


def test_a_gang_that_fits_one_node_stays_on_it():
    assert where(racks(2, 2), gang(4, 1), 4) == ["r0n0"] * 4


def test_a_gang_too_wide_for_a_node_stays_in_one_rack():
    assert where(racks(1, 2, 3), gang(2), 2) == ["r1n0", "r1n1"]


def test_of_racks_that_hold_it_the_tightest_is_taken():
    assert where(racks(4, 3, 5), gang(3), 3) == ["r1n0", "r1n1", "r1n2"]


def test_a_gang_too_wide_for_a_rack_takes_the_roomiest_first():
    assert where(racks(1, 3, 2), gang(5), 5) == ["r1n0", "r1n1", "r1n2", "r2n0", "r2n1"]


def test_a_gang_uses_few_nodes_of_its_rack():
    """Five members of 2 cores: nodes of 4 take two each, so three nodes."""
    assert sorted(where(racks(1, 4), gang(5, 2), 5)) == ["r1n0", "r1n0", "r1n1", "r1n1", "r1n2"]


def test_a_gang_without_room_starts_nowhere():
    assert where(racks(1, 1), gang(3), 3) == []


def test_without_labels_a_gang_goes_on_few_nodes():
    assert where([node("a", 2), node("b", 4), node("c", 2)], gang(3, 2), 3) == ["b", "b", "a"]


def test_single_tasks_go_by_best_fit():
    nodes = [node("big", 64), node("small", 4)]
    assert simulated("topology-compact", nodes, [task("t", 2)]) == ["0 bound t@small"]
