"""Scores of every node for one task, for those who choose the node themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental
from cerebrum.model.events import Event, EventKind
from cerebrum.model.peers import UNLABELLED, PeerRules, PeerTerm
from cerebrum.model.tasks import TaskTable
from cerebrum.policies import get_policy
from tests.engine.peer_worlds import about, labels, peer_task
from tests.engine.stories import node, scenario, task

K = EventKind
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
POLICIES = ("best_fit", "kubernetes_default")


def incremental(name: str) -> Incremental:
    policy = get_policy(name)
    assert isinstance(policy, Incremental)
    return policy


def world(frees: list[int]) -> Engine:
    """Nodes of eight cores on which so many are free."""
    nodes = [node(f"n{i}", cpu=8) for i in range(len(frees))]
    busy = [task(f"b{i}", cpu=8 - free) for i, free in enumerate(frees)]
    engine = Engine(scenario(nodes, busy))
    for i, free in enumerate(frees):
        engine.apply(Event(0.0, K.SUBMITTED, i))
        if free < 8:
            engine.apply(Event(0.0, K.BOUND, i, i))
        else:
            engine.apply(Event(0.0, K.CANCELLED, i))
    return engine


@pytest.mark.parametrize("name", POLICIES)
@quick
@given(frees=st.lists(st.integers(0, 8), min_size=1, max_size=9), cpu=st.integers(1, 6))
def test_the_totals_are_those_that_an_explanation_shows(name: str, frees: list[int], cpu: int):
    engine, policy = world(frees), incremental(name)
    probe = int(engine.admit(TaskTable.from_tasks([task("probe", cpu=cpu)]))[0])
    totals = policy.totals(engine.snapshot(), probe)
    shown = {r.row: r.total for r in policy.explain(engine.snapshot(), probe).rows}
    assert list(np.isneginf(totals)) == [free < cpu for free in frees]
    assert totals == pytest.approx([shown[row] for row in range(len(frees))])


def test_a_task_that_nobody_queued_is_scored_and_not_decided():
    engine, policy = world([8, 3, 0]), incremental("best_fit")
    probe = int(engine.admit(TaskTable.from_tasks([task("probe", cpu=2)]))[0])
    totals = policy.totals(engine.snapshot(), probe)
    assert int(np.argmax(totals)) == 1
    assert not policy.decide(engine.snapshot())
    engine.retire([probe])


def test_what_is_remembered_follows_what_happens():
    engine, policy = world([8, 3]), incremental("best_fit")
    probe, other = map(
        int,
        engine.admit(TaskTable.from_tasks([task("probe", cpu=2), task("other", cpu=2)])),
    )
    assert not np.isneginf(policy.totals(engine.snapshot(), probe)[1])
    engine.apply(Event(1.0, K.SUBMITTED, other))
    engine.apply(Event(1.0, K.BOUND, other, 1))
    assert np.isneginf(policy.totals(engine.snapshot(), probe)[1])


@pytest.mark.parametrize("name", POLICIES)
def test_rules_about_other_tasks_rule_nodes_out(name: str):
    apart = PeerRules(apart=(PeerTerm(about("web"), "host"),))
    hosts = [node(f"n{i}", cpu=8, labels={"host": f"n{i}"}) for i in range(3)]
    engine = Engine(scenario(hosts, [peer_task("w", apart, labels("web"))]))
    engine.apply(Event(0.0, K.SUBMITTED, 0))
    engine.apply(Event(0.0, K.BOUND, 0, 1))
    rows = TaskTable.from_tasks([
        peer_task("web", apart, labels("web")), peer_task("db", apart, UNLABELLED), task("any"),
    ])  # fmt: skip
    web, db, anything = map(int, engine.admit(rows))
    policy = incremental(name)
    out = [np.isneginf(policy.totals(engine.snapshot(), i)).tolist() for i in (web, db, anything)]
    assert out == [[False, True, False], [False, True, False], [False, False, False]]


def test_the_mask_is_the_one_a_bind_would_have():
    engine, policy = Engine(scenario([node("g", gpus=2)], [])), incremental("best_fit")
    small, large = map(
        int,
        engine.admit(TaskTable.from_tasks([task("s", gpu_milli=300), task("l", gpu_milli=800)])),
    )
    engine.apply(Event(0.0, K.SUBMITTED, small))
    mask = policy.gpus_on(engine.snapshot(), small, 0)
    engine.apply(Event(0.0, K.BOUND, small, 0, mask))
    assert mask in (1, 2)
    assert policy.gpus_on(engine.snapshot(), large, 0) == 3 - mask
    engine.apply(Event(0.0, K.SUBMITTED, large))
    engine.apply(Event(0.0, K.BOUND, large, 0, 3 - mask))
    assert policy.gpus_on(engine.snapshot(), large, 0) == -1
