"""Tasks of an engine that lives for months: they come, end, and give their places to others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine import state as at
from cerebrum.engine.engine import Engine
from cerebrum.model.decisions import Bind
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.peers import TaskLabels
from cerebrum.model.tasks import TaskTable
from tests.engine.stories import node, policy, scenario, task

K = EventKind
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def living(*nodes) -> Engine:
    return Engine(scenario(list(nodes), []))


def come(engine: Engine, *tasks, now_s: float = 0.0, gangs=None) -> list[int]:
    ids = engine.admit(TaskTable.from_tasks(tasks, gangs)).tolist()
    for number in ids:
        engine.apply(Event(now_s, K.SUBMITTED, number))
    return ids


def place(engine: Engine, chosen, now_s: float) -> dict[str, str]:
    """Bind and start what the policy places now: task -> node."""
    placed = {}
    while decision := chosen.decide(engine.snapshot()):
        for action in decision.actions:
            if isinstance(action, Bind):
                engine.apply(Event(now_s, K.BOUND, action.task, action.row, action.gpus))
                engine.apply(Event(now_s, K.STARTED, action.task))
                snapshot = engine.snapshot()
                placed[snapshot.task_names[action.task]] = snapshot.node_names[action.row]
            else:
                engine.apply(Event(now_s, K.UNSCHEDULABLE, action.task, reason=action.reason))
    return placed


def end(engine: Engine, *ids: int, now_s: float) -> None:
    for number in ids:
        engine.apply(Event(now_s, K.FINISHED, number))
    engine.retire(ids)


def test_a_retired_task_frees_its_name_and_the_lowest_free_id_is_used_first():
    engine, chosen = living(node("a", cpu=8)), policy()
    first = come(engine, *[task(f"t{i}") for i in range(5)])
    place(engine, chosen, 0.0)
    with pytest.raises(InputError, match="'t3' is named twice"):
        engine.admit(TaskTable.from_tasks([task("t3")]))
    end(engine, first[3], first[1], now_s=1.0)
    ids = engine.admit(TaskTable.from_tasks([task("t3", cpu=2), task("new"), task("last")]))
    assert ids.dtype == np.int64
    assert ids.tolist() == [1, 3, 5]
    snapshot = engine.snapshot()
    assert [snapshot.task_names[i] for i in ids] == ["t3", "new", "last"]
    assert snapshot.tasks.attempts[ids].tolist() == [0, 0, 0]
    assert np.isnan(snapshot.tasks.started_s[ids]).all()
    assert len(snapshot.tasks.state) == 6


def test_what_has_not_ended_cannot_be_retired_and_nothing_changes():
    engine, chosen = living(node("a", cpu=1)), policy()
    runs, waits = come(engine, task("runs"), task("waits"))
    place(engine, chosen, 0.0)
    for ids, why in (([runs], "has not ended"), ([waits], "has not ended"), ([7], "no task 7")):
        with pytest.raises(InvalidEvent, match=why):
            engine.retire(ids)
    engine.apply(Event(1.0, K.FINISHED, runs))
    with pytest.raises(InvalidEvent, match="'waits' cannot be retired"):
        engine.retire([runs, waits])
    engine.retire([runs])
    with pytest.raises(InvalidEvent, match="retired before"):
        engine.retire([runs])
    with pytest.raises(InvalidEvent, match="there is no task"):
        engine.apply(Event(2.0, K.SUBMITTED, runs))


def test_counts_stay_right_and_a_task_never_submitted_can_be_retired():
    engine = living(node("a", cpu=2))
    ids = engine.admit(TaskTable.from_tasks([task("seen"), task("never")]))
    engine.apply(Event(0.0, K.SUBMITTED, 0))
    engine.apply(Event(0.0, K.CANCELLED, 0))
    assert not engine.done
    engine.retire(ids)
    assert engine.done
    assert engine.table.state.counts[at.TERMINAL] == 0


def test_an_id_that_left_the_queue_does_not_come_back_at_its_old_place():
    """Its entry in the queue outlives it; used again, the id must not be found there."""
    engine, chosen = living(node("a", cpu=1)), policy()
    come(engine, task("urgent", priority=9), task("waits", priority=1))
    assert place(engine, chosen, 0.0) == {"urgent": "a"}
    end(engine, 0, now_s=1.0)
    assert come(engine, task("late", at=5.0), now_s=1.0) == [0]
    assert engine.snapshot().pending.tolist() == [1, 0]
    assert place(engine, chosen, 1.0) == {"waits": "a"}


def test_a_gang_whose_members_come_one_by_one_is_one_gang():
    engine, chosen = living(node("a", cpu=4)), policy()
    come(engine, task("g0", job="group"), gangs={"group": 2})
    assert place(engine, chosen, 0.0) == {}
    come(engine, task("other", job="others"), gangs={"others": 2})
    come(engine, task("g1", job="group"), gangs={"group": 2})
    assert place(engine, chosen, 0.0) == {"g0": "a", "g1": "a"}
    assert engine.snapshot().gang(0)[1].tolist() == [0, 2]


def test_a_job_without_members_gives_up_its_name_and_its_id():
    engine, chosen = living(node("a", cpu=4)), policy()
    ids = come(engine, *[task(f"g{i}", job="group") for i in range(2)], gangs={"group": 2})
    come(engine, *[task(f"h{i}", job="second") for i in range(2)], gangs={"second": 2})
    place(engine, chosen, 0.0)
    end(engine, *ids, now_s=1.0)
    again = come(engine, task("x", job="third"), now_s=1.0, gangs={"third": 3})
    snapshot = engine.snapshot()
    assert snapshot.tasks.job_id[again].tolist() == [0]
    assert snapshot.gang(0)[0] == 3
    assert snapshot.gang(0)[1].tolist() == again
    assert snapshot.gang(1)[1].tolist() == [2, 3]


def test_members_of_jobs_that_grow_and_shrink_stay_together():
    """The array of members is moved about; a plain dictionary says who belongs where."""
    rng, engine = np.random.default_rng(3), living(node("a", cpu=1))
    belongs: dict[str, list[int]] = {}
    for step in range(400):
        job = f"j{rng.integers(6)}"
        if rng.random() < 0.55 or not belongs.get(job):
            table = TaskTable.from_tasks([task(f"t{step}", job=job)])
            belongs.setdefault(job, []).append(int(engine.admit(table)[0]))
        else:
            members = belongs[job]
            gone = members.pop(int(rng.integers(len(members))))
            engine.retire([gone])
        snapshot = engine.snapshot()
        for members in belongs.values():
            if members:
                found = snapshot.gang(int(snapshot.tasks.job_id[members[0]]))[1]
                assert found.tolist() == members
    assert len(engine.table.state.members) < 2000


def test_the_engine_does_not_grow_with_what_has_been():
    engine, chosen = living(node("a", cpu=4)), policy()
    for i in range(300):
        ids = come(engine, task(f"t{i}", cpu=1 + i % 3), task(f"u{i}"), now_s=float(i))
        assert len(place(engine, chosen, float(i))) == 2
        end(engine, *ids, now_s=float(i))
    assert len(engine.snapshot().tasks.state) == 2
    assert len(engine.table.state.t_row) <= 16
    assert len(engine.table.state.pending) == 64
    assert engine.table.state.nodes["cpu_free"][0] == 4000


def test_the_scenario_of_a_living_engine_names_everybody_once():
    engine = living(node("a", cpu=4))
    web = TaskLabels(labels=(("app", "web"),))
    engine.admit(TaskTable.from_tasks([task("x", labels=web), task("y", at=3.0)]))
    engine.retire([0])
    engine.admit(TaskTable.from_tasks([task("z", job="j"), task("x", labels=web)]))
    tasks = engine.scenario.tasks
    assert list(tasks.names) == ["z", "y", "x"]
    assert tasks[2].labels == web
    assert tasks[0].job == "j"
    assert engine.scenario is engine.scenario
    engine.retire([1])
    assert list(engine.scenario.tasks.names) == ["z", "y (retired, 1)", "x"]


def test_the_log_can_be_handed_over_piece_by_piece():
    engine, chosen = living(node("a", cpu=4)), policy()
    again = living(node("a", cpu=4))
    for i in range(3):
        new = TaskTable.from_tasks([task(f"t{i}")])
        engine.admit(new)
        again.admit(new)
        engine.apply(Event(float(i), K.SUBMITTED, i))
        place(engine, chosen, float(i))
        log, _ = engine.drain_log()
        assert len(log) == 3
        again.replay(log)
    assert len(engine.log) == 0
    assert np.array_equal(again.snapshot().tasks.row, engine.snapshot().tasks.row)


# -- whatever happens -----------------------------------------------------------------------------


@st.composite
def lives(draw):
    """What happens to an engine: (what, number) steps."""
    steps = st.tuples(st.sampled_from(["come", "come", "end", "fail", "retire"]), st.integers(0, 9))
    return draw(st.lists(steps, min_size=5, max_size=40))


CLUSTER = node("a", cpu=4, gpus=2), node("b", cpu=6, labels={"disk": "ssd"})


def live(steps, decide, make=Engine) -> Engine:
    """Lead a life; `decide(engine, now_s)` places tasks after each step."""
    engine = make(scenario(CLUSTER, []))
    for i, (what, number) in enumerate(steps):
        now_s = float(i)
        state = engine.snapshot().tasks.state
        running = np.flatnonzero(state == TaskState.RUNNING)
        ended = np.flatnonzero(state >= TaskState.SUCCEEDED)
        if what == "come":
            gpus = number % 3
            job = f"j{number % 2}" if number > 6 else ""
            new = [task(f"t{i}-{k}", 1 + number % 4, now_s, gpus=gpus, job=job) for k in range(2)]
            come(engine, *new, now_s=now_s, gangs={job: 2} if job else None)
        elif what in ("end", "fail") and len(running):
            kind = K.FINISHED if what == "end" else K.FAILED
            engine.apply(Event(now_s, kind, int(running[number % len(running)])))
        elif what == "retire" and len(ended):
            engine.retire(ended[: 1 + number])
        decide(engine, now_s)
    return engine


@quick
@given(lives())
def test_a_memo_kept_through_it_all_decides_like_a_fresh_one(steps):
    kept = policy()
    remembering = live(steps, lambda engine, now_s: place(engine, kept, now_s))
    forgetful = live(steps, lambda engine, now_s: place(engine, Fresh(), now_s))
    assert remembering.log.digest == forgetful.log.digest


class Fresh:
    """Remembers nothing from one decision to the next."""

    def __init__(self, *score, **rules):
        self._made_of = score, rules

    def decide(self, snapshot):
        score, rules = self._made_of
        return policy(*score, **rules).decide(snapshot)


class Journaled(Engine):
    """Writes down what it was told, in order."""

    def __init__(self, story):
        super().__init__(story)
        self.journal = []

    def admit(self, tasks):
        self.journal += [self.drain_log()[0], ("admit", tasks)]
        return super().admit(tasks)

    def retire(self, ids):
        self.journal += [self.drain_log()[0], ("retire", np.array(ids))]
        super().retire(ids)


@quick
@given(lives())
def test_the_same_admissions_and_retirements_give_the_same_state(steps):
    chosen = policy()
    engine = live(steps, lambda engine, now_s: place(engine, chosen, now_s), Journaled)
    again = Engine(scenario(CLUSTER, []))
    for entry in [*engine.journal, engine.drain_log()[0]]:
        if isinstance(entry, tuple):
            getattr(again, entry[0])(entry[1])
        else:
            again.replay(entry)
    again.drain_log()
    for name in ("t_state", "t_row", "t_gpus", "t_job", "t_attempts", "members", "nodes"):
        left, right = getattr(engine.table.state, name), getattr(again.table.state, name)
        assert left.tobytes() == right.tobytes(), name
    assert np.array_equal(engine.snapshot().pending, again.snapshot().pending)
    assert list(engine.snapshot().task_names) == list(again.snapshot().task_names)
    _check(again)


def _check(engine: Engine) -> None:
    """What is free on nodes and what is counted follows from the tasks there are."""
    snapshot = engine.snapshot()
    state, row = snapshot.tasks.state, snapshot.tasks.row
    for at_row, record in enumerate(snapshot.nodes):
        there = np.flatnonzero(row == at_row)
        used = snapshot.classes["cpu_milli"][snapshot.tasks.class_id[there]].sum()
        assert record["cpu_milli"] - record["cpu_free"] == used
    counts = engine.table.state.counts
    assert counts[at.TERMINAL] == np.count_nonzero(state >= TaskState.SUCCEEDED)
    assert counts[at.RUNNING] == np.count_nonzero(row >= 0)
    assert set(snapshot.pending) == set(np.flatnonzero(state == TaskState.PENDING))
