"""Arrivals, departures, queues, gangs, priorities, nodes that come and go."""

import numpy as np
import pytest

from cerebrum.executors.simulated import Simulation
from cerebrum.model.decisions import NOTHING, Bind, Decision, Defer
from cerebrum.model.errors import InfeasibleDecision
from cerebrum.model.events import EventKind
from cerebrum.model.scenario import NodeChange, NodeEvent
from tests.engine.stories import node, policy, scenario, simulate, task, told


def test_a_task_that_does_not_fit_waits_until_another_ends():
    run = simulate(scenario([node("n", 2)], [task("a", 2, runs=10), task("b", 2, at=1, runs=5)]))
    assert told(run) == ["0 bound a@n", "10 finished a", "10 bound b@n", "15 finished b"]


def test_a_small_task_overtakes_unless_the_queue_blocks():
    tasks = [task("a", 1, runs=10), task("wide", 2, at=1, runs=1), task("thin", 1, at=2, runs=1)]
    story = scenario([node("n", 2)], tasks)
    overtaking = ["0 bound a@n", "2 bound thin@n", "10 bound wide@n"]
    assert told(simulate(story), "bound") == overtaking
    waiting = ["0 bound a@n", "10 bound wide@n", "11 bound thin@n"]
    assert told(simulate(story, policy(queue="block")), "bound") == waiting


def test_a_faster_node_ends_sooner():
    run = simulate(scenario([node("n", speed=2.0)], [task("a", runs=10)]))
    assert told(run) == ["0 bound a@n", "5 finished a"]


def test_higher_priority_goes_first():
    tasks = [
        task("now", 2, runs=10),
        task("low", 2, at=1, runs=1),
        task("high", 2, at=2, runs=1, priority=5),
    ]
    run = simulate(scenario([node("n", 2)], tasks))
    assert told(run, "bound") == ["0 bound now@n", "10 bound high@n", "11 bound low@n"]


def test_preemption_stops_as_little_as_possible():
    tasks = [
        task("keeper", 1, priority=2, runs=50),
        task("victim", 1, priority=1, runs=50),
        task("boss", 1, at=5, priority=9, runs=10),
    ]
    run = simulate(scenario([node("n", 2)], tasks), policy(preempt=True))
    assert told(run) == [
        "0 bound keeper@n",
        "0 bound victim@n",
        "5 preempted victim",
        "5 bound boss@n",
        "15 finished boss",
        "15 bound victim@n",
        "50 finished keeper",
        "65 finished victim",
    ]


def test_preemption_prefers_the_node_with_the_least_important_victim():
    tasks = [
        task("mid", 2, priority=5),
        task("low", 2, priority=1),
        task("boss", 2, at=1, priority=9),
    ]
    run = simulate(scenario([node("x", 2), node("y", 2)], tasks), policy(preempt=True))
    assert told(run)[-2:] == ["1 preempted low", "1 bound boss@y"]


def test_the_most_important_victim_decides_between_nodes():
    important = [("x5", 5), ("x0", 0), ("y3", 3), ("y3too", 3)]  # fill x, then y
    tasks = [task(name, at=float(i), priority=p) for i, (name, p) in enumerate(important)]
    story = scenario([node("x", 2), node("y", 2)], [*tasks, task("boss", 2, at=9, priority=9)])
    run = simulate(story, policy(preempt=True))
    assert told(run)[4:7] == ["9 preempted y3", "9 preempted y3too", "9 bound boss@y"]


def test_a_task_of_equal_priority_is_never_a_victim():
    tasks = [
        task("peer", 1, priority=9),
        task("low", 2, priority=1),
        task("boss", 2, at=1, priority=9),
    ]
    run = simulate(scenario([node("n", 3)], tasks), policy(preempt=True))
    assert told(run)[-2:] == ["1 preempted low", "1 bound boss@n"]


def test_a_task_that_may_not_be_preempted_is_left_alone():
    tasks = [task("rock", 2, preemptible=False), task("boss", 2, at=1, priority=9)]
    run = simulate(scenario([node("n", 2)], tasks), policy(preempt=True))
    assert told(run) == ["0 bound rock@n"]


def test_a_gang_starts_together_or_not_at_all():
    gang = [task(f"g{i}", 2, at=1, runs=5, job="train") for i in range(3)]
    tasks = [task("a", 2, runs=10), *gang, task("thin", 1, at=2, runs=1)]
    run = simulate(scenario([node("x", 3), node("y", 4)], tasks, gangs={"train": 3}))
    assert told(run, "bound") == [
        "0 bound a@x",
        "2 bound thin@x",
        "10 bound g0@x",
        "10 bound g1@y",
        "10 bound g2@y",
    ]


def test_a_gang_waits_for_its_late_members():
    tasks = [task("g0", job="j"), task("g1", at=7, job="j")]
    run = simulate(scenario([node("n")], tasks, gangs={"j": 2}))
    assert told(run) == ["7 bound g0@n", "7 bound g1@n"]


def test_part_of_a_gang_is_refused_as_a_decision():
    story = scenario([node("n")], [task("g0", job="j"), task("g1", job="j")], gangs={"j": 2})
    simulation = Simulation(story)
    simulation.next_snapshot()
    with pytest.raises(InfeasibleDecision, match="gang 'j' needs 2"):
        simulation.act(Decision((Bind(0, 0),)))


def test_a_deferred_task_is_looked_at_again_when_its_time_comes():
    class NotBeforeNoon:
        name = "noon"

        def decide(self, snapshot):
            if not len(snapshot.pending):
                return NOTHING
            if snapshot.time_s < 12:
                return Decision(tuple(Defer(int(t), 12.0) for t in snapshot.pending))
            return Decision((Bind(int(snapshot.pending[0]), 0),))

    run = simulate(scenario([node("n")], [task("a"), task("b", at=13)]), NotBeforeNoon())
    assert told(run, "deferred", "bound") == ["0 deferred a", "12 bound a@n", "13 bound b@n"]


def test_a_failing_node_loses_its_tasks_and_they_run_again_elsewhere():
    story = scenario(
        [node("x", 2), node("y", 4)],
        [task("a", 2, runs=10)],
        node_events=(NodeEvent(4.0, NodeChange.FAIL, "x"),),
    )
    run = simulate(story)
    assert told(run) == ["0 bound a@x", "4 failed a", "4 bound a@y", "14 finished a"]


def test_a_task_is_given_up_after_its_last_attempt():
    story = scenario(
        [node("x", 2), node("y", 4)],
        [task("a", 2, runs=10)],
        node_events=(NodeEvent(4.0, NodeChange.FAIL, "x"),),
        max_attempts=1,
    )
    assert told(simulate(story)) == ["0 bound a@x", "4 failed a"]


def test_drain_moves_tasks_cordon_keeps_them_and_leave_waits_for_them():
    def after(change):
        story = scenario(
            [node("x", 2), node("y", 4)],
            [task("a", 2, runs=10), task("late", 1, at=5, runs=1)],
            node_events=(NodeEvent(4.0, change, "x"),),
        )
        return simulate(story)

    drained = after(NodeChange.DRAIN)
    assert told(drained)[:3] == ["0 bound a@x", "4 preempted a", "4 bound a@y"]
    for change in (NodeChange.CORDON, NodeChange.LEAVE):
        run = after(change)
        assert told(run) == ["0 bound a@x", "5 bound late@y", "6 finished late", "10 finished a"]
        assert bool(run.engine.table.state.present[0]) == (change == NodeChange.CORDON)


def test_a_node_that_joins_takes_what_waits():
    story = scenario(
        [node("x", 1)],
        [task("a", 4, runs=1)],
        node_events=(NodeEvent(3.0, NodeChange.JOIN, "new", node("new", 8)),),
    )
    assert told(simulate(story)) == ["3 bound a@new", "4 finished a"]


def test_a_waiting_task_is_reported_once_until_it_runs():
    tasks = [task("a", 2, runs=10), task("b", 2, at=1), task("c", 1, at=2), task("d", 1, at=3)]
    run = simulate(scenario([node("n", 2)], tasks))
    told_once = ["1 unschedulable b", "2 unschedulable c", "3 unschedulable d"]
    assert told(run, "unschedulable") == told_once


def test_a_decision_that_cannot_be_names_the_task():
    simulation = Simulation(scenario([node("n", 1)], [task("fat", 2)]))
    simulation.next_snapshot()
    with pytest.raises(InfeasibleDecision, match=r"'fat'.*no room"):
        simulation.act(Decision((Bind(0, 0),)))


def test_the_snapshot_cannot_be_written_to():
    simulation = Simulation(scenario([node("n", 1)], [task("a")]))
    snapshot = simulation.next_snapshot()
    assert snapshot is not None
    with pytest.raises(ValueError, match="read-only"):
        snapshot.nodes["cpu_free"][0] = 5
    assert snapshot.pending.tolist() == [0]


def test_time_stands_still_without_events():
    simulation = Simulation(scenario([node("n", 1)], []))
    assert simulation.next_snapshot() is None
    assert simulation.engine.now_s == -np.inf
    assert len(simulation.engine.log.of(EventKind.BOUND)) == 0
