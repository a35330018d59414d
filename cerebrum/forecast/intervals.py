"""Adaptive conformal intervals: how far off the next forecast may be, at a stated risk.

Gibbs and Candes, "Adaptive conformal inference under distribution shift" (NeurIPS 2021): the level
of the quantile of past errors goes down after a miss and up after a hit, so that the share of
misses approaches the risk whatever the series does: level += rate * (risk - missed).
"""

from __future__ import annotations

import numpy as np

from cerebrum.forecast._series import Array, counting
from cerebrum.forecast.backtest import Backtest
from cerebrum.model.errors import InputError


class AdaptiveIntervals:
    """Half-widths for each series and horizon, from the last `window` absolute errors.

    `risk` is the share of values that may lie outside (0.05: 95 % intervals).
    """

    def __init__(
        self, series: int, horizon: int, risk: float = 0.05, rate: float = 0.02, window: int = 288
    ) -> None:
        if not 0 < risk < 1 or not 0 < rate < 1 or window < 2:
            raise InputError("expected 0 < risk < 1, 0 < rate < 1, window >= 2").at(field="risk")
        self.risk, self.rate, self.window = risk, rate, window
        self.level = np.full((series, horizon), risk)
        self._errors = np.full((series, horizon, window), np.nan)
        self._seen = 0

    def half_width(self) -> Array:
        """float64[series, horizon]: forecast +- this; inf where everything has to be covered."""
        if self._seen == 0:
            return np.full(self.level.shape, np.inf)
        ordered = np.sort(self._errors, axis=2)  # NaN goes last
        count = np.sum(~np.isnan(ordered), axis=2)
        rank = np.ceil((1 - self.level) * (count + 1)).astype(np.int64)
        at = np.clip(rank, 1, np.maximum(count, 1)) - 1
        width = np.take_along_axis(ordered, at[:, :, None], axis=2)[:, :, 0]
        width = np.where(self.level >= 1, 0.0, width)
        beyond = (rank > count) & (count < self.window)
        return np.where(beyond | np.isnan(width), np.inf, width)

    def update(self, forecast: Array, truth: Array, half_width: Array) -> None:
        """Learn from what came: arrays [series, horizon]; NaN truth teaches nothing."""
        error = np.abs(forecast - truth)
        known = ~np.isnan(error)
        missed = error > half_width
        step = self.rate * (self.risk - missed)
        self.level = np.clip(np.where(known, self.level + step, self.level), -0.5, 1.5)
        self._errors[:, :, self._seen % self.window] = error
        self._seen += 1


def online_half_widths(test: Backtest, risk: float = 0.05, rate: float = 0.02) -> Array:
    """float64[series, origins, horizon]: the half-width each forecast of a backtest would have got.

    Origins must be one step apart: column k of a forecast is judged k + 1 origins later.
    """
    series, origins, horizon = test.forecast.shape
    intervals = AdaptiveIntervals(series, horizon, risk, rate)
    out = np.empty(test.forecast.shape)
    columns = counting(0, horizon)
    for now in range(origins):
        made = now - 1 - columns  # the forecast whose column k is known by now
        past = np.maximum(made, 0)
        truth = np.where(made >= 0, test.truth[:, past, columns], np.nan)
        intervals.update(test.forecast[:, past, columns], truth, out[:, past, columns])
        out[:, now] = intervals.half_width()
    return out
