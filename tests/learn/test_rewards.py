"""Reward terms are functions of the event log: a naive walk over it finds the same sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.typical import has_gpus, typical_classes
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.generated import Generated
from cerebrum.learn.rewards import NAMES, TERMS, Reward
from cerebrum.learn.sources import Carbon
from cerebrum.model.errors import ConfigError, UnknownName
from tests.engine.stories import node, scenario, task
from tests.learn.worlds import EVERYTHING, one, play, randomly, running_worlds, worlds
from tests.naive import rewards as naive

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CARBON = Carbon(np.array([-1.0, 4.0, 9.5]), np.array([100.0, 700.0, 30.0]))


def typical_of(story):
    if story.typical is not None:
        return list(story.typical)
    return list(typical_classes(story.tasks)) if has_gpus(story.tasks.classes) else []


@quick
@given(
    worlds | running_worlds(),
    st.integers(0, 99),
    st.sampled_from(["wait", "reject"]),
    st.booleans(),
)
def test_terms_are_those_of_the_log(story, seed, passed, gives_up):
    clusters = one(
        story,
        passed=passed,
        unplaceable="reject" if gives_up else "wait",
        carbon=CARBON,
        reward={**EVERYTHING, "emissions": 7.0},
    )
    if clusters is None:
        return
    log, terms, total = play(clusters, randomly(seed))
    wanted = naive.terms(
        story, log.rows, typical_of(story),
        list(zip(CARBON.time_s.tolist(), CARBON.g_per_kwh.tolist(), strict=True)),
    )  # fmt: skip
    for name, found in zip(NAMES, terms.tolist(), strict=True):
        assert found == pytest.approx(wanted[name], rel=1e-6, abs=1e-6), name
    weights = np.array([{**EVERYTHING, "emissions": 7.0}[name] for name in NAMES])
    assert total == pytest.approx(float(weights @ terms), rel=1e-4, abs=1e-4)


def test_terms_of_a_large_cluster_are_those_of_the_log():
    """Sums that are kept current by differences must not drift."""
    story = Generated(nodes=(60, 60), tasks=400, load=1.5, changes=8).scenario(2)
    clusters = one(story)
    log, terms, _ = play(clusters, randomly(1))
    wanted = naive.terms(story, log.rows, typical_of(story))
    for name, found in zip(NAMES, terms.tolist(), strict=True):
        assert found == pytest.approx(wanted[name], rel=1e-6, abs=1e-6), name
    assert all(wanted[name] for name in NAMES if name not in ("emissions", "rejected"))


def test_what_a_decision_costs_is_paid_with_the_decision():
    """Two tasks of a second each on one core: the second waits for the first."""
    story = scenario([node("a", cpu=1)], [task("t", runs=3600.0), task("u", runs=3600.0)])
    clusters = one(story)
    terms = []
    for _ in range(2):
        clusters.step([0])
        terms.append(dict(zip(NAMES, clusters.terms[0].tolist(), strict=True)))
    assert terms[0]["wait"] == -1.0
    assert [step["completion"] for step in terms] == [1.0, 1.0]
    assert terms[1]["wait"] == 0.0


def test_rejected_work_counts_by_its_largest_share_of_the_cluster():
    story = scenario([node("a", cpu=4), node("b", cpu=6)], [task("t", cpu=4), task("u", cpu=6)])
    clusters = one(story, passed="reject")
    clusters.step([1])  # t takes the only node that could hold u
    assert clusters.terms[0, NAMES.index("rejected")] == pytest.approx(-0.6)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, True])
def test_weights_are_finite_numbers(weight):
    with pytest.raises(ConfigError, match="wait: expected a finite weight"):
        Reward({"wait": weight})


def test_an_unknown_term_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'emissions'"):
        Reward({"emission": 1.0})
    with pytest.raises(ConfigError, match="expected at least one of fragmentation"):
        Reward({})


def test_a_reward_is_the_weighted_sum_and_unnamed_terms_weigh_nothing():
    clusters = Clusters(Generated(tasks=30), 2, reward={"power": 2.0, "wait": -0.5}, seed=3)
    rewards, _ = clusters.step([int(np.argmax(mask)) for mask in clusters.mask])
    by_name = dict(zip(NAMES, clusters.terms.T, strict=True))
    np.testing.assert_allclose(rewards, 2.0 * by_name["power"] - 0.5 * by_name["wait"], rtol=1e-6)
    assert len(TERMS) == len(set(NAMES)) == clusters.terms.shape[1]
