"""Every forecaster keeps the contract, and each knows the series it was made for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.forecast import FORECASTERS, get_forecaster
from cerebrum.model.errors import ConfigError, InputError, UnknownName

QUICK = {
    "auto": "auto:candidates=naive+ewma+ridge,origins=6",
    "boosting": "boosting:rounds=5,most_samples=500",
    "seasonal": "seasonal:period=12",
}


def make(name: str):
    return get_forecaster(QUICK.get(name, name))


def wave(length=400, period=24, series=2):
    time = np.arange(length)
    return np.stack([50 + 40 * np.sin(2 * np.pi * time / period + i) for i in range(series)])


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecast_has_a_number_for_every_series_and_step(name):
    history = wave()
    history[1, 100:140] = np.nan
    forecaster = make(name)
    forecaster.fit(history)
    for known in (None, history[:, :-5]):
        ahead = forecaster.predict(7, known)
        assert ahead.shape == (2, 7)
        assert np.isfinite(ahead).all()


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_constant_series_goes_on_and_an_empty_one_is_nothing(name):
    history = np.stack([np.full(300, 7.0), np.full(300, np.nan)])
    forecaster = make(name)
    forecaster.fit(history)
    assert forecaster.predict(3) == pytest.approx(np.array([[7.0] * 3, [0.0] * 3]), abs=1e-6)


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_same_history_gives_the_same_forecast_whatever_was_asked_before(name):
    history = wave()
    first, second = make(name), make(name)
    first.fit(history)
    second.fit(history)
    second.predict(2, history[:, :200])
    assert np.array_equal(first.predict(5), second.predict(5))


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_single_value_is_enough_to_say_something(name):
    forecaster = make(name)
    forecaster.fit(np.array([[3.0]]))
    assert forecaster.predict(2) == pytest.approx(np.full((1, 2), 3.0))


@pytest.mark.parametrize("name", FORECASTERS)
def test_nonsense_is_refused_by_field(name):
    forecaster = make(name)
    with pytest.raises(InputError, match="history: expected finite"):
        forecaster.fit(np.array([[1.0, np.inf]]))
    with pytest.raises(InputError, match=r"history: expected \[series, time\]"):
        forecaster.fit(np.zeros(3))
    forecaster.fit(wave())
    with pytest.raises(InputError, match="horizon: expected 1"):
        forecaster.predict(0)


@settings(max_examples=30)
@given(
    values=st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=80),
    name=st.sampled_from(["naive", "ewma", "histogram", "seasonal", "fft", "ridge"]),
)
def test_no_forecast_leaves_the_range_a_series_has_shown(values, name):
    history = np.array([values])
    forecaster = make(name)
    forecaster.fit(history)
    ahead = forecaster.predict(4)
    low = 0.0 if np.isnan(history).all() else np.nanmin(history)
    high = 0.0 if np.isnan(history).all() else np.nanmax(history)
    assert (ahead >= low - 1e-6 * (1 + high)).all()
    assert (ahead <= high + 1e-6 * (1 + high)).all()


def test_seasons_and_periods_are_continued():
    history = wave(period=24)
    truth = wave(length=424)[:, 400:]
    fft = get_forecaster("fft")
    fft.fit(history)
    assert fft.periods == [24, 24]
    assert np.abs(fft.predict(24) - truth).max() < 1.0
    seasonal = get_forecaster("seasonal:period=24")
    seasonal.fit(history)
    assert np.abs(seasonal.predict(24) - truth).max() < 1e-6
    ridge = get_forecaster("ridge")
    ridge.fit(history)
    assert np.abs(ridge.predict(6) - truth[:, :6]).max() < 4.0


def test_noise_has_no_period():
    fft = get_forecaster("fft")
    fft.fit(np.random.default_rng(1).normal(50, 10, (1, 500)))
    assert fft.periods == [0]


def test_the_decaying_histogram_gives_a_high_percentile_and_forgets():
    steady = np.tile(np.r_[np.full(9, 10.0), 100.0], 100)[None]
    p80, p95 = get_forecaster("histogram:percentile=80"), get_forecaster("histogram:percentile=95")
    p80.fit(steady)
    p95.fit(steady)
    assert 10.0 <= p80.predict(1)[0, 0] <= 10.0 * 1.06
    assert 95.0 <= p95.predict(1)[0, 0] <= 100.0
    dropped = np.r_[np.full(288, 100.0), np.full(288 * 6, 10.0)][None]
    p95.fit(dropped)
    assert p95.predict(1)[0, 0] <= 10.6  # six half-lives later 1.6 % of the weight is left


def test_auto_takes_naive_for_a_random_walk_and_a_season_for_a_season():
    rng = np.random.default_rng(3)
    walk = 500 + np.cumsum(rng.normal(0, 1, 600))
    season = np.tile(rng.uniform(0, 100, 24), 25)
    auto = get_forecaster("auto:candidates=seasonal+naive,origins=40")
    seasonal_period = auto.models[auto.candidates.index("seasonal")]
    seasonal_period.period = 24
    auto.fit(np.stack([walk, season]))
    picked = [[auto.candidates[i] for i in row] for row in auto.chosen]
    assert set(picked[0]) == {"naive"}
    assert set(picked[1]) == {"seasonal"}


def test_names_and_options_are_checked():
    with pytest.raises(UnknownName, match="did you mean 'naive'"):
        get_forecaster("naiv")
    with pytest.raises(ConfigError, match="did you mean 'half_life'"):
        get_forecaster("ewma:half_lif=3")
    with pytest.raises(InputError, match="half_life: expected more than 0"):
        get_forecaster("ewma:half_life=-1")
    with pytest.raises(ConfigError, match="other than auto"):
        get_forecaster("auto:candidates=auto")
