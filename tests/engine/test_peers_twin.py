"""Rules about other tasks against their naive twin: verdicts node by node, whole simulations."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.executors.simulated import Simulation
from cerebrum.model.events import Event, EventKind, Refusal
from tests.engine.peer_worlds import peer_stories, some_nodes, some_tasks
from tests.engine.stories import emptiest, fullest, policy, scenario, simulate
from tests.engine.test_twins import happened
from tests.naive import peers as naive

quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
OF_PEERS = (
    Refusal.POD_AFFINITY | Refusal.POD_ANTI_AFFINITY | Refusal.EXISTING_ANTI_AFFINITY
    | Refusal.SPREAD | Refusal.SPREAD_LABEL | Refusal.HOST_PORT | Refusal.EXCLUSIVE
)  # fmt: skip


def judged(engine: Engine, task: int) -> list[int]:
    """What rules about other tasks say of each node, as Refusal bits."""
    return [int(bits) & int(OF_PEERS) for bits in engine.snapshot().refusals(task)]


def running(engine: Engine) -> naive.Running:
    tasks, rows = engine.scenario.tasks, engine.snapshot().tasks.row
    return [(tasks[i], int(row)) for i, row in enumerate(rows) if row >= 0]


def by_hand(engine: Engine, task: int) -> list[int]:
    nodes, asked = engine.nodes, engine.scenario.tasks[task]
    return [int(naive.verdict(asked, row, nodes, running(engine))) for row in range(len(nodes))]


@quick
@given(some_nodes(), some_tasks(), st.data())
def test_every_node_is_judged_as_by_hand(nodes, tasks, data):
    """Tasks are put anywhere, rules or not (seen outside), end again; all others are judged."""
    engine = Engine(scenario(nodes, tasks))
    for i in range(len(tasks)):
        engine.apply(Event(0.0, EventKind.SUBMITTED, i))
    bound = data.draw(st.lists(st.sampled_from(range(len(tasks))), unique=True)) if tasks else []
    for i in bound:
        row = data.draw(st.sampled_from(range(len(nodes))))
        force(engine, i, row)
    for i in np.flatnonzero(engine.snapshot().tasks.row >= 0).tolist():
        if data.draw(st.integers(0, 3)) == 0:
            engine.apply(Event(0.0, EventKind.PREEMPTED, i))
    for i in range(len(tasks)):
        assert judged(engine, i) == by_hand(engine, i), tasks[i]


def force(engine: Engine, task: int, row: int) -> None:
    """Bind where there is room; rules are suspended, as for a bind seen outside."""
    s = engine.table.state
    was, s.p_counts[0] = int(s.p_counts[0]), 0
    if engine.snapshot().refusals(task)[row] == 0:
        engine.apply(Event(0.0, EventKind.BOUND, task, row))
        s.p_counts[0] = was
        from cerebrum.engine.peers import count_task

        count_task(engine.table.handle, task, row, 1)
    s.p_counts[0] = was


@quick
@given(peer_stories(), st.sampled_from(["skip", "block", "reject"]))
def test_the_engine_places_as_its_naive_twin(story, discipline):
    compiled = simulate(story, policy(queue=discipline))
    assert happened(compiled.engine.log) == naive.run(story, discipline)


@quick
@given(
    peer_stories(),
    st.sampled_from(["skip", "block", "reject"]),
    st.sampled_from(["first", "name", "random", "next"]),
)
def test_compiled_stepped_and_replayed_logs_are_one(story, discipline, ties):
    rules = {"queue": discipline, "ties": ties}
    compiled = simulate(story, policy(emptiest, **rules), seed=7).engine.log
    stepped = simulate(story, policy(emptiest, **rules), compiled=False, seed=7).engine.log
    replayed = Engine(story)
    replayed.replay(compiled)
    assert compiled.digest == stepped.digest == replayed.log.digest


class Forgetful:
    """Remembers nothing from one decision to the next."""

    name = "forgetful"

    def decide(self, snapshot):
        return policy(fullest).decide(snapshot)


@settings(quick, max_examples=40)
@given(peer_stories())
def test_what_is_remembered_never_changes_a_decision(story):
    remembering = simulate(story, policy(fullest)).engine.log
    assert remembering.digest == simulate(story, Forgetful()).engine.log.digest


@quick
@given(peer_stories())
def test_no_bind_ever_breaks_a_rule(story):
    """Also with preemption: each bind is judged by hand just before it is applied."""
    simulation = Simulation(story, np.random.default_rng(1))
    chosen = policy(fullest, preempt=True)
    while (snapshot := simulation.next_snapshot()) is not None:
        while decision := chosen.decide(snapshot):
            snapshot = simulation.act(decision)
    engine = Engine(story)
    for row in simulation.engine.log.rows:
        event = Event(
            float(row["time_s"]), EventKind(int(row["kind"])), int(row["subject"]),
            int(row["row"]), int(row["gpus"]), int(row["reason"]), int(row["cache_ways"]),
            float(row["value"]),
        )  # fmt: skip
        if event.kind == EventKind.BOUND:
            assert by_hand(engine, event.subject)[event.row] == 0
        engine.apply(event)
