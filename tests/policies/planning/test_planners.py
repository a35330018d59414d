"""Planners: published examples, what every plan must keep, and never worse than HEFT."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.engine.schedule import Platform, upward_rank
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.model.federation import Federation, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import Task, TaskClass
from cerebrum.policies.planning import get_planner, planner_names
from cerebrum.policies.planning.cpop import critical_path
from cerebrum.traces.workflows import read_workflow
from tests.engine.test_schedule import node, platform, platforms, task, told, workflow, workflows
from tests.naive.schedule import violations

NAMES = planner_names()


def federation(*sizes: int, bandwidth_mb_s: float = 50.0, seed: int = 1) -> Federation:
    rng = np.random.default_rng(seed)
    clusters = tuple(
        Cluster(
            tuple(node(f"{c}-{i}", speed=float(rng.uniform(0.5, 2))) for i in range(size)), f"c{c}"
        )
        for c, size in enumerate(sizes)
    )
    return Federation(
        clusters, Network.uniform(len(sizes), Link(0.01, bandwidth_mb_s), Link(0.0, 1000.0))
    )


def test_every_name_gives_a_planner_of_that_name() -> None:
    assert {"cerebrum", "cpop", "heft", "max-min", "min-min", "peft"} <= set(NAMES)
    for name in NAMES:
        assert get_planner(name).name == name
    assert get_planner("Max_Min").name == "max-min"


def test_an_unknown_planner_or_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="did you mean 'heft'"):
        get_planner("hefd")
    with pytest.raises(ConfigError, match="did you mean 'work'"):
        get_planner("cerebrum", works=3)
    with pytest.raises(ConfigError, match="whole number of at least 0"):
        get_planner("cerebrum", work=-1)


def test_min_min_takes_the_short_task_first_and_max_min_the_long_one() -> None:
    where = platform([node("n")])
    work = workflow([task("long", 9), task("short", 1), task("middle", 4)])
    assert told(work, where, get_planner("min-min").plan(work, where)) == [
        "short@n 0..1", "middle@n 1..5", "long@n 5..14",
    ]  # fmt: skip
    assert told(work, where, get_planner("max-min").plan(work, where)) == [
        "long@n 0..9", "middle@n 9..13", "short@n 13..14",
    ]  # fmt: skip


def test_sufferage_gives_the_good_node_to_the_task_that_needs_it() -> None:
    """`fat` fits the big node only, so it loses everything without it; Min-Min goes by length."""
    where = platform([node("big", memory=8192), node("small")])
    work = workflow([task("slim", 1), task("fat", 5, memory=4096)])
    assert told(work, where, get_planner("sufferage").plan(work, where)) == [
        "slim@small 0..1", "fat@big 0..5",
    ]  # fmt: skip
    assert told(work, where, get_planner("min-min").plan(work, where))[1] == "fat@big 1..6"


def test_the_plan_of_a_ready_task_is_made_again_when_its_node_filled_up() -> None:
    """Two tasks prefer one node: the second must see the first one there."""
    where = platform([node("fast", speed=2), node("slow")])
    work = workflow([task("a", 4), task("b", 4), task("c", 4)])
    assert told(work, where, get_planner("min-min").plan(work, where)) == [
        "a@fast 0..2", "c@slow 0..4", "b@fast 2..4",
    ]  # fmt: skip


def test_cpop_keeps_the_critical_path_on_the_fastest_node() -> None:
    where = platform([node("slow")], [node("fast", speed=2)])
    work = workflow(
        [task("a", 2), task("side", 1), task("b", 8), task("z", 2)],
        ("a", "side", 1.0), ("a", "b", 1.0), ("side", "z", 1.0), ("b", "z", 1.0),
    )  # fmt: skip
    priority = upward_rank(work, where)
    assert [work.tasks.names[i] for i in critical_path(work, priority)] == ["a", "b", "z"]
    plan = get_planner("cpop").plan(work, where)
    assert plan.node.tolist()[0] == plan.node.tolist()[2] == plan.node.tolist()[3] == 1


def test_peft_looks_past_a_node_from_which_the_data_cannot_get_out() -> None:
    """The first task alone would end first on the fast node, where what follows does not fit."""
    where = platform(
        [node("island", speed=2)], [node("n", memory=8192), node("m", memory=8192)],
        between=Link(bandwidth_mb_s=1.0),
    )  # fmt: skip
    work = workflow([task("a", 3), task("b", 6, memory=4096)], ("a", "b", 10.0))
    heft, peft = (get_planner(name).plan(work, where) for name in ("heft", "peft"))
    assert heft.node[0] == 0
    assert peft.node[0] != 0
    assert peft.makespan_s < heft.makespan_s


def test_the_portfolio_finds_what_a_greedy_rule_cannot() -> None:
    """Runs of 3, 3, 2, 2, 2 on two nodes: longest first ends at 7, the best plan at 6."""
    where = platform([node("n"), node("m")])
    work = workflow([task(f"t{i}", runs) for i, runs in enumerate((3, 3, 2, 2, 2))])
    assert get_planner("heft").plan(work, where).makespan_s == 7
    assert get_planner("cerebrum").plan(work, where).makespan_s == 6


def test_without_work_the_portfolio_is_its_best_rule() -> None:
    where, rules = federation(3, 2), [name for name in NAMES if name != "cerebrum"]
    work = workflow([task(f"t{i}", 1 + i % 5) for i in range(30)],
                    *((f"t{i}", f"t{i + 7}", 40.0) for i in range(23)))  # fmt: skip
    rough = get_planner("cerebrum", work=0).plan(work, where)
    assert rough.makespan_s <= min(get_planner(r).plan(work, where).makespan_s for r in rules)
    fine = get_planner("cerebrum", work=60_000).plan(work, where)
    assert fine.makespan_s < rough.makespan_s


@pytest.mark.parametrize("name", NAMES)
def test_a_task_stays_in_its_cluster_and_off_nodes_too_small_for_it(name: str) -> None:
    where = platform([node("n"), node("big", memory=8192)], [node("m", speed=9, memory=8192)])
    work = workflow([task("fat", 1, memory=4096), task("slim", 1), task("free", 1)])
    plan = get_planner(name).plan(work, where, np.array([0, 1, -1], np.int32))
    assert [where.nodes[row].name for row in plan.node] == ["big", "m", "m"]
    with pytest.raises(InputError, match="'fat'"):
        get_planner(name).plan(workflow([task("fat", 1, memory=9000)]), where)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_workflow_and_one_of_no_length_are_planned(name: str) -> None:
    where = platform([node("n"), node("m")])
    assert get_planner(name).plan(workflow([]), where).makespan_s == 0
    still = workflow([task("a", 0), task("b", 0)], ("a", "b"))
    assert get_planner(name).plan(still, where).makespan_s == 0


@settings(max_examples=60)
@given(workflows(), platforms(), st.data())
def test_plans_are_valid_repeatable_and_the_portfolio_is_never_longer_than_heft(
    work, where, data
) -> None:
    clusters = st.integers(-1, len(where.network) - 1)
    at = np.array(data.draw(st.lists(clusters, min_size=len(work), max_size=len(work))), np.int32)
    makespan = {}
    for name in NAMES:
        planner = get_planner(name, **({"work": 2000} if name == "cerebrum" else {}))
        plan = planner.plan(work, where, at)
        makespan[name] = plan.makespan_s
        assert violations(work, where, plan) == [], name
        assert ((at < 0) | (where.cluster[plan.node] == at)).all(), name
        again = planner.plan(work, where, at)
        assert again.start_s.tolist() == plan.start_s.tolist()
        assert again.node.tolist() == plan.node.tolist()
    assert makespan["cerebrum"] <= min(makespan.values())


@pytest.mark.needs(data="workflows")
def test_a_real_workflow_gets_shorter_than_with_heft(shared_data) -> None:
    work = read_workflow(shared_data / "workflows" / "montage-chameleon-2mass-01d-001.json")
    where = Platform.of(federation(4, 4, bandwidth_mb_s=5.0), exclusive=True)
    heft, ours = (get_planner(name).plan(work, where) for name in ("heft", "cerebrum"))
    assert violations(work, where, ours) == []
    assert ours.makespan_s < heft.makespan_s


def test_gpus_and_wide_tasks_are_planned_on_nodes_that_have_them() -> None:
    gpu = Node("gpu", Resources(4000, 1024, 1, 1000), gpu_model="A100")
    where = platform([node("n", cores=8), gpu])
    wants = TaskClass(Resources(1000, 0, 1, 1000), ("A100",))
    work = workflow([Task("train", wants, duration_s=2.0), task("wide", 2, cores=8)])
    for name in NAMES:
        assert get_planner(name).plan(work, where).node.tolist() == [1, 0], name
