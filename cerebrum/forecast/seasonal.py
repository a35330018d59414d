"""Seasonal naive: what was seen one period ago comes again."""

from __future__ import annotations

import numpy as np

from cerebrum.forecast._series import Array, checked, filled, steps
from cerebrum.model.errors import InputError


class Seasonal:
    """The value `period` steps earlier (288: a day of five-minute steps), averaged over `seasons`.

    A history shorter than a period is forecast like `naive`.
    """

    name = "seasonal"

    def __init__(self, period: int = 288, seasons: int = 1) -> None:
        if period < 1 or seasons < 1:
            raise InputError("expected a period and seasons of at least 1").at(field="period")
        self.period, self.seasons = period, seasons

    def fit(self, history: Array) -> None:
        """Remember the last seasons."""
        self._history = filled(checked(history))[:, -self.period * self.seasons :]

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        known = self._history if history is None else filled(checked(history))
        n, ahead = known.shape[1], np.arange(steps(horizon))
        if n < self.period:
            return np.repeat(known[:, -1:], horizon, axis=1)
        seasons = min(self.seasons, n // self.period)
        at = n - self.period + ahead % self.period
        return np.mean([known[:, at - k * self.period] for k in range(seasons)], axis=0)
