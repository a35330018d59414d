"""What served models saw of the nodes they chose: the same numbers the network scored by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day
from cerebrum.policies.learned import node_features, node_scorer, serving
from cerebrum.policies.learned.artefact import Artefact, Statistics
from cerebrum.policies.learned.guards import Features, Limits
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


def test_a_kind_that_shows_nothing_is_not_looked_at():
    assert not isinstance(get_policy("fgd"), Features)
    assert isinstance(serving.of_artefact(scorer()), Features)
