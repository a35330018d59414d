"""Each guard trips by its own cause, and by no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.engine.actions import check_gangs, event_of
from cerebrum.model.decisions import Bind, Decision
from cerebrum.model.errors import CerebrumError, ConfigError
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day, neighbours
from cerebrum.policies.learned import guards
from cerebrum.policies.learned.drift import LEVELS, WINDOW, Drift, Usual, stability_index
from cerebrum.policies.learned.feasibility import misfit, room_for
from cerebrum.policies.learned.guards import Limits
from cerebrum.policies.learned.ladder import Ladder, Standing
from cerebrum.policies.learned.rollout import Rollout, beside
from cerebrum.policies.trial import Trial


class Seen:
    """Training data: what lies outside, as `Statistics` tells it."""

    def __init__(self, data: Any) -> None:
        self.low, self.high = data.min(0), data.max(0)

    def __len__(self) -> int:
        return len(self.low)

    def outside(self, observations: Any, margin: float = 0.1) -> Any:
        slack = margin * (self.high - self.low) + 1e-6
        return ~((observations >= self.low - slack) & (observations <= self.high + slack))


class Learned:
    """Best fit that shows `features` of what it chose."""

    name = "learned"
    feature_names = ("cpu", "memory")

    def __init__(self, features: Any, data: Any = None) -> None:
        self._policy = get_policy("best-fit")
        rng = np.random.default_rng(1)
        data = rng.normal(size=(5000, 2)) if data is None else data
        self.statistics, self.usual = Seen(data), Usual.of([data])
        self._features = features

    def decide(self, snapshot: Any) -> Any:
        return self._policy.decide(snapshot)

    def features_of(self, snapshot: Any, task: int, row: int) -> Any:
        return self._features(snapshot, task, row)


def run(candidate: Any, **limits: Any) -> Rollout:
    policy = beside(
        candidate, get_policy("worst-fit"), Standing("on"), limits=Limits(**limits),
        ladder=Ladder(10**6, 10**6),
    )  # fmt: skip
    Trial(busy_day(), policy).run()
    return policy


# -- features --------------------------------------------------------------------------------


def test_features_as_in_training_trip_nothing():
    rng = np.random.default_rng(2)
    policy = run(Learned(lambda *_: np.clip(rng.normal(size=2), -3, 3)), window=40)
    assert policy.standing.trips == {}
    assert policy.standing.decided["candidate"] >= 55


def test_features_outside_of_the_training_data_trip_and_are_named():
    policy = run(Learned(lambda *_: np.array([0.0, 40.0])))
    assert set(policy.standing.trips) == {"out-of-distribution"}
    assert policy.standing.last_trip.startswith("out-of-distribution: memory outside")
    assert policy.standing.trips["out-of-distribution"] > 50


def test_a_part_of_strange_features_can_be_allowed():
    assert run(Learned(lambda *_: np.array([0.0, 40.0])), strangers=0.5).standing.trips == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_trip_as_such(value: float):
    policy = run(Learned(lambda *_: np.array([0.0, value])))
    assert set(policy.standing.trips) == {"not-a-number"}


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((2, 1)), np.array(["a", "b"]), None])
def test_features_of_another_shape_count_as_an_error_of_the_candidate(features: Any):
    assert set(run(Learned(lambda *_: features)).standing.trips) == {"raised"}


def test_a_shift_inside_the_training_range_is_drift_and_demotes_at_once():
    rng = np.random.default_rng(3)
    policy = beside(
        Learned(lambda *_: rng.normal([0.0, 1.2], 0.3)), get_policy("worst-fit"), Standing("on"),
        limits=Limits(window=20),
    )  # fmt: skip
    Trial(busy_day(), policy).run()
    first = policy.standing.history[0]
    assert first.now == "canary:0.1"
    assert first.reason.startswith("drift: memory: population stability index")


def filling(rng: np.random.Generator, level: float = 0.0) -> Any:
    """A run in which one feature rises all the time and the other stays where it is."""
    count = 8 * WINDOW
    return np.stack([np.linspace(0, 1, count), level + rng.normal(size=count)], axis=1)


def test_what_rises_as_it_did_in_training_is_no_drift_and_what_never_moved_is():
    """Each window of a run that fills a cluster differs from the whole: that alone is usual."""
    rng = np.random.default_rng(5)
    drift = Drift(Usual.of([filling(rng) for _ in range(3)]))
    beyond = {}
    for level in (0.0, 1.0):
        found = [drift.add(row) for row in filling(rng, level)]
        beyond[level] = np.max([one for one in found if one is not None], axis=0)
        beyond[level] -= drift.usual.wander
    assert beyond[0.0].max() < 0.1
    assert beyond[1.0][0] < 0.1
    assert beyond[1.0][1] > 0.5


def test_a_candidate_whose_usual_choices_nobody_knows_is_not_held_to_them():
    rng = np.random.default_rng(3)
    candidate = Learned(lambda *_: rng.normal([0.0, 1.2], 0.3))
    candidate.usual = None
    assert run(candidate, window=20).standing.trips == {}


@pytest.mark.parametrize(
    ("quantiles", "wander", "problem"),
    [
        (np.zeros((3, 2)), np.zeros(2), r"quantiles: expected float64\[7, 2\], got .*\[3, 2\]"),
        (np.zeros((7, 2)), np.zeros((2, 1)), "wander"),
        (np.zeros((7, 2)), np.array([0.0, np.nan]), "wander: expected finite"),
        (np.zeros((7, 2))[::-1] - np.arange(7)[:, None], np.zeros(2), "ascending"),
    ],
)
def test_what_is_usual_in_another_form_is_refused(quantiles: Any, wander: Any, problem: str):
    with pytest.raises(ConfigError, match=problem):
        Usual(quantiles, wander)


def test_what_is_usual_takes_a_whole_window():
    with pytest.raises(ConfigError, match="at least 500 choices"):
        Usual.of([np.zeros((WINDOW - 1, 2))])


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_the_stability_index_is_small_for_the_same_distribution(seed: int, share: float):
    rng = np.random.default_rng(seed)
    for draw in (
        lambda n: rng.normal(size=n),
        lambda n: (rng.random(n) < share).astype(float),
        lambda n: np.full(n, 3.0),
        lambda n: np.where(rng.random(n) < share, 0.0, rng.random(n)),
    ):
        edges = np.quantile(draw(20_000), LEVELS)
        assert stability_index(draw(500), edges) < 0.2


def test_the_stability_index_of_a_known_shift():
    # Everything in the bin between the quantiles 0.5 and 0.75 of a uniform distribution.
    edges = np.array(LEVELS)
    seen = np.full(1000, 0.6)
    found, least = 0.25, 0.0005
    expected = (1 - found) * np.log(1 / found)
    for share in (0.01, 0.04, 0.20, 0.25, 0.20, 0.04, 0.01):
        expected += (least - share) * np.log(least / share)
    assert stability_index(seen, edges) == pytest.approx(expected)


def test_a_binary_feature_that_turned_is_drift():
    edges = np.quantile((np.arange(1000) < 300).astype(float), LEVELS)
    assert stability_index((np.arange(500) < 150).astype(float), edges) < 0.1
    assert stability_index((np.arange(500) < 490).astype(float), edges) > 0.25


# -- feasibility -----------------------------------------------------------------------------


def _midway(scenario: Scenario, until: int) -> Trial:
    """The scenario after `until` decisions of best fit."""
    trial, policy = Trial(scenario, get_policy("best-fit")), get_policy("best-fit")
    count = 0

    class Stop(Exception):
        pass

    def decide(snapshot: Any) -> Any:
        nonlocal count
        count += 1
        if count > until:
            raise Stop
        return policy.decide(snapshot)

    trial.policy = type("Stopping", (), {"name": "s", "decide": staticmethod(decide)})()
    with pytest.raises(Stop):
        trial.run()
    return trial


@pytest.mark.parametrize("scenario", [busy_day, neighbours])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_found_feasible_the_engine_accepts_and_nothing_else(scenario: Any, seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(8):
        trial = _midway(scenario(), int(rng.integers(0, 40)))
        snapshot = trial.engine.snapshot()
        decision = _random(rng, snapshot)
        verdict = misfit(snapshot, decision)
        assert (verdict is None) == _accepted(trial, decision), (decision, verdict)


def test_the_random_decisions_above_are_of_both_kinds():
    rng = np.random.default_rng(0)
    trials = [_midway(busy_day(), i) for i in range(0, 40, 2)]
    snapshots = [trial.engine.snapshot() for trial in trials]
    verdicts = [misfit(snapshot, _random(rng, snapshot)) for snapshot in snapshots]
    assert {None, "infeasible", "out-of-mask"} <= {v and v.kind for v in verdicts}


def _random(rng: Any, snapshot: Any) -> Decision:
    """Up to three binds of waiting tasks to random nodes, with GPU masks that may be right."""
    waiting = snapshot.pending[: int(rng.integers(1, 4))]
    binds = []
    for task in waiting.tolist():
        row = int(rng.integers(0, len(snapshot.nodes) + 1)) if rng.random() < 0.3 else -1
        fits = np.flatnonzero(snapshot.refusals(task) == 0)
        if row < 0 and len(fits):
            row = int(rng.choice(fits))
        kind = int(snapshot.tasks.class_id[task])
        count = int(snapshot.classes["gpu_count"][kind])
        mask = sum(1 << int(g) for g in rng.choice(4, count, replace=False)) if count else 0
        binds.append(Bind(task, row, mask, int(snapshot.classes["cache_ways"][kind])))
    return Decision(tuple(binds))


def _accepted(trial: Trial, decision: Decision) -> bool:
    try:
        check_gangs(trial.engine, decision)
        for action in decision.actions:
            trial.engine.apply(event_of(action, trial.engine.now_s))
    except (CerebrumError, IndexError):
        return False
    return True


def test_looking_changes_nothing():
    trial = _midway(busy_day(), 10)
    snapshot = trial.engine.snapshot()
    before = snapshot.nodes.tobytes()
    decision = get_policy("best-fit").decide(snapshot)
    for _ in range(3):
        assert misfit(snapshot, decision) is None
    bind = decision.actions[0]
    if isinstance(bind, Bind):
        assert room_for(snapshot, bind.task, bind.row, bind.gpus)
        assert not room_for(snapshot, bind.task, bind.row, bind.gpus | 1 << 40)
        assert not room_for(snapshot, bind.task, -1, bind.gpus)
    assert trial.engine.snapshot().nodes.tobytes() == before


def test_numbers_of_numpy_become_pythons_own():
    made = guards.clean(Decision((Bind(np.int32(1), np.int64(2), np.int64(0)),)))  # type: ignore
    assert made == Decision((Bind(1, 2),))
    assert all(type(v) is int for v in (made.actions[0].task, made.actions[0].row))  # type: ignore


def test_every_reason_is_explained_and_every_guard_is_known():
    assert len(guards.GUARDS) == 7
    assert all(text for text in guards.REASONS.values())


@pytest.mark.parametrize(
    "wrong", [{"deadline_s": 0}, {"drift": float("nan")}, {"strangers": 1}, {"window": 2}]
)
def test_limits_that_make_no_sense_are_refused(wrong: Any):
    with pytest.raises(ConfigError):
        Limits(**wrong)
