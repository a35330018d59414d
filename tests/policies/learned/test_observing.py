"""What served models saw of the nodes they chose: the same numbers the network scored by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cerebrum import traces
from cerebrum.executors.simulated import Simulation
from cerebrum.learn.batch_queue import Window
from cerebrum.learn.job_sequences import as_scenario
from cerebrum.learn.usual import choices, with_usual
from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day
from cerebrum.policies.learned import job_features, node_features, node_scorer, serving
from cerebrum.policies.learned.artefact import Artefact, Statistics
from cerebrum.policies.learned.guards import Features, Limits
from cerebrum.policies.learned.job_order import Network
from cerebrum.policies.learned.ladder import Standing
from cerebrum.policies.learned.rollout import Rollout, beside
from cerebrum.policies.trial import Trial
from tests.policies.learned import bidders, made

WIDE = np.array([[-1e6], [1e6]])


def scorer(weights: Any = None) -> Artefact:
    """A node scorer; without weights it is FGD."""
    schema, count = node_features.SCHEMA, node_scorer.size(0)
    weights = np.zeros(count) if weights is None else weights
    prices = np.linspace(0.0, 1.0, node_features.PRICES)
    arrays = node_scorer.arrays_of(weights, prices)
    return Artefact(made.card(schema, kind="node-scorer"), arrays, made.statistics(schema))


def with_statistics(artefact: Artefact, seen: Any) -> Artefact:
    return replace(artefact, statistics=Statistics.of(np.asarray(seen, np.float64)))


def day(candidate: Any) -> Rollout:
    policy = beside(
        candidate, get_policy("best-fit"), Standing("on"), limits=Limits(window=10**6)
    )  # fmt: skip
    Trial(busy_day(), policy).run()
    return policy


def seen_by(artefact: Artefact) -> list[Any]:
    """The features of every node chosen on a day."""
    wide = with_statistics(artefact, np.repeat(WIDE, len(artefact.statistics), axis=1))
    policy: Any = serving.of_artefact(wide)
    hook, seen = policy.features_of, []
    policy.features_of = lambda *asked: seen.append(hook(*asked)) or seen[-1]
    assert day(policy).standing.trips == {}
    return seen


@pytest.mark.parametrize("make", [scorer, bidders.least_left])
def test_a_model_is_at_home_in_what_it_saw_and_a_stranger_elsewhere(make: Any):
    artefact = make()
    seen = seen_by(artefact)
    assert len(seen) > 40
    assert np.isfinite(seen).all()
    assert len(np.unique(seen, axis=0)) > 10
    at_home = day(serving.of_artefact(with_statistics(artefact, seen)))
    assert at_home.standing.trips == {}
    away = day(serving.of_artefact(with_statistics(artefact, np.asarray(seen) + 100.0)))
    assert set(away.standing.trips) == {"out-of-distribution"}
    assert away.standing.mode != "on"
    first = artefact.card.observation.features[0].name
    assert first in away.standing.last_trip


def test_the_features_shown_are_those_the_score_was_made_of():
    draw = np.random.default_rng(3)
    weights = draw.normal(size=node_scorer.size(0))
    served: Any = serving.of_artefact(scorer(weights))
    plain: Any = serving.of_artefact(scorer())
    trial = Trial(busy_day(), get_policy("best-fit"))
    checked = 0

    def decide(snapshot: Any) -> Any:
        nonlocal checked
        task = int(snapshot.pending[0])
        learned, fgd = served.totals(snapshot, task), plain.totals(snapshot, task)
        kind = int(node_scorer.kind_of(snapshot.classes[snapshot.tasks.class_id[task]]))
        own = weights[kind * node_scorer.N : (kind + 1) * node_scorer.N]
        for row in np.flatnonzero(np.isfinite(learned)):
            if served.gpus_on(snapshot, task, row) == plain.gpus_on(snapshot, task, row):
                shown = served.features_of(snapshot, task, int(row))
                assert learned[row] - fgd[row] == pytest.approx(float(own @ shown), abs=1e-9)
                checked += 1
        return policy.decide(snapshot)

    policy = get_policy("best-fit")
    trial.policy = type("Checking", (), {"name": "c", "decide": staticmethod(decide)})()
    trial.run()
    assert checked > 50


def shortest() -> Artefact:
    """A job order that starts the shortest request first."""
    schema = job_features.SCHEMA
    direct = -(np.arange(len(schema)) == schema.names.index("requested")).astype(float)
    network = Network.of(np.concatenate([np.zeros(len(schema) + 2), direct]))
    card = made.card(schema, kind="job-order", architecture={"backfill": "none"})
    return Artefact(card, network.weights(), made.statistics(schema))


def batch(jobs: int, load: float = 0.9, seed: int = 0) -> Any:
    """Jobs of 1 to 8 processors on a machine of 8; no two ask for equally long."""
    rng = np.random.default_rng(seed)
    run, size = rng.permutation(jobs) + 1.0, rng.integers(1, 9, jobs).astype(float)
    submit = np.cumsum(rng.exponential((run * size).mean() / 8 / load, jobs))
    return as_scenario(Window(submit, run, run, size, 8))


def test_a_job_order_shows_the_job_it_chose_from_the_queue():
    scenario, policy = batch(200), serving.of_artefact(shortest())
    shown = choices(policy, scenario)
    requested = np.expm1(10.0 * shown[:, job_features.SCHEMA.names.index("requested")])
    # Every job once, in the order of their starts: not always the first of the queue.
    assert sorted(np.round(requested).tolist()) == sorted(scenario.tasks.requested_s.tolist())
    assert np.round(requested).tolist() != scenario.tasks.requested_s.tolist()


def rolled_out(scenario: Any, candidate: Any, baseline: Any, **limits: Any) -> Any:
    policy = beside(candidate, baseline, Standing("on"), limits=Limits(**limits))
    Simulation(scenario).run(policy)
    return policy.standing


def test_a_job_order_in_charge_is_followed_also_where_it_lets_a_job_wait():
    """With patience the plan is the candidate's own; without, whatever could start does."""
    scenario, alone = batch(200), Simulation(batch(200))
    alone.run(serving.of_artefact(shortest()))
    for patience_s, trips in ((1e9, set()), (0.0, {"withheld"})):
        policy = beside(
            serving.of_artefact(shortest()), get_policy("fcfs", queue="skip"), Standing("on"),
            limits=Limits(patience_s=patience_s, strangers=0.99, window=10**6),
        )  # fmt: skip
        world = Simulation(scenario)
        world.run(policy)
        started = [w.engine.snapshot().tasks.started_s.tolist() for w in (world, alone)]
        assert set(policy.standing.trips) == trips
        assert (started[0] == started[1]) == (not trips)


def test_a_job_order_is_at_home_under_the_load_it_learnt_with_and_drifts_under_another():
    """It may leave a job that the baseline would start: that is what an order is for."""
    wide = with_statistics(shortest(), [np.full(16, -1e6), np.full(16, 1e6)])
    artefact = with_usual(wide, [batch(1000, seed=seed) for seed in range(4)])
    for load, trips in ((0.9, set()), (2.0, {"drift"})):
        candidate = serving.of_artefact(artefact)
        scenario = batch(1000, load, seed=9)
        found = rolled_out(scenario, candidate, get_policy("fcfs"), patience_s=1e9)
        assert set(found.trips) == trips


@pytest.mark.needs(data="openb")
@pytest.mark.parametrize(("pods", "mode"), [("default", "on"), ("multigpu20", "canary")])
def test_the_shipped_scorer_is_at_home_on_unseen_arrivals_of_its_trace(shared_data, pods, mode):
    """While the cluster fills, what it chooses changes all the time; the trace with other tasks is
    another matter."""
    scenario = traces.read(shared_data / "openb", "openb", pods=pods, arrivals="fgd", seed=42)
    scenario = replace(scenario, tasks=scenario.tasks.take(np.arange(2500)))
    reject = {"queue": "reject"}
    fgd, candidate = get_policy("fgd", **reject), get_policy("learned:openb-scorer", **reject)
    standing = rolled_out(scenario, candidate, fgd)
    assert standing.mode == mode
    assert ("drift" in standing.trips) == (mode == "canary")


def test_a_kind_that_shows_nothing_is_not_looked_at():
    assert not isinstance(get_policy("fgd"), Features)
    assert isinstance(serving.of_artefact(scorer()), Features)
