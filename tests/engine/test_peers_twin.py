"""Rules about other tasks against their naive twin: verdicts node by node, whole simulations."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.executors.simulated import Simulation
from cerebrum.model.decisions import Bind, Preempt
from cerebrum.model.events import Event, EventKind, Refusal
from tests.engine.peer_worlds import peer_stories, some_nodes, some_tasks
from tests.engine.stories import emptiest, fullest, policy, scenario, simulate
from tests.engine.test_twins import happened
from tests.naive import peers as naive
from tests.naive import scheduler as naive_scheduler

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
OF_PEERS = (
    Refusal.POD_AFFINITY | Refusal.POD_ANTI_AFFINITY | Refusal.EXISTING_ANTI_AFFINITY
    | Refusal.SPREAD | Refusal.SPREAD_LABEL | Refusal.HOST_PORT | Refusal.EXCLUSIVE
)  # fmt: skip


def judged(engine: Engine, task: int) -> list[int]:
    """What rules about other tasks say of each node, as Refusal bits."""
    return [int(bits) & int(OF_PEERS) for bits in engine.snapshot().refusals(task)]


def by_hand(engine: Engine, task: int) -> list[int]:
    """The same of the nodes that are there, from descriptions."""
    rows = [row for row in range(len(engine.nodes)) if engine.table.state.present[row]]
    nodes, asked = [engine.nodes[row] for row in rows], engine.scenario.tasks[task]
    here = [(other, rows.index(row)) for other, row in running(engine)]
    return [int(naive.verdict(asked, at, nodes, here)) for at in range(len(nodes))]


def running(engine: Engine) -> naive.Running:
    tasks, rows = engine.scenario.tasks, engine.snapshot().tasks.row
    return [(tasks[i], int(row)) for i, row in enumerate(rows) if row >= 0]


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
        engine.apply(Event(0.0, EventKind.BOUND, i, row, value=1.0))
    for i in np.flatnonzero(engine.snapshot().tasks.row >= 0).tolist():
        if data.draw(st.integers(0, 3)) == 0:
            engine.apply(Event(0.0, EventKind.PREEMPTED, i))
    for i in range(len(tasks)):
        assert judged(engine, i) == by_hand(engine, i), tasks[i]


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


@quick
@given(some_nodes(), some_tasks(), st.data())
def test_victims_are_those_found_by_hand(nodes, tasks, data):
    """Tasks run anywhere; an important one comes, and may stop others on one node."""
    tasks = [dataclasses.replace(t, preemptible=data.draw(st.booleans())) for t in tasks]
    comer = data.draw(some_tasks(most=1).filter(bool))[0]
    comer = dataclasses.replace(comer, name="comer", priority=data.draw(st.integers(1, 3)), job="")
    engine = Engine(scenario(nodes, [*tasks, comer]))
    for i in range(len(tasks)):
        row = data.draw(st.sampled_from(range(len(nodes))))
        engine.apply(Event(0.0, EventKind.SUBMITTED, i))
        engine.apply(Event(0.0, EventKind.BOUND, i, row, value=1.0))
    engine.apply(Event(0.0, EventKind.SUBMITTED, len(tasks)))
    snapshot = engine.snapshot()
    if (snapshot.refusals(len(tasks)) == 0).any():
        return
    engine.apply(Event(0.0, EventKind.UNSCHEDULABLE, len(tasks)))
    decision = policy(fullest, preempt=True).decide(engine.snapshot())
    stopped = {a.task for a in decision.actions if isinstance(a, Preempt)}
    rows = [a.row for a in decision.actions if isinstance(a, Bind)]
    assert (stopped, rows) == best_victims(engine, comer)


def best_victims(engine: Engine, comer) -> tuple[set[int], list[int]]:
    """By hand: the victims of every node, and the node that kube-scheduler would take."""
    nodes, names, found = engine.nodes, list(engine.scenario.tasks.names), []
    placed = sorted(running(engine), key=lambda p: -p[0].priority)  # equal ones by id

    for row, node in enumerate(nodes):

        def fits(stopped, row=row, node=node):
            room = naive_scheduler.Room(node, row)
            for other, r in placed:
                if r == row and other not in stopped:
                    room.add(other, [])
            return room.takes(comer)

        chosen = naive.victims(comer, row, nodes, placed, fits)
        if chosen is not None:
            priorities = [victim.priority for victim in chosen]
            key = (max(priorities, default=-(2**31)), sum(priorities), len(priorities), row)
            found.append((key, chosen))
    if not found:
        return set(), []
    key, chosen = min(found, key=lambda pair: pair[0])
    return {names.index(victim.name) for victim in chosen}, [key[-1]]
