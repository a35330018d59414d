"""Rolling backtest: forecast from many origins with what was known there; compare with truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast._direct import Direct
from cerebrum.forecast._series import Array, checked, counting
from cerebrum.model.errors import InputError
from cerebrum.model.protocols import Forecaster


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts and truth at each origin: float64[series, origins, horizon], NaN in gaps.

    `origins` are the last known time index of each forecast.
    """

    origins: NDArray[np.int64]
    forecast: Array
    truth: Array

    def error(self) -> Array:
        """Mean absolute error float64[series, horizon]; NaN where there was nothing to compare."""
        gap = np.abs(self.forecast - self.truth)
        counted = ~np.isnan(gap)
        count = counted.sum(axis=1)
        mean = np.where(counted, gap, 0.0).sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, mean, np.nan)


def rolling(
    forecaster: Forecaster,
    history: Array,
    horizon: int,
    start: int,
    every: int = 1,
    refit_every: int = 0,
    memory: int = 2016,
) -> Backtest:
    """Forecast `horizon` steps from each origin `start - 1, start - 1 + every, ...`.

    The model is fitted on what lies before `start`, and again every `refit_every` steps (0: never);
    between fits it sees the last `memory` values up to each origin, and never one after it.
    """
    values = checked(history)
    length = values.shape[1]
    if not 1 <= start <= length - horizon:
        raise InputError(f"expected 1..{length - horizon}, got {start}").at(field="start")
    origins = counting(start - 1, length - horizon, every)
    ahead = origins[:, None] + 1 + counting(0, horizon)
    if isinstance(forecaster, Direct) and not refit_every:
        forecaster.fit(values[:, :start])
        return Backtest(origins, forecaster.predict_at(origins, horizon, values), values[:, ahead])
    forecast = np.empty((len(values), len(origins), horizon))
    fitted = -1
    for i, origin in enumerate(map(int, origins)):
        due = fitted < 0 or (refit_every and origin - fitted >= refit_every)
        if due:
            forecaster.fit(values[:, : origin + 1])
            fitted = origin
        recent = values[:, max(0, origin + 1 - memory) : origin + 1]
        forecast[:, i] = forecaster.predict(horizon, recent)
    return Backtest(origins, forecast, values[:, ahead])


def best(tests: Mapping[str, Backtest]) -> tuple[list[str], NDArray[np.int64]]:
    """Model names, and int64[series, horizon]: the index of the one with the least error.

    Ties and series without truth go to the first name, so put the simplest first.
    """
    names = list(tests)
    errors = np.stack([np.nan_to_num(tests[name].error(), nan=np.inf) for name in names])
    return names, np.argmin(errors, axis=0)
