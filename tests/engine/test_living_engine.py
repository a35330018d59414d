"""An engine that lives for weeks: tasks come while it runs, wait for each other, end early."""

import numpy as np
import pytest

from cerebrum.engine.engine import Engine
from cerebrum.engine.metrics import task_columns
from cerebrum.model.decisions import Bind
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.tasks import TaskTable
from tests.engine import stories
from tests.engine.stories import node, policy, scenario, task

K = EventKind


def living(*nodes) -> Engine:
    return Engine(scenario(list(nodes), []))


def bind_all(engine: Engine, chosen, now_s: float) -> list[Bind]:
    """Bind and start whatever the policy places now."""
    binds: list[Bind] = []
    while decision := chosen.decide(engine.snapshot()):
        for action in decision.actions:
            if isinstance(action, Bind):
                binds.append(action)
                engine.apply(Event(now_s, K.BOUND, action.task, action.row, action.gpus))
                engine.apply(Event(now_s, K.STARTED, action.task))
            else:
                engine.apply(Event(now_s, K.UNSCHEDULABLE, action.task, reason=action.reason))
    return binds


def test_tasks_join_a_living_engine_and_are_placed_like_those_known_from_the_start():
    later = [task(f"t{i}", cpu=1 + i % 3, at=float(i)) for i in range(9)]
    nodes = [node("a", cpu=4), node("b", cpu=8)]
    known = stories.simulate(scenario(nodes, later))
    engine, chosen = living(*nodes), policy()
    for i, new in enumerate(later):
        ids = engine.admit(TaskTable.from_tasks([new]))
        assert list(ids) == [i]
        engine.apply(Event(float(i), K.SUBMITTED, i))
        bind_all(engine, chosen, float(i))
    told = [[(int(r["subject"]), int(r["row"])) for r in log.of(K.BOUND)]
            for log in (known.engine.log, engine.log)]  # fmt: skip
    assert told[0] == told[1]
    assert np.array_equal(known.engine.table.state.nodes["cpu_free"],
                          engine.table.state.nodes["cpu_free"])  # fmt: skip


def test_what_runs_is_not_disturbed_by_what_is_admitted():
    engine, chosen = living(node("a", cpu=4)), policy()
    engine.admit(TaskTable.from_tasks([task("first", cpu=3)]))
    engine.apply(Event(0.0, K.SUBMITTED, 0))
    bind_all(engine, chosen, 0.0)
    engine.admit(TaskTable.from_tasks([task("second", cpu=2), task("third", cpu=3)]))
    assert engine.snapshot().tasks.row.tolist() == [0, -1, -1]
    assert len(engine.scenario.tasks.classes) == 2  # first and third are alike
    engine.apply(Event(1.0, K.SUBMITTED, 2))
    assert bind_all(engine, chosen, 1.0) == []
    engine.apply(Event(2.0, K.FINISHED, 0))
    assert [b.task for b in bind_all(engine, chosen, 2.0)] == [2]
    with pytest.raises(InputError, match="'first' is named twice"):
        engine.admit(TaskTable.from_tasks([task("first")]))


def test_a_blocked_task_is_not_placed_before_it_is_ready():
    engine, chosen = living(node("a", cpu=4)), policy()
    engine.admit(TaskTable.from_tasks([task("before"), task("after")]))
    engine.apply(Event(0.0, K.SUBMITTED, 1, value=1.0))
    assert bind_all(engine, chosen, 0.0) == []
    assert engine.table.state.t_state[1] == TaskState.BLOCKED
    assert task_columns(engine.scenario, engine.log)["state"][1] == TaskState.BLOCKED
    engine.apply(Event(1.0, K.READY, 1))
    assert [b.task for b in bind_all(engine, chosen, 1.0)] == [1]
    with pytest.raises(InvalidEvent, match="state does not allow"):
        engine.apply(Event(2.0, K.READY, 1))


def test_a_cancelled_task_is_terminal_whether_it_waited_or_was_blocked():
    engine, chosen = living(node("a", cpu=1)), policy()
    engine.admit(TaskTable.from_tasks([task("runs"), task("waits"), task("blocked")]))
    for i, blocked in enumerate((0.0, 0.0, 1.0)):
        engine.apply(Event(0.0, K.SUBMITTED, i, value=blocked))
    bind_all(engine, chosen, 0.0)
    with pytest.raises(InvalidEvent, match="cancelled of task 'runs'"):
        engine.apply(Event(1.0, K.CANCELLED, 0))  # its executor has to end it first
    engine.apply(Event(1.0, K.PREEMPTED, 0))
    for i in range(3):
        engine.apply(Event(1.0, K.CANCELLED, i))
    assert engine.done
    assert engine.table.state.nodes["cpu_free"][0] == 1000
    assert len(engine.snapshot().pending) == 0
    states = task_columns(engine.scenario, engine.log)["state"]
    assert states.tolist() == [TaskState.CANCELLED] * 3


def test_a_failure_can_be_final_before_the_attempts_are_used_up():
    engine, chosen = living(node("a", cpu=1)), policy()
    engine.admit(TaskTable.from_tasks([task("t")]))
    engine.apply(Event(0.0, K.SUBMITTED, 0))
    bind_all(engine, chosen, 0.0)
    engine.apply(Event(1.0, K.FAILED, 0))
    assert engine.table.state.t_state[0] == TaskState.PENDING
    bind_all(engine, chosen, 1.0)
    engine.apply(Event(2.0, K.FAILED, 0, value=1.0))
    assert engine.done
    assert task_columns(engine.scenario, engine.log)["state"][0] == TaskState.FAILED


def test_the_log_of_a_living_engine_replays_on_the_tasks_it_ended_with():
    engine, chosen = living(node("a", cpu=4), node("b", cpu=2)), policy()
    for i in range(6):
        engine.admit(TaskTable.from_tasks([task(f"t{i}", cpu=1 + i % 2)]))
        engine.apply(Event(float(i), K.SUBMITTED, i))
        bind_all(engine, chosen, float(i))
        if i == 3:
            engine.apply(Event(3.5, K.FINISHED, 0))
    again = Engine(engine.scenario)
    again.replay(engine.log)
    assert np.array_equal(again.snapshot().tasks.row, engine.snapshot().tasks.row)
    assert np.array_equal(again.table.state.nodes["cpu_free"], engine.table.state.nodes["cpu_free"])


def test_a_task_that_came_back_stands_in_the_queue_once():
    engine, chosen = living(node("a", cpu=1)), policy()
    engine.admit(TaskTable.from_tasks([task("t0"), task("t1"), task("t2")]))
    for i in range(3):
        engine.apply(Event(0.0, K.SUBMITTED, i))
    for time_s in range(1, 200):  # more often than the queue has room for stale entries
        bind_all(engine, chosen, float(time_s))
        engine.apply(Event(float(time_s), K.FAILED, 0) if time_s < 9 else
                     Event(float(time_s), K.PREEMPTED, 0))  # fmt: skip
        assert engine.snapshot().pending.tolist() == [0, 1, 2]
    assert engine.table.state.counts[1] <= len(engine.table.state.pending)
