"""Backtests never show the future to a model; intervals keep what they promise."""

import numpy as np
import pytest

from cerebrum.forecast import get_forecaster
from cerebrum.forecast.backtest import Backtest, best, rolling
from cerebrum.forecast.intervals import AdaptiveIntervals, online_half_widths
from cerebrum.model.errors import InputError


class Spy:
    """Naive, and remembers how much it was shown."""

    name = "spy"

    def __init__(self):
        self.seen = []

    def fit(self, history):
        self.seen.append(("fit", float(history[0, -1])))

    def predict(self, horizon, history=None):
        self.seen.append(("predict", float(history[0, -1])))
        return np.repeat(history[:, -1:], horizon, axis=1)


def test_a_model_sees_nothing_after_its_origin():
    history, spy = np.arange(20.0)[None], Spy()
    test = rolling(spy, history, 3, start=10, every=2)
    assert spy.seen[0] == ("fit", 9.0)
    assert [last for what, last in spy.seen if what == "predict"] == test.origins.tolist()
    assert test.truth[0, 0].tolist() == [10.0, 11.0, 12.0]
    assert test.error()[0].tolist() == [1.0, 2.0, 3.0]


def test_models_are_fitted_again_when_asked():
    spy = Spy()
    rolling(spy, np.arange(30.0)[None], 1, start=10, refit_every=5)
    assert [last for what, last in spy.seen if what == "fit"] == [9.0, 14.0, 19.0, 24.0]


def test_forecasting_all_origins_at_once_is_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    history = rng.uniform(0, 10, (3, 400)).cumsum(axis=1) % 37
    history[1, 50:60] = np.nan
    start, ridge, slow = 300, get_forecaster("ridge"), get_forecaster("ridge")
    test = rolling(ridge, history, 4, start)
    slow.fit(history[:, :start])
    for i, origin in enumerate(test.origins):
        assert slow.predict(4, history[:, : origin + 1]) == pytest.approx(test.forecast[:, i])


def test_gaps_in_the_truth_do_not_count():
    truth = np.array([[[1.0], [np.nan], [3.0]]])
    test = Backtest(np.arange(3), np.zeros((1, 3, 1)), truth)
    assert test.error().tolist() == [[2.0]]


def test_the_least_error_wins_per_series_and_horizon_and_ties_go_to_the_first():
    origins, truth = np.arange(2), np.zeros((2, 2, 2))
    a = Backtest(origins, np.array([[[1, 5]] * 2, [[2, 2]] * 2], float), truth)
    b = Backtest(origins, np.array([[[3, 1]] * 2, [[2, 1]] * 2], float), truth)
    names, choice = best({"a": a, "b": b})
    assert names == ["a", "b"]
    assert choice.tolist() == [[0, 1], [0, 1]]


def test_a_start_without_room_is_refused():
    with pytest.raises(InputError, match=r"start: expected 1\.\.4"):
        rolling(get_forecaster("naive"), np.zeros((1, 5)), 1, start=5)


@pytest.mark.parametrize("risk", [0.05, 0.2])
def test_intervals_cover_what_they_promise_even_when_the_noise_changes(risk):
    rng = np.random.default_rng(5)
    truth = np.concatenate([rng.normal(0, 1, 1500), rng.normal(0, 6, 1500)])[None, :, None]
    test = Backtest(np.arange(3000), np.zeros_like(truth), truth)
    inside = np.abs(truth) <= online_half_widths(test, risk)
    assert abs(inside.mean() - (1 - risk)) < 0.015
    assert abs(inside[:, 2000:].mean() - (1 - risk)) < 0.03


def test_an_interval_is_judged_only_when_the_truth_is_there():
    truth = np.zeros((1, 50, 3))
    truth[:, 20:, :] = 100.0
    test = Backtest(np.arange(50), np.zeros_like(truth), truth)
    width = online_half_widths(test, 0.1)
    assert width[0, 20, 0] < 100  # the jump of origin 20 was one step ahead: not known yet
    assert width[0, 21, 0] <= width[0, 30, 0]
    assert np.isinf(width[0, 2, 2])  # three steps ahead nothing was judged after two


def test_missing_truth_teaches_nothing():
    intervals = AdaptiveIntervals(1, 1, 0.1)
    before = intervals.level.copy()
    intervals.update(np.array([[1.0]]), np.array([[np.nan]]), np.array([[0.0]]))
    assert np.array_equal(intervals.level, before)
