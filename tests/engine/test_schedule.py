"""List scheduling: stories, the naive twin, and a judge that knows only the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.engine.schedule import (
    Plan,
    Platform,
    downward_rank,
    list_schedule,
    rank_order,
    upward_rank,
)
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import InputError
from cerebrum.model.federation import Federation, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import Task, TaskClass
from cerebrum.model.workflow import Dependency, Workflow
from tests.naive import schedule as naive

SLOW = Link(latency_s=1.0, bandwidth_mb_s=10.0)
FAST = Link(bandwidth_mb_s=100.0)


def node(name: str, cores: int = 1, speed: float = 1.0, memory: int = 1024, **more) -> Node:
    return Node(name, Resources(1000 * cores, memory), speed=speed, **more)


def task(name: str, runs: float, cores: float = 1, memory: int = 0) -> Task:
    return Task(name, TaskClass(Resources(int(1000 * cores), memory)), duration_s=runs)


def platform(*clusters: list[Node], between: Link = SLOW, within: Link = FAST, **how) -> Platform:
    named = tuple(Cluster(tuple(nodes), f"c{i}") for i, nodes in enumerate(clusters))
    return Platform.of(Federation(named, Network.uniform(len(named), between, within)), **how)


def workflow(tasks: list[Task], *edges: tuple) -> Workflow:
    return Workflow.from_tasks("story", tasks, [Dependency(*edge) for edge in edges])


def heft(work: Workflow, where: Platform, **how) -> Plan:
    return list_schedule(work, where, rank_order(work, upward_rank(work, where)), **how)


def told(work: Workflow, where: Platform, plan: Plan) -> list[str]:
    by_start = sorted(range(len(work)), key=lambda t: (plan.start_s[t], t))
    return [
        f"{work.tasks.names[t]}@{where.nodes[plan.node[t]].name} "
        f"{plan.start_s[t]:g}..{plan.end_s[t]:g}"
        for t in by_start
    ]


# -- stories ---------------------------------------------------------------------------------


def test_a_follower_stays_with_its_data_unless_the_other_node_is_worth_the_transfer() -> None:
    where = platform([node("slow")], [node("fast", speed=4)])
    near = workflow([task("a", 4), task("b", 4)], ("a", "b", 100.0))
    pinned = list_schedule(near, where, near.order, node_of_task=np.array([0, -1], np.int32))
    # 1 s latency + 10 s for 100 MB to save 3 s: no.
    assert told(near, where, pinned) == ["a@slow 0..4", "b@slow 4..8"]
    light = workflow([task("a", 4), task("b", 4)], ("a", "b", 10.0))
    pinned = list_schedule(light, where, light.order, node_of_task=np.array([0, -1], np.int32))
    # 1 s + 1 s to save 3 s: yes.
    assert told(light, where, pinned) == ["a@slow 0..4", "b@fast 6..7"]


def test_a_dependency_without_data_costs_no_latency() -> None:
    where = platform([node("slow")], [node("fast", speed=4)])
    work = workflow([task("a", 4), task("b", 4)], ("a", "b", 0.0))
    plan = list_schedule(work, where, work.order, node_of_task=np.array([0, -1], np.int32))
    assert told(work, where, plan) == ["a@slow 0..4", "b@fast 4..5"]


def test_a_small_task_is_put_into_an_idle_gap() -> None:
    where = platform([node("n")], [node("m")])
    work = workflow([task("a", 2), task("b", 2), task("small", 1)], ("a", "b", 40.0))
    order = np.array([0, 1, 2], np.int32)
    pins = np.array([0, 1, 1], np.int32)  # b waits for the link, so m is idle until 7
    assert list_schedule(work, where, order, node_of_task=pins).start_s.tolist() == [0, 7, 0]
    later = list_schedule(work, where, order, node_of_task=pins, insertion=False)
    assert later.start_s.tolist() == [0, 7, 9]


def test_a_gap_that_is_too_short_is_left() -> None:
    where = platform([node("n")], [node("m")])
    work = workflow([task("a", 2), task("b", 2), task("long", 7.5)], ("a", "b", 40.0))
    plan = list_schedule(work, where, np.array([0, 1, 2], np.int32),
                         node_of_task=np.array([0, 1, 1], np.int32))  # fmt: skip
    assert plan.start_s.tolist() == [0, 7, 9]


def test_a_node_runs_as_many_tasks_as_its_cores_hold() -> None:
    where = platform([node("n", cores=4)])
    work = workflow([task("wide", 3, cores=3), task("two", 2, cores=2), task("one", 5)])
    plan = list_schedule(work, where, np.array([0, 1, 2], np.int32))
    assert plan.start_s.tolist() == [0, 3, 0]  # two of four cores are too many beside three
    alone = list_schedule(work, platform([node("n", cores=4)], exclusive=True), work.order)
    assert alone.makespan_s == 3 + 2 + 5  # the processor model: one task at a time


def test_ties_go_to_the_node_with_the_lowest_row() -> None:
    where = platform([node("n"), node("m"), node("k")])
    work = workflow([task("a", 1), task("b", 1)])
    assert list_schedule(work, where, work.order).node.tolist() == [0, 1]


def test_a_task_keeps_to_its_cluster_and_to_nodes_that_can_hold_it() -> None:
    where = platform([node("n"), node("big", memory=8192)], [node("m", speed=9, memory=8192)])
    work = workflow([task("fat", 1, memory=4096), task("slim", 1)])
    plan = list_schedule(work, where, work.order, cluster_of_task=np.array([0, 1], np.int32))
    assert [where.nodes[row].name for row in plan.node] == ["big", "m"]


def test_nodes_that_are_busy_at_first_are_used_when_they_are_free() -> None:
    where = platform([node("busy", speed=2), node("idle")])
    work = workflow([task("a", 2), task("b", 6)])
    plan = list_schedule(work, where, work.order, free_s=np.array([2.5, 0.0]))
    assert told(work, where, plan) == ["a@idle 0..2", "b@busy 2.5..5.5"]


def test_ranks_are_those_of_the_example_in_the_paper_of_heft() -> None:
    """Topcuoglu 2002, figure 1 with mean costs: a chain's rank counts work and transfers."""
    where = platform([node("n")], [node("m", speed=0.5)], between=Link(bandwidth_mb_s=1.0))
    work = workflow([task("a", 2), task("b", 4), task("c", 6)], ("a", "b", 3.0), ("a", "c", 1.0))
    # Mean slowness (1 + 2) / 2; transfers take 1 s per MB.
    assert upward_rank(work, where).tolist() == [3 + max(3 + 6, 1 + 9), 6, 9]
    assert downward_rank(work, where).tolist() == [0, 3 + 3, 3 + 1]


def test_ranks_use_the_clusters_that_are_decided() -> None:
    where = platform([node("n")], [node("m", speed=0.5)])
    work = workflow([task("a", 2), task("b", 4)], ("a", "b", 50.0))
    split, same = np.array([0, 1], np.int32), np.array([0, 0], np.int32)
    assert upward_rank(work, where, split).tolist() == [2 + (1 + 5) + 8, 8]
    assert upward_rank(work, where, same).tolist() == [2 + 4, 4]  # a cluster of one node


# -- what is refused -------------------------------------------------------------------------


def test_an_order_that_breaks_precedence_or_leaves_a_task_out_is_refused() -> None:
    where, work = platform([node("n")]), workflow([task("a", 1), task("b", 1)], ("a", "b"))
    with pytest.raises(InputError, match="'b' comes before 'a'"):
        list_schedule(work, where, np.array([1, 0], np.int32))
    for wrong in ([0, 0], [0], [0, 2], [-1, 0]):
        with pytest.raises(InputError, match="each of 2 tasks once"):
            list_schedule(work, where, np.array(wrong, np.int32))


def test_a_task_that_fits_nowhere_is_named() -> None:
    where = platform([node("n")], [node("m", cores=8)])
    work = workflow([task("small", 1), task("wide", 1, cores=4)])
    assert heft(work, where).node.tolist() == [0, 1]
    with pytest.raises(InputError, match="no node of cluster 'c0' can ever hold task 'wide'"):
        heft(work, where, cluster_of_task=np.zeros(2, np.int32))


def test_a_task_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match="'a': expected a finite run time"):
        heft(workflow([task("a", np.inf)]), platform([node("n")]))


def test_an_empty_workflow_is_over_at_once() -> None:
    assert heft(workflow([]), platform([node("n")])).makespan_s == 0


# -- properties ------------------------------------------------------------------------------

numbers = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0])


@st.composite
def platforms(draw) -> Platform:
    clusters = [
        [
            node(f"{c}{i}", draw(st.integers(1, 3)), draw(st.sampled_from([0.5, 1.0, 2.0])))
            for i in range(draw(st.integers(1, 3)))
        ]
        for c in range(draw(st.integers(1, 3)))
    ]
    between = Link(draw(numbers), draw(st.sampled_from([1.0, 4.0, np.inf])))
    within = Link(draw(numbers), draw(st.sampled_from([8.0, np.inf])))
    return platform(*clusters, between=between, within=within, exclusive=draw(st.booleans()))


@st.composite
def workflows(draw) -> Workflow:
    n = draw(st.integers(1, 14))
    tasks = [
        task(f"t{i}", draw(numbers), draw(st.sampled_from([0.5, 1, 1])), draw(st.integers(0, 9)))
        for i in range(n)
    ]
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), numbers)
    edges = draw(st.lists(pairs, max_size=2 * n))
    return workflow(tasks, *((f"t{a}", f"t{b}", mb) for a, b, mb in edges if a < b))


@settings(max_examples=150)
@given(workflows(), platforms(), st.booleans(), st.data())
def test_the_kernel_places_as_its_naive_twin(work, where, insertion, data) -> None:
    clusters = st.integers(-1, len(where.network) - 1)
    only = np.array(data.draw(st.lists(clusters, min_size=len(work), max_size=len(work))), np.int32)
    order = rank_order(work, upward_rank(work, where))
    fast = list_schedule(work, where, order, cluster_of_task=only, insertion=insertion)
    slow = naive.list_schedule(work, where, order, only, insertion)
    assert fast.node.tolist() == list(slow.node)
    assert fast.start_s.tolist() == list(slow.start_s)
    assert fast.end_s.tolist() == list(slow.end_s)
    assert naive.violations(work, where, fast) == []


@given(workflows(), platforms())
def test_ranks_are_those_of_the_naive_twin(work, where) -> None:
    assert np.allclose(upward_rank(work, where), naive.upward_rank(work, where), rtol=1e-12)


@given(workflows(), platforms())
def test_no_schedule_beats_the_critical_path_on_the_fastest_node(work, where) -> None:
    bound = work.critical_path_s() / where.speed.max()
    assert heft(work, where).makespan_s >= bound - 1e-9


def test_steps_grow_beyond_what_a_node_starts_with() -> None:
    rng = np.random.default_rng(7)
    tasks = [task(f"t{i}", float(rng.integers(1, 50))) for i in range(600)]
    edges = [(f"t{i}", f"t{rng.integers(i + 1, 600)}", 500.0 * rng.random()) for i in range(599)]
    work, where = workflow(tasks, *edges), platform([node("n")], [node("m"), node("k", 2)])
    plan = heft(work, where)
    assert naive.violations(work, where, plan) == []
    assert plan.node.tolist() == list(
        naive.list_schedule(work, where, rank_order(work, upward_rank(work, where))).node
    )


def test_the_judge_sees_what_is_wrong() -> None:
    where = platform([node("n"), node("m", memory=1)])
    work = workflow([task("a", 2, memory=64), task("b", 2)], ("a", "b", 100.0))
    plan = heft(work, where)
    assert naive.violations(work, where, plan) == []

    def changed(**columns) -> list[str]:
        arrays = {name: getattr(plan, name).copy() for name in ("node", "start_s", "end_s")}
        for name, (index, value) in columns.items():
            arrays[name][index] = value
        return naive.violations(work, where, Plan(**arrays))

    assert "starts before the data" in changed(start_s=(1, 1.0), end_s=(1, 3.0))[0]
    assert "uses 2000 of 1000" in changed(start_s=(1, 1.0), end_s=(1, 3.0))[1]
    assert "cannot hold" in changed(node=(0, 1))[0]
    assert "runs" in changed(end_s=(1, 9.0))[0]
    assert "nowhere" in changed(node=(0, -1))[0]
