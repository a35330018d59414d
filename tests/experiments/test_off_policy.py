"""Estimates of another policy's reward against a world whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cerebrum.experiments.off_policy import Logged, doubly_robust, ips, snips
from cerebrum.model.errors import InputError
from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day
from cerebrum.policies.learned.ladder import Standing
from cerebrum.policies.learned.rollout import beside
from cerebrum.policies.trial import Trial

CHOICES, CONTEXTS = 4, 3
rng = np.random.default_rng(5)
REWARD = rng.normal(5.0, 2.0, (CONTEXTS, CHOICES))
"""What a choice earns in a context, on average."""
LOGGING = np.full((CONTEXTS, CHOICES), 0.1) + 0.6 * np.eye(CONTEXTS, CHOICES)
TARGET = np.full((CONTEXTS, CHOICES), 0.05) + 0.8 * np.eye(CONTEXTS, CHOICES, 1)
SHARES = np.array([0.5, 0.3, 0.2])
TRUTH = float((SHARES[:, None] * TARGET * REWARD).sum())
LOGGED_TRUTH = float((SHARES[:, None] * LOGGING * REWARD).sum())


def log(count: int, seed: int, offset: float = 0.0) -> tuple[Logged, Any, Any]:
    draws = np.random.default_rng(seed)
    context = draws.choice(CONTEXTS, count, p=SHARES)
    choice = np.array([draws.choice(CHOICES, p=LOGGING[c]) for c in context])
    reward = REWARD[context, choice] + draws.normal(0.0, 1.0, count) + offset
    logged = Logged(reward, LOGGING[context, choice], TARGET[context, choice])
    return logged, context, choice


def models(context: Any, choice: Any, model: Any) -> tuple[Any, Any]:
    return model[context, choice], (TARGET * model).sum(1)[context]


def test_the_tables_are_probabilities_and_the_policies_differ():
    assert np.allclose(LOGGING.sum(1), 1.0)
    assert np.allclose(TARGET.sum(1), 1.0)
    assert abs(TRUTH - LOGGED_TRUTH) > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_all_estimates_find_the_truth_and_not_the_logged_mean(seed: int):
    logged, context, choice = log(8000, seed)
    for estimate in (
        ips(logged), snips(logged), doubly_robust(logged, *models(context, choice, REWARD)),
        # A model that is off by far is corrected by the propensities.
        doubly_robust(logged, *models(context, choice, REWARD + 10.0)),
    ):  # fmt: skip
        assert abs(estimate.value - TRUTH) < 4 * estimate.error < abs(TRUTH - LOGGED_TRUTH) * 2
        assert estimate.choices == 8000
        assert 500 < estimate.effective < 8000


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = {"ips": 0, "snips": 0, "dr": 0}
    for seed in range(200):
        logged, context, choice = log(400, 1000 + seed)
        found = {
            "ips": ips(logged), "snips": snips(logged),
            "dr": doubly_robust(logged, *models(context, choice, REWARD)),
        }  # fmt: skip
        for name, estimate in found.items():
            low, high = estimate.interval
            held[name] += low <= TRUTH <= high
    assert all(175 <= count <= 199 for count in held.values()), held


def test_the_right_model_needs_fewer_choices_and_wrong_propensities_do_not_hurt_it():
    logged, context, choice = log(2000, 7)
    robust = doubly_robust(logged, *models(context, choice, REWARD))
    assert robust.error < ips(logged).error / 2
    wrong = Logged(logged.reward, np.full(2000, 0.5), logged.target)
    assert abs(ips(wrong).value - TRUTH) > 1.0
    again = doubly_robust(wrong, *models(context, choice, REWARD))
    assert abs(again.value - TRUTH) < 0.1


def test_an_offset_of_the_reward_moves_snips_by_itself_and_ips_by_more_noise():
    plain, shifted = log(500, 3)[0], log(500, 3, offset=100.0)[0]
    assert snips(shifted).value - snips(plain).value == pytest.approx(100.0)
    assert abs(ips(shifted).value - ips(plain).value - 100.0) > 1.0


def test_the_same_policy_is_worth_what_was_logged():
    logged, _, _ = log(100, 1)
    same = Logged(logged.reward, logged.propensity, logged.propensity)
    for estimate in (ips(same), snips(same)):
        assert estimate.value == pytest.approx(float(logged.reward.mean()))
        assert estimate.effective == pytest.approx(100)


def test_propensities_of_a_rollout_tell_what_the_candidate_alone_would_earn():
    # The reward of a choice is whether it is the candidate's own: for the candidate it is 1.
    values = []
    for seed in range(30):
        policy = beside(
            get_policy("worst-fit"), get_policy("best-fit"), Standing("on"), explore=0.5,
            salt=str(seed),
        )  # fmt: skip
        Trial(busy_day(), policy).run()
        drawn = [one for one in policy.recent if one.nodes]
        events = [
            {"rollout": {"propensity": one.propensity,
                         "candidate_propensity": float(one.node == one.candidate)},
             "own": one.node == one.candidate}
            for one in drawn
        ]  # fmt: skip
        logged = Logged.of_events(events, lambda data: float(data["own"]))
        values.append(ips(logged).value)
        assert snips(logged).value == 1.0
    assert np.mean(values) == pytest.approx(1.0, abs=0.05)


def test_a_log_without_exploration_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="--explore"):
        Logged.of_events([{"rollout": {"propensity": 1.0}}, {}], lambda data: 1.0)


@pytest.mark.parametrize(
    ("reward", "propensity", "target"),
    [
        ([], [], []), ([1.0], [0.0], [0.5]), ([1.0], [1.5], [0.5]), ([1.0], [0.5], [-0.1]),
        ([math.nan], [0.5], [0.5]), ([1.0], [0.5, 0.5], [0.5]), ([1.0], [0.5], [2.0]),
    ],
)  # fmt: skip
def test_numbers_that_are_no_probabilities_are_refused(reward: Any, propensity: Any, target: Any):
    with pytest.raises(InputError):
        Logged(*(np.array(column, np.float64) for column in (reward, propensity, target)))


def test_no_overlap_is_said_and_not_divided_by():
    with pytest.raises(InputError, match="none of these choices"):
        snips(Logged(np.ones(3), np.full(3, 0.5), np.zeros(3)))
