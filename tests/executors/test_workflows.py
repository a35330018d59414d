"""A workflow in virtual time: stories told as node and times, plans kept, bad luck survived."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.engine.schedule import Plan, Platform, list_schedule, rank_order, upward_rank
from cerebrum.executors.workflows import (
    Failures,
    Stragglers,
    follow_plan,
    simulate_workflow,
)
from cerebrum.model.cluster import Cluster
from cerebrum.model.decisions import Decision, Reject
from cerebrum.model.errors import InputError
from cerebrum.model.events import EventKind, TaskState
from cerebrum.model.federation import Federation, Link, Network
from cerebrum.policies import get_policy
from tests.engine.test_schedule import node, platforms, task, workflow, workflows
from tests.naive.schedule import violations

SLOW = Link(latency_s=1.0, bandwidth_mb_s=10.0, cost_per_gb=2.0)
FAST = Link(bandwidth_mb_s=100.0)
ONE = np.zeros(99, np.int32)


def federation(*clusters: list, between: Link = SLOW, within: Link = FAST) -> Federation:
    named = tuple(Cluster(tuple(nodes), f"c{i}") for i, nodes in enumerate(clusters))
    return Federation(named, Network.uniform(len(named), between, within))


def heft(work, where: Platform) -> Plan:
    return list_schedule(work, where, rank_order(work, upward_rank(work, where)))


def told(run) -> list[str]:
    rows = sorted(run.rows(), key=lambda row: (row["start_s"], row["task"]))
    return [
        f"{r['task']}@{r['node']} {r['start_s']:g}+{r['stage_in_s']:g}..{r['end_s']:g}"
        for r in rows
    ]


def of(*clusters: int) -> np.ndarray:
    return np.array(clusters, np.int32)


# -- stories ---------------------------------------------------------------------------------


def test_data_from_another_cluster_comes_before_the_task_takes_its_node() -> None:
    work = workflow([task("a", 2), task("b", 3), task("c", 1)], ("a", "b", 40.0))
    run = simulate_workflow(work, federation([node("n")], [node("m")]), of(0, 1, 1))
    # a ends at 2; 1 s latency and 4 s for 40 MB; meanwhile c has the node.
    assert told(run) == ["a@n 0+0..2", "c@m 0+0..1", "b@m 7+0..10"]
    assert (run.moved_mb, run.moved_within_mb, run.cost) == (40.0, 0.0, 0.08)
    assert run.ready_s.tolist() == [0, 2, 0]
    assert run.makespan_s == 10


def test_data_within_a_cluster_is_fetched_on_the_node_it_is_for() -> None:
    work = workflow([task("a", 2), task("b", 2), task("z", 3)], ("a", "z", 100.0), ("b", "z", 50.0))
    run = simulate_workflow(work, federation([node("n"), node("m")]), ONE[:3])
    # a on n, b on m; beside a only b's 0.5 s are left to fetch, and both end at the same time.
    assert told(run) == ["a@n 0+0..2", "b@m 0+0..2", "z@n 2+0.5..5.5"]
    assert (run.moved_mb, run.moved_within_mb) == (0.0, 50.0)


def test_the_task_with_the_longer_way_to_go_is_first() -> None:
    work = workflow([task("short", 1), task("a", 1), task("b", 5)], ("a", "b"))
    run = simulate_workflow(work, federation([node("n")]), ONE[:3])
    assert told(run) == ["a@n 0+0..1", "b@n 1+0..6", "short@n 6+0..7"]
    turned = simulate_workflow(work, federation([node("n")]), ONE[:3], order=np.array([9.0, 1, 0]))
    assert told(turned)[0] == "short@n 0+0..1"


def test_waiting_for_a_fast_node_can_be_better_than_a_slow_one_now() -> None:
    work = workflow([task("a", 4), task("b", 4)])
    run = simulate_workflow(work, federation([node("fast", speed=4), node("slow")]), ONE[:2])
    assert told(run) == ["a@fast 0+0..1", "b@fast 1+0..2"]


def test_memory_is_kept_though_there_is_cpu() -> None:
    work = workflow([task("a", 2, memory=700), task("b", 3, memory=700)])
    run = simulate_workflow(work, federation([node("n", cores=8)]), ONE[:2])
    assert told(run) == ["b@n 0+0..3", "a@n 3+0..5"]


def test_any_placement_policy_may_choose_the_nodes() -> None:
    work = workflow([task("a", 4), task("b", 4)])
    where = federation([node("fast", speed=4, cores=2), node("slow", cores=9)])
    best, worst = (
        simulate_workflow(work, where, ONE[:2], placement=lambda n=name: get_policy(n))
        for name in ("best-fit", "worst-fit")
    )
    assert told(best) == ["a@fast 0+0..1", "b@fast 0+0..1"]
    assert told(worst) == ["a@slow 0+0..4", "b@slow 0+0..4"]


def test_what_a_policy_rejects_takes_what_depends_on_it_along() -> None:
    class Refuser:
        name = "refuser"

        def decide(self, snapshot) -> Decision:
            return Decision((Reject(int(snapshot.pending[0])),))

    work = workflow([task("a", 1), task("b", 1), task("c", 1)], ("a", "b"), ("b", "c"))
    run = simulate_workflow(work, federation([node("n")]), ONE[:3], placement=Refuser)
    assert run.counts() == {"rejected": 1, "cancelled": 2}
    assert not run.succeeded
    assert run.makespan_s == 0


def test_a_task_that_fails_every_time_is_given_up_with_all_behind_it() -> None:
    work = workflow(
        [task("a", 2), task("b", 2), task("c", 2), task("free", 1)], ("a", "b"), ("b", "c")
    )
    where, rng = federation([node("n")], [node("m")]), np.random.default_rng(3)
    at = of(0, 1, 0, 0)
    run = simulate_workflow(work, where, at, failures=Failures(1.0, 3, 10.0), rng=rng)
    states = [TaskState(s).name.lower() for s in run.state]
    assert states == ["failed", "cancelled", "cancelled", "failed"]
    assert run.attempts.tolist() == [3, 0, 0, 3]
    # A backoff of 10 and of 20 s lies between the attempts.
    assert 30 < run.end_s[0] < 30 + 3 * 2 + 3
    kinds = run.logs[1].rows["kind"].tolist()
    assert kinds == [EventKind.SUBMITTED, EventKind.CANCELLED]


def test_failures_only_cost_time_when_there_are_attempts_left() -> None:
    work = workflow([task(f"t{i}", 5) for i in range(20)],
                    *((f"t{i}", f"t{i + 5}", 10.0) for i in range(15)))  # fmt: skip
    where = federation([node("n", cores=2), node("m")])
    calm = simulate_workflow(work, where, ONE[:20])
    rough = simulate_workflow(
        work, where, ONE[:20], failures=Failures(0.3, 50), rng=np.random.default_rng(1)
    )
    assert rough.succeeded
    assert rough.attempts.sum() > 20
    assert rough.makespan_s > calm.makespan_s


def test_stragglers_compute_longer_but_fetch_as_fast() -> None:
    work = workflow([task("a", 2), task("b", 2)], ("a", "b", 100.0))
    where = federation([node("n")], [node("m")])
    run = simulate_workflow(
        work, where, of(0, 1), stragglers=Stragglers(1.0, 3.0), rng=np.random.default_rng(1)
    )
    assert told(run) == ["a@n 0+0..6", "b@m 17+0..23"]


def test_bad_luck_belongs_to_the_task_and_not_to_where_it_runs() -> None:
    work = workflow([task(f"t{i}", 5) for i in range(40)])
    luck = {"failures": Failures(0.4, 20), "stragglers": Stragglers(0.2)}
    attempts = [
        simulate_workflow(
            work, where, ONE[:40], **luck, rng=np.random.default_rng(8)
        ).attempts.tolist()
        for where in (federation([node("n")]), federation([node("x", 4), node("y", 2, 0.5)]))
    ]
    assert attempts[0] == attempts[1]


def test_the_logs_can_be_replayed_and_say_what_the_run_says() -> None:
    work = workflow([task("a", 2), task("b", 3), task("c", 1)], ("a", "b", 40.0), ("a", "c", 1.0))
    run = simulate_workflow(work, federation([node("n")], [node("m")]), of(0, 1, 1))
    for c, (scenario, log) in enumerate(zip(run.scenarios, run.logs, strict=True)):
        engine = Engine(scenario)
        engine.replay(log)
        assert engine.done
        started = log.of(EventKind.STARTED)
        names = [scenario.tasks.names[i] for i in started["subject"]]
        times = dict(zip(names, started["time_s"].tolist(), strict=True))
        assert times == {
            work.tasks.names[i]: run.start_s[i] for i in range(3) if run.cluster[i] == c
        }


# -- plans -----------------------------------------------------------------------------------


def test_a_plan_keeps_its_order_when_a_task_is_late() -> None:
    work = workflow([task("a", 2), task("b", 2), task("c", 1)])
    plan = Plan(np.zeros(3, np.int32), np.array([0.0, 2, 4]), np.array([2.0, 4, 5]))
    late = follow_plan(
        work, federation([node("n")]), plan,
        stragglers=Stragglers(1.0, 2.0), rng=np.random.default_rng(0),
    )  # fmt: skip
    assert told(late) == ["a@n 0+0..4", "b@n 4+0..8", "c@n 8+0..10"]


def test_a_task_of_a_plan_that_fails_is_repeated_before_those_behind_it() -> None:
    work = workflow([task("a", 2), task("b", 2)])
    plan = Plan(np.zeros(2, np.int32), np.array([0.0, 2]), np.array([2.0, 4]))
    run = follow_plan(
        work, federation([node("n")]), plan,
        failures=Failures(0.9, 100), rng=np.random.default_rng(5),
    )  # fmt: skip
    assert run.attempts[0] > 1
    assert run.start_s[1] >= run.end_s[0]
    assert run.succeeded


def test_a_task_of_no_length_does_not_hold_up_those_that_start_with_it() -> None:
    work = workflow([task("a", 1), task("still", 0), task("b", 2)])
    plan = Plan(np.zeros(3, np.int32), np.zeros(3), np.array([1.0, 0, 2]))
    run = follow_plan(work, federation([node("n", cores=2)]), plan)
    assert run.start_s.tolist() == [0, 0, 0]


def test_a_plan_whose_task_is_given_up_goes_on_with_the_rest() -> None:
    work = workflow([task("a", 2), task("b", 2), task("c", 1)], ("a", "b"))
    plan = Plan(np.zeros(3, np.int32), np.array([0.0, 2, 4]), np.array([2.0, 4, 5]))
    run = follow_plan(
        work, federation([node("n")]), plan, failures=Failures(1.0, 2), rng=np.random.default_rng(4)
    )
    assert [TaskState(s).name for s in run.state] == ["FAILED", "CANCELLED", "FAILED"]


@settings(max_examples=40)
@given(workflows(), platforms())
def test_without_bad_luck_a_plan_comes_true_to_the_second(work, where) -> None:
    sizes = np.bincount(where.cluster)
    ends = np.cumsum(sizes)
    named = tuple(
        Cluster(where.nodes[end - size : end], name)
        for name, size, end in zip(where.clusters, sizes, ends, strict=True)
    )
    fed = Federation(named, where.network)
    plan = heft(work, where)
    run = follow_plan(work, fed, plan, exclusive=where.exclusive)
    assert run.succeeded
    assert (run.start_s <= plan.start_s).all()
    made = Plan(run.node, run.start_s, run.end_s)
    assert violations(work, where, made) == []


@settings(max_examples=40)
@given(workflows(), platforms(), st.integers(0, 5), st.data())
def test_online_every_task_succeeds_in_order_within_its_cluster(work, where, seed, data) -> None:
    sizes = np.bincount(where.cluster)
    named = tuple(
        Cluster(where.nodes[end - size : end], name)
        for name, size, end in zip(where.clusters, sizes, np.cumsum(sizes), strict=True)
    )
    fed = Federation(named, where.network)
    clusters = st.integers(0, len(sizes) - 1)
    at = of(*data.draw(st.lists(clusters, min_size=len(work), max_size=len(work))))
    run = simulate_workflow(
        work, fed, at, failures=Failures(0.2, 100), stragglers=Stragglers(0.3),
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    assert run.succeeded
    assert (where.cluster[run.node] == at).all()
    for a, b, mb in zip(work.before, work.after, work.volume_mb, strict=True):
        moved = where.network.transfer_s(int(at[a]), int(at[b]), mb) if at[a] != at[b] else 0.0
        assert run.start_s[b] >= run.end_s[a] + moved
    for scenario, log in zip(run.scenarios, run.logs, strict=True):
        Engine(scenario).replay(log)  # raises where a node would hold more than it can


# -- what is refused -------------------------------------------------------------------------


def test_bad_arguments_are_refused_by_name() -> None:
    work, where = workflow([task("a", 1)]), federation([node("n")])
    with pytest.raises(InputError, match=r"expected a cluster 0\.\.0"):
        simulate_workflow(work, where, of(1))
    with pytest.raises(InputError, match="need a random generator"):
        simulate_workflow(work, where, of(0), failures=Failures(0.5))
    with pytest.raises(InputError, match="'wide'"):
        simulate_workflow(workflow([task("wide", 1, cores=2)]), where, of(0))
    with pytest.raises(InputError, match="finite rank"):
        simulate_workflow(work, where, of(0), order=np.array([np.nan]))
    with pytest.raises(InputError, match="a node for each"):
        follow_plan(work, where, Plan(of(-1), np.zeros(1), np.ones(1)))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"0\.\.1"):
            Failures(wrong)
        with pytest.raises(InputError, match=r"0\.\.1"):
            Stragglers(wrong)
    with pytest.raises(InputError, match="factor"):
        Stragglers(0.5, 0.5)
    with pytest.raises(InputError, match=r"1\.\.100"):
        Failures(0.5, 0)
    with pytest.raises(InputError, match="finite seconds"):
        Failures(0.5, 1, float("inf"))
