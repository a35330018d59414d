"""Binds seen outside are facts, whether the node has room; and tasks that run from the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.executors.simulated import Simulation
from cerebrum.model.cluster import PowerModel, Taint
from cerebrum.model.constraints import Constraints
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import Event, EventKind
from cerebrum.policies import get_policy
from tests.engine.stories import node, policy, scenario, simulate, task, told
from tests.engine.test_live_nodes import living
from tests.engine.test_live_tasks import come, place

K = EventKind
SCORERS = (
    "fgd", "pwr", "best-fit", "worst-fit", "dot-product", "gpu-packing", "gpu-clustering",
    "least-allocated", "most-allocated", "kubernetes-default",
)  # fmt: skip


def seen(engine: Engine, number: int, row: int, gpus: int = 0, now_s: float = 0.0) -> int:
    """A bind seen outside; the GPUs the engine put down."""
    engine.apply(Event(now_s, K.BOUND, number, row, gpus, value=1.0))
    assert int(engine.log.rows[-1]["gpus"]) == engine.snapshot().tasks.gpus[number]
    return int(engine.snapshot().tasks.gpus[number])


def test_a_fact_counts_whatever_the_node_says():
    engine = living(node("a", cpu=1, taints=(Taint("k"),), slots=1, schedulable=False))
    picky = Constraints(selector=(("disk", "ssd"),))
    ids = come(engine, task("x", cpu=3, memory=9000, constraints=picky), task("y", cpu=1))
    for number in ids:
        seen(engine, number, 0)
    record = engine.snapshot().nodes[0]
    assert (record["cpu_free"], record["slots_free"]) == (-3000, -1)
    assert record["memory_free"] == 1024 - 9000
    for number in ids:
        engine.apply(Event(1.0, K.STARTED, number))
        engine.apply(Event(1.0, K.FINISHED, number))
    assert engine.snapshot().nodes[0]["cpu_free"] == 1000


def test_a_fact_needs_a_waiting_task_and_a_node_that_is_there():
    engine = living(node("a"), node("b"))
    first, second = come(engine, task("x"), task("y"))
    seen(engine, first, 0)
    with pytest.raises(InvalidEvent, match="state does not allow"):
        seen(engine, first, 1)
    for row in (-1, 2):
        with pytest.raises(InvalidEvent, match="no such node"):
            seen(engine, second, row)
    with pytest.raises(InvalidEvent, match="GPUs"):
        seen(engine, second, 0, gpus=-1)
    assert engine.snapshot().tasks.row.tolist() == [0, -1]


def test_unknown_gpus_are_best_fit_then_the_lowest():
    engine = living(node("a", cpu=9, gpus=4))
    ids = come(engine, *[task(f"s{i}", cpu=1, gpu_milli=600) for i in range(3)],
               task("pair", gpus=2), task("late", gpu_milli=300))  # fmt: skip
    assert seen(engine, ids[0], 0, gpus=0b0100) == 0b0100  # as given
    assert seen(engine, ids[4], 0) == 0b0100  # 400 left there: the best fit
    assert seen(engine, ids[3], 0) == 0b0011  # whole ones are alike: the first two
    assert seen(engine, ids[1], 0) == 0b1000
    assert seen(engine, ids[2], 0) == 0b0001  # no room anywhere: the lowest
    record = engine.snapshot().nodes[0]
    assert record["gpu_free"][:4].tolist() == [-600, 0, 100, 400]
    assert record["gpu_free_sum"] == 500
    again = living(node("a", cpu=9, gpus=4))
    again.admit(engine.scenario.tasks)
    again.replay(engine.log)
    assert again.log.digest == engine.log.digest
    assert again.snapshot().nodes.tobytes() == engine.snapshot().nodes.tobytes()


def test_a_gpu_given_away_a_hundred_times_does_not_become_free():
    engine = living(node("a", cpu=200, gpus=1, slots=300))
    ids = come(engine, *[task(f"t{i}", gpus=1) for i in range(100)])
    for number in ids:
        seen(engine, number, 0)
    assert -(2**15) <= engine.snapshot().nodes[0]["gpu_free"][0] < -30_000
    for number in ids:
        engine.apply(Event(1.0, K.PREEMPTED, number))
    assert engine.snapshot().nodes[0]["gpu_free"][0] == 1000
    assert engine.snapshot().nodes[0]["gpu_free_sum"] == 1000


def test_a_task_that_asks_for_nothing_fits_where_too_much_is_given_away():
    """As kube-scheduler sees it: only what a pod asks for can be insufficient."""
    engine, chosen = living(node("a", cpu=1)), policy()
    big, *_ = come(engine, task("big", cpu=4, memory=4096), task("none", cpu=0))
    seen(engine, big, 0)
    come(engine, task("one", cpu=0.001))
    assert place(engine, chosen, 0.0) == {"none": "a"}


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_survive_nodes_where_too_much_is_given_away(name):
    watts = PowerModel(100, 400, 1000, 30, 300)
    nodes = [node(f"n{i}", cpu=2, gpus=2, power=watts) for i in range(3)]
    known = [task("typical", gpus=1), task("half", gpu_milli=500), task("cpu")]
    engine = Engine(scenario(nodes, known), reuse_rows=True)
    for i in range(2):
        (big,) = come(engine, task(f"big{i}", cpu=9, memory=9000, gpus=2))
        seen(engine, big, i)
        (share,) = come(engine, task(f"share{i}", gpu_milli=700))
        seen(engine, share, i, gpus=1 << i)
    wants = come(engine, task("free", cpu=0), task("gpu", gpus=1), task("more", gpu_milli=200))
    chosen = get_policy(name)
    for number in wants:
        for row in chosen.explain(engine.snapshot(), number).rows:
            assert row.refusals or np.isfinite(row.total)
    assert set(place(engine, chosen, 0.0)) == {"free", "gpu", "more"}
    if name == "fgd":
        assert (engine.snapshot().nodes["fragmentation"] >= 0).all()


# -- tasks that run when a scenario starts --------------------------------------------------------


def test_bound_tasks_run_first_in_table_order_and_their_time_counts_from_the_start():
    story = scenario(
        [node("a", cpu=1), node("b", cpu=4, gpus=2)],
        [
            task("new", at=0.0, cpu=1, runs=1.0),
            task("late", at=99.0, cpu=3, runs=5.0),
            task("gpu", at=3.0, gpus=1, runs=2.0),
        ],
        bound={"gpu": ("b", 0b10), "late": ("a", 0)},
    )
    run = simulate(story)
    assert told(run, "submitted", "bound", "started", "finished") == [
        "0 submitted late", "0 bound late@a", "0 started late",
        "0 submitted gpu", "0 bound gpu@b[1]", "0 started gpu",
        "0 submitted new", "0 bound new@b", "0 started new",
        "1 finished new", "2 finished gpu", "5 finished late",
    ]  # fmt: skip
    assert run.engine.done


def test_a_bound_task_that_is_preempted_waits_like_any_other():
    story = scenario(
        [node("a", cpu=2)],
        [task("low", cpu=2, runs=9.0), task("high", cpu=2, at=1.0, runs=2.0, priority=5)],
        bound={"low": ("a", 0)},
    )
    assert told(simulate(story, policy(preempt=True)), "preempted", "finished") == [
        "1 preempted low", "3 finished high", "12 finished low",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ({"webb": ("a", 0)}, r"no task 'webb'.*did you mean 'web'"),
        ({"web": ("node-2", 0)}, r"no node 'node-2'.*did you mean 'node-1'"),
        ({"web": ("a", -1)}, r"task 'web': expected a mask"),
        ({"web": ("a", 2**16)}, r"task 'web': expected a mask"),
    ],
)
def test_what_is_bound_must_exist(bound, message):
    with pytest.raises(InputError, match=message):
        Simulation(scenario([node("a"), node("node-1")], [task("web")], bound=bound))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 6), st.integers(-1, 2)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["skip", "block", "reject"]),
)
def test_compiled_stepped_and_replayed_logs_are_one_with_bound_tasks(tasks, discipline):
    story = scenario(
        [node(f"n{i}", cpu=3) for i in range(3)],
        [task(f"t{i}", cpu, float(at), float(runs)) for i, (cpu, at, runs, _) in enumerate(tasks)],
        bound={f"t{i}": (f"n{where}", 0) for i, (*_, where) in enumerate(tasks) if where >= 0},
    )
    compiled = simulate(story, policy(queue=discipline)).engine.log
    stepped = simulate(story, policy(queue=discipline), compiled=False).engine.log
    replayed = Engine(story)
    replayed.replay(compiled)
    assert compiled.digest == stepped.digest == replayed.log.digest
