"""The engine against its naive twin, against itself taken step by step, and against its own log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.engine.log import EventLog, read_log
from cerebrum.executors.simulated import Simulation
from cerebrum.model.cluster import Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InvalidEvent
from cerebrum.model.events import EventKind, gpu_indices
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from tests.engine.stories import emptiest, fullest, node, policy, scenario, simulate, task
from tests.naive import scheduler

MODELS = ("", "T4", "A100")
DISCIPLINES = ("skip", "block", "reject")
CONSTRAINTS = (
    Constraints(),
    Constraints(selector=(("disk", "ssd"),)),
    Constraints(tolerations=(Toleration("dedicated", "Exists"),)),
    Constraints(required=(Term((Requirement("disk", "NotIn", ("ssd",)),)),)),
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def clusters(draw):
    nodes = []
    for i in range(draw(st.integers(1, 6))):
        model = draw(st.sampled_from(MODELS))
        nodes.append(
            node(
                f"n{i}",
                cpu=draw(st.integers(1, 8)),
                gpus=draw(st.integers(1, 4)) if model else 0,
                model=model,
                slots=draw(st.sampled_from([2, 110])),
                speed=draw(st.sampled_from([1.0, 1.0, 0.5])),
                labels={"disk": "ssd"} if draw(st.booleans()) else {},
                taints=(Taint("dedicated"),) if draw(st.integers(0, 4)) == 0 else (),
                schedulable=draw(st.integers(0, 9)) > 0,
            )
        )
    return nodes


@st.composite
def stories(draw) -> Scenario:
    tasks, gangs = [], {}
    for i in range(draw(st.integers(0, 25))):
        gpus = draw(st.sampled_from([0, 0, 1, 1, 2]))
        milli = draw(st.sampled_from([1000, 300, 500, 700])) if gpus == 1 else 1000
        job = draw(st.sampled_from(["", "", "", "j1", "j2"]))
        gangs[job] = draw(st.integers(0, 4)) if job and job not in gangs else gangs.get(job, 0)
        tasks.append(
            task(
                f"t{i}",
                cpu=draw(st.sampled_from([0.5, 1, 2, 4])),
                memory=draw(st.sampled_from([0, 512, 3000])),
                at=float(draw(st.integers(0, 12))),
                runs=float(draw(st.sampled_from([1, 2, 3, 7, np.inf]))),
                gpus=gpus,
                gpu_milli=milli,
                models=draw(st.sampled_from([(), (), ("T4",), ("T4", "A100")])) if gpus else (),
                priority=draw(st.sampled_from([0, 0, 0, 1, 2])),
                job=job,
                constraints=draw(st.sampled_from(CONSTRAINTS)),
            )
        )
    return scenario(draw(clusters()), tasks, gangs)


def happened(log: EventLog) -> list[tuple]:
    rows = log.of(EventKind.BOUND, EventKind.FINISHED, EventKind.REJECTED)
    return [
        (
            float(r["time_s"]),
            EventKind(int(r["kind"])).name.lower(),
            int(r["subject"]),
            int(r["row"]),
            gpu_indices(int(r["gpus"])),
        )
        for r in rows
    ]


@quick
@given(stories(), st.sampled_from(DISCIPLINES))
def test_the_engine_does_what_its_naive_twin_does(story, discipline):
    compiled = simulate(story, policy(queue=discipline))
    assert happened(compiled.engine.log) == scheduler.run(story, discipline)


@quick
@given(
    stories(),
    st.sampled_from(["skip", "block", "reject"]),
    st.sampled_from(["first", "random", "next"]),
)
def test_compiled_stepped_and_replayed_logs_are_one(story, discipline, ties):
    rules = {"queue": discipline, "ties": ties}
    compiled = simulate(story, policy(emptiest, **rules), seed=7).engine.log
    stepped = simulate(story, policy(emptiest, **rules), compiled=False, seed=7).engine.log
    replayed = Engine(story)
    replayed.replay(compiled)
    assert compiled.digest == stepped.digest == replayed.log.digest


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_of_many_blocks_does_what_its_naive_twin_does(seed):
    """More nodes than a block of scores holds, filling up and emptying again."""
    rng = np.random.default_rng(seed)
    nodes = [node(f"n{i}", int(rng.integers(1, 6))) for i in range(200)]
    tasks = [
        task(f"t{i}", float(rng.choice([0.5, 1, 2])), at=float(i // 4), runs=float(runs))
        for i, runs in enumerate(rng.integers(5, 120, 500))
    ]
    story = scenario(nodes, tasks)
    assert happened(simulate(story).engine.log) == scheduler.run(story)


class Forgetful:
    """An incremental policy that remembers nothing from one decision to the next."""

    name = "forgetful"

    def __init__(self, **rules):
        self.rules = rules

    def decide(self, snapshot):
        return policy(fullest, **self.rules).decide(snapshot)


@settings(quick, max_examples=25)
@given(stories())
def test_the_memo_never_changes_a_decision(story):
    remembering = simulate(story, policy(fullest), compiled=False).engine.log
    assert remembering.digest == simulate(story, Forgetful()).engine.log.digest


@st.composite
def restless_stories(draw) -> Scenario:
    """Stories in which nodes come, go, fail and grow, and important tasks preempt others."""
    story = draw(stories())
    names = [n.name for n in story.cluster.nodes]
    events, gone = [], set()
    for i in range(draw(st.integers(0, 6))):
        change = draw(st.sampled_from(list(NodeChange)))
        time_s = float(i * 2 + 1)
        if change == NodeChange.JOIN:
            events.append(NodeEvent(time_s, change, f"new{i}", node(f"new{i}", 4, 2, "A100")))
            continue
        there = [name for name in names if name not in gone]
        if not there:
            continue
        name = draw(st.sampled_from(there))
        larger = node(name, 9, 4, "A100", labels={"disk": draw(st.sampled_from(["ssd", "hdd"]))})
        events.append(
            NodeEvent(time_s, change, name, larger if change == NodeChange.UPDATE else None)
        )
        if change in (NodeChange.FAIL, NodeChange.LEAVE):
            gone.add(name)
    return Scenario(story.cluster, story.tasks, node_events=tuple(events))


@quick
@given(restless_stories())
def test_whatever_happens_capacity_holds_and_the_log_replays(story):
    run = simulate(story, policy(fullest, preempt=True))
    replayed = Engine(story)
    replayed.replay(run.engine.log)
    assert replayed.log.digest == run.engine.log.digest
    nodes = run.engine.table.state.nodes
    for name in ("cpu_free", "memory_free", "slots_free", "gpu_free", "gpu_free_sum", "gpu_kinds"):
        assert (nodes[name] >= 0).all(), name
    state = run.engine.table.state
    for row in range(len(nodes)):
        on_it = np.flatnonzero(state.t_row == row)
        used = state.classes["cpu_milli"][state.t_class[on_it]].sum()
        assert nodes["cpu_milli"][row] - nodes["cpu_free"][row] == used


def test_a_log_survives_parquet(tmp_path):
    log = simulate(scenario([node("n", gpus=2)], [task("a", gpus=2, runs=3)])).engine.log
    log.write(tmp_path / "events.parquet")
    assert read_log(tmp_path / "events.parquet").digest == log.digest


def test_a_damaged_log_is_refused_at_the_row_that_does_not_follow():
    story = scenario([node("n", 1)], [task("a", runs=1), task("b")])
    rows = simulate(story).engine.log.rows.copy()
    bind = np.flatnonzero(rows["kind"] == EventKind.BOUND)[0]
    rows["row"][bind] = 5
    with pytest.raises(InvalidEvent, match=r"'a'.*no such node"):
        Engine(story).replay(EventLog(rows))


def test_stepping_by_hand_is_the_same_simulation():
    story = scenario([node("x"), node("y")], [task(f"t{i}", 2, at=i, runs=3) for i in range(9)])
    whole = simulate(story).engine.log.digest
    simulation, chosen = Simulation(story, np.random.default_rng(0)), policy()
    while (snapshot := simulation.next_snapshot()) is not None:
        while decision := chosen.decide(snapshot):
            snapshot = simulation.act(decision)
    assert simulation.engine.log.digest == whole
