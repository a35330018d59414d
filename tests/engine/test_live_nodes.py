"""Nodes of a living engine: they join, change where they stand, go, and others take their rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine import state as at
from cerebrum.engine.engine import Engine
from cerebrum.engine.filters import judge_one
from cerebrum.model.cluster import Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import Event, EventKind, Refusal
from cerebrum.model.scenario import NodeChange, NodeEvent
from cerebrum.model.tasks import TaskTable
from tests.engine.stories import emptiest, node, policy, scenario, simulate, task
from tests.engine.test_live_tasks import Fresh, come, place

K, C = EventKind, NodeChange
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def living(*nodes, reuse_rows: bool = True) -> Engine:
    return Engine(scenario(list(nodes), []), reuse_rows=reuse_rows)


def change(engine: Engine, what: NodeChange, name: str, described=None, now_s: float = 0.0) -> None:
    engine.change_node(NodeEvent(max(now_s, engine.now_s, 0.0), what, name, described))


def test_a_node_changes_while_tasks_run_on_it():
    engine, chosen = living(node("a", cpu=4, gpus=2)), policy()
    come(engine, task("t", cpu=2, gpus=1))
    place(engine, chosen, 0.0)
    change(engine, C.UPDATE, "a", node("a", cpu=8, gpus=4, slots=3, labels={"disk": "ssd"}))
    record = engine.snapshot().nodes[0]
    assert (record["cpu_milli"], record["cpu_free"], record["slots_free"]) == (8000, 6000, 2)
    assert record["gpu_free"][:4].tolist() == [0, 1000, 1000, 1000]
    assert record["gpu_free_sum"] == 3000
    come(engine, task("picky", cpu=6, constraints=Constraints(selector=(("disk", "ssd"),))))
    assert place(engine, chosen, 0.0) == {"picky": "a"}
    change(engine, C.UPDATE, "a", node("a", cpu=1, gpus=0))
    assert engine.snapshot().nodes[0]["cpu_free"] == -7000
    engine.apply(Event(1.0, K.FINISHED, 0))
    engine.apply(Event(1.0, K.FINISHED, 1))
    assert engine.snapshot().nodes[0]["cpu_free"] == 1000


def test_gpus_that_go_and_come_back_are_still_taken():
    engine, chosen = living(node("a", cpu=8, gpus=4)), policy(gpus="first")
    come(engine, task("pair", gpus=2), task("share", gpu_milli=300))
    place(engine, chosen, 0.0)
    assert engine.snapshot().tasks.gpus[:2].tolist() == [0b0011, 0b0100]
    change(engine, C.UPDATE, "a", node("a", cpu=8, gpus=1))
    assert engine.snapshot().nodes[0]["gpu_free"][:2].tolist() == [0, 0]
    change(engine, C.UPDATE, "a", node("a", cpu=8, gpus=4))
    assert engine.snapshot().nodes[0]["gpu_free"][:4].tolist() == [0, 0, 700, 1000]
    engine.apply(Event(1.0, K.FINISHED, 0))
    engine.apply(Event(1.0, K.FINISHED, 1))
    assert engine.snapshot().nodes[0]["gpu_free"][:4].tolist() == [1000] * 4
    assert engine.snapshot().nodes[0]["gpu_kinds"].sum() == 0


def test_a_description_says_whether_the_node_takes_tasks_but_one_that_leaves_leaves():
    engine, chosen = living(node("a", cpu=4)), policy()
    come(engine, task("t"))
    place(engine, chosen, 0.0)
    change(engine, C.UPDATE, "a", node("a", cpu=4, schedulable=False))
    assert not engine.snapshot().usable[0]
    change(engine, C.UPDATE, "a", node("a", cpu=4))
    assert engine.snapshot().usable[0]
    change(engine, C.LEAVE, "a")
    change(engine, C.UPDATE, "a", node("a", cpu=9))
    assert not engine.snapshot().usable[0]
    engine.apply(Event(1.0, K.FINISHED, 0))
    with pytest.raises(InvalidEvent, match="there is no node 'a'"):
        engine.row_of("a")


def test_a_task_that_fitted_nowhere_is_tried_again_when_a_node_changes():
    engine, chosen = living(node("a", cpu=1)), policy()
    come(engine, task("big", cpu=3))
    assert place(engine, chosen, 0.0) == {}
    change(engine, C.UPDATE, "a", node("a", cpu=4))
    assert place(engine, chosen, 0.0) == {"big": "a"}


def test_what_cannot_be_is_refused_and_changes_nothing():
    engine = living(node("a", cpu=4), node("b", cpu=4))
    before = engine.table.state.nodes.tobytes(), len(engine.log)
    wrong = [
        (C.UPDATE, "c", node("c")), (C.UPDATE, "a", node("b")), (C.UPDATE, "a", None),
        (C.JOIN, "a", node("a")), (C.JOIN, "c", None),
    ]  # fmt: skip
    for what, name, described in wrong:
        with pytest.raises(InvalidEvent):
            change(engine, what, name, described)
    many = tuple((f"example.com/r{i}", 1) for i in range(6))
    change(engine, C.UPDATE, "b", node("b", extended=many))
    after = engine.table.state.nodes.tobytes(), len(engine.log)
    for what, name in ((C.JOIN, "c"), (C.UPDATE, "a")):
        with pytest.raises(InputError, match="extended resources"):
            change(engine, what, name, node(name, extended=(("example.com/seventh", 1),)))
    assert (engine.table.state.nodes.tobytes(), len(engine.log)) == after != before
    assert len(engine.snapshot().nodes) == 2
    with pytest.raises(InvalidEvent, match="before the last event"):
        engine.change_node(NodeEvent(-1.0, C.CORDON, "a"))
    assert engine.snapshot().usable.all()


def test_a_thousand_nodes_come_and_go_and_the_table_stays_small():
    engine, chosen = living(node("n", cpu=1)), policy(ties="name")
    for i in range(1000):
        change(engine, C.JOIN, f"x{i}", node(f"x{i}", cpu=2, labels={"rack": f"r{i % 3}"}))
        change(engine, C.FAIL, f"x{i}")
    assert len(engine.snapshot().nodes) == 2
    change(engine, C.JOIN, "back", node("back", cpu=2))
    come(engine, task("t", cpu=2))
    assert place(engine, chosen, 0.0) == {"t": "back"}
    assert len(engine.snapshot().nodes) == 2


def test_without_reuse_a_row_belongs_to_one_node_for_good():
    engine = living(node("a"), reuse_rows=False)
    change(engine, C.FAIL, "a")
    change(engine, C.JOIN, "a", node("a", cpu=2))
    assert list(engine.node_names) == ["a", "a"]
    assert engine.row_of("a") == 1
    assert engine.snapshot().usable.tolist() == [False, True]


def test_a_row_used_again_remembers_nothing_of_its_last_node():
    engine, chosen = living(node("a", cpu=4, gpus=2, taints=(Taint("k"),))), policy()
    change(engine, C.CORDON, "a")
    change(engine, C.FAIL, "a")
    change(engine, C.JOIN, "b", node("b", cpu=4))
    come(engine, task("t"))
    assert place(engine, chosen, 0.0) == {"t": "b"}
    assert engine.snapshot().nodes[0]["gpu_count"] == 0


def test_a_node_that_joins_is_not_counted_as_one_that_had_room():
    """Two lack memory, then one joins that lacks CPU: memory is still the commonest reason."""
    engine, chosen = living(node("a", cpu=4)), policy()
    change(engine, C.JOIN, "b", node("b", cpu=4))
    come(engine, task("first", cpu=2, memory=5000))
    place(engine, chosen, 0.0)
    change(engine, C.JOIN, "c", node("c", cpu=1))
    come(engine, task("second", cpu=2, memory=5000))
    place(engine, chosen, 0.0)
    assert engine.log.of(K.UNSCHEDULABLE)["reason"].tolist() == [Refusal.MEMORY, Refusal.MEMORY]


def test_rank_follows_names_whoever_joins_and_goes():
    rng, engine = np.random.default_rng(1), living(node("m"), node("k"))
    there = ["m", "k"]
    for i in range(200):
        if rng.random() < 0.6 or len(there) < 2:
            name = f"{rng.choice(list('abxyz'))}{i}"
            change(engine, C.JOIN, name, node(name))
            there.append(name)
        else:
            change(engine, C.FAIL, there.pop(int(rng.integers(len(there)))))
        snapshot = engine.snapshot()
        rows = [engine.row_of(name) for name in there]
        by_rank = sorted(rows, key=lambda row: int(snapshot.rank[row]))
        assert [snapshot.node_names[row] for row in by_rank] == sorted(there)
        assert sorted(snapshot.rank) == list(range(len(snapshot.nodes)))


def test_what_changed_is_still_known_when_the_ring_of_changes_grows():
    """A change stands at its number modulo the length, which is another place in a longer ring."""
    engine = living(*[node(f"n{i}") for i in range(2040)])
    for i in range(4500):
        change(engine, C.UNCORDON, f"n{i % 2000}")
    before, version = len(engine.table.state.changed), engine.version
    for i in range(20):
        change(engine, C.JOIN, f"x{i}", node(f"x{i}"))
    assert len(engine.table.state.changed) > before
    found = engine.snapshot().changed_since(version - 3)
    assert found is not None
    assert found.tolist() == [497, 498, 499, *range(2040, 2060)]


def test_metrics_see_a_node_that_changes_and_one_that_comes_back():
    from cerebrum.engine.series import series

    events = (
        NodeEvent(2.0, C.UPDATE, "a", node("a", cpu=8)),
        NodeEvent(4.0, C.FAIL, "b"),
        NodeEvent(6.0, C.JOIN, "b", node("b", cpu=2)),
    )
    story = scenario(
        [node("a", cpu=4), node("b", cpu=4)], [task("t", cpu=3, runs=9.0)], node_events=events
    )
    found = series(story, simulate(story).engine.log)
    assert found.columns["cpu_capacity_milli"].tolist() == [8000, 12000, 8000, 10000, 10000]
    assert found.columns["cpu_milli"].tolist() == [3000, 3000, 3000, 3000, 0]
    assert [n.name for n in found.nodes] == ["a", "b", "b"]


# -- constraints against their naive twin ---------------------------------------------------------

KEYS = ("disk", "size", "zone")
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["ssd", "2", "10", ""]))
taints = st.lists(
    st.builds(
        Taint,
        st.sampled_from(["k", "gpu"]),
        st.sampled_from(["", "v"]),
        st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    max_size=2,
).map(tuple)
values = st.lists(st.sampled_from(["ssd", "2", "n1", "n3"]), min_size=1, max_size=2).map(tuple)
some = st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(["In", "NotIn"]), values)
any_ = st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(["Exists", "DoesNotExist"]))
sized = st.builds(Requirement, st.just("size"), st.sampled_from(["Gt", "Lt"]), st.just(("5",)))
named = st.builds(
    Requirement,
    st.sampled_from(["metadata.name", "spec.other"]),
    st.sampled_from(["In", "NotIn"]),
    values,
)
terms = st.builds(
    Term,
    st.lists(st.one_of(some, any_, sized), max_size=2).map(tuple),
    st.lists(named, max_size=1).map(tuple),
)
tolerations = st.builds(
    Toleration, st.sampled_from(["", "k", "gpu"]), st.sampled_from(["Equal", "Exists"])
)
constraint_sets = st.builds(
    Constraints,
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(["ssd", "2"])), max_size=1).map(
        tuple
    ),
    st.lists(terms, max_size=2).map(tuple),
    st.lists(st.tuples(st.integers(1, 100), terms), max_size=2).map(tuple),
    st.lists(tolerations, max_size=2).map(tuple),
)


@st.composite
def nodes_and_sets(draw):
    """Nodes that join, change and go, and constraints that come, in some order."""
    steps, n = [], 0
    for _ in range(draw(st.integers(1, 25))):
        what = draw(st.sampled_from(["join", "join", "update", "set", "fail"]))
        name = f"n{n if what == 'join' else draw(st.integers(0, 8))}"
        n += what == "join"
        if what == "set":
            steps.append((what, name, draw(constraint_sets)))
        else:
            described = node(name, labels=draw(labels), taints=draw(taints))
            steps.append((what, name, described))
    return steps


@settings(quick, max_examples=150)
@given(nodes_and_sets(), st.booleans())
def test_masks_say_what_the_constraints_say_of_each_node(steps, reuse):
    engine, sets = living(reuse_rows=reuse), {}
    for i, (what, name, thing) in enumerate(steps):
        if what == "set":
            table = TaskTable.from_tasks([task(f"t{i}", constraints=thing)])
            sets[int(engine.admit(table)[0])] = thing
        elif what == "join":
            change(engine, C.JOIN, name, thing)
        elif name in engine.fleet.rows:
            change(engine, C.UPDATE if what == "update" else C.FAIL, name, thing)
    _check_masks(engine, sets)


def _check_masks(engine: Engine, sets: dict[int, Constraints]) -> None:
    snapshot, s = engine.snapshot(), engine.table.state
    for number, constraints in sets.items():
        class_id = int(snapshot.tasks.class_id[number])
        first = int(snapshot.classes[class_id]["constraints"]) * int(s.counts[at.STRIDE])
        for name, row in engine.fleet.rows.items():
            bits, preference, disliked = judge_one(constraints, engine.nodes[row])
            assert s.forbidden[first + row] == bits, (name, constraints)
            assert snapshot.allowed(class_id)[row] == (bits == 0)
            if s.counts[at.LABELLED]:
                found = s.preference[first + row], s.disliked[first + row]
                assert found == (preference, disliked)
            else:
                assert (preference, disliked) == (0, 0)


# -- decisions -------------------------------------------------------------------------------------


@st.composite
def worlds(draw):
    """Steps of a cluster in which nodes and task classes keep coming."""
    kinds = st.sampled_from(["task", "task", "task", "join", "update", "fail", "end", "cordon"])
    steps = draw(st.lists(st.tuples(kinds, st.integers(0, 11)), min_size=5, max_size=40))
    return steps, draw(st.sampled_from(["first", "name", "next", "random"]))


def lead(steps, decide) -> Engine:
    engine = living(node("n0", cpu=4), node("n1", cpu=4, labels={"disk": "ssd"}))
    for i, (what, number) in enumerate(steps):
        now_s, name = float(i), f"n{number % 6}"
        disk = {"disk": "ssd"} if number % 2 else {}
        there = name in engine.fleet.rows
        snapshot = engine.snapshot()
        if what == "task":
            wants = Constraints(selector=(("disk", "ssd"),)) if number % 3 == 0 else Constraints()
            cpu = 0.25 * (1 + (i * 7 + number) % 9)  # classes nobody saw before
            come(engine, task(f"t{i}", cpu, now_s, constraints=wants), now_s=now_s)
        elif what == "join" and not there:
            change(engine, C.JOIN, name, node(name, 2 + number % 4, labels=disk), now_s)
        elif what == "update" and there:
            change(engine, C.UPDATE, name, node(name, 1 + number % 5, labels=disk), now_s)
        elif what == "cordon" and there:
            change(engine, C.CORDON if number % 2 else C.UNCORDON, name, None, now_s)
        elif what == "end" and len(snapshot.running):
            engine.apply(Event(now_s, K.FINISHED, int(snapshot.running[0])))
            engine.retire(snapshot.running[:1])
        elif what == "fail" and there:
            row = engine.row_of(name)
            for running in np.flatnonzero(snapshot.tasks.row == row):
                engine.apply(Event(now_s, K.FAILED, int(running)))
            change(engine, C.FAIL, name, None, now_s)
        decide(engine, now_s)
    return engine


@quick
@given(worlds())
def test_a_memo_kept_through_changes_of_nodes_decides_like_a_fresh_one(world):
    steps, ties = world
    kept = policy(emptiest, ties=ties)
    remembering = lead(steps, lambda engine, now_s: place(engine, kept, now_s))
    fresh = Fresh(emptiest, ties=ties)
    forgetful = lead(steps, lambda engine, now_s: place(engine, fresh, now_s))
    assert remembering.log.digest == forgetful.log.digest


@quick
@given(worlds())
def test_what_is_free_is_capacity_without_what_runs(world):
    kept = policy(emptiest)
    engine = lead(world[0], lambda engine, now_s: place(engine, kept, now_s))
    snapshot = engine.snapshot()
    for name, row in engine.fleet.rows.items():
        there = np.flatnonzero(snapshot.tasks.row == row)
        used = snapshot.classes["cpu_milli"][snapshot.tasks.class_id[there]].sum()
        assert snapshot.nodes[row]["cpu_milli"] == engine.nodes[row].capacity.cpu_milli
        assert snapshot.nodes[row]["cpu_free"] == engine.nodes[row].capacity.cpu_milli - used, name


def test_a_simulation_with_a_node_that_changes_replays():
    larger = replace(node("a", cpu=2), labels={"disk": "ssd"})
    story = scenario(
        [node("a", cpu=1)],
        [task("t", cpu=2, runs=3.0)],
        node_events=(NodeEvent(5.0, C.UPDATE, "a", larger),),
    )
    run = simulate(story)
    again = Engine(story)
    again.replay(run.engine.log)
    assert again.log.digest == run.engine.log.digest
    assert again.done
    assert run.engine.log.of(K.BOUND)["time_s"].tolist() == [5.0]
