"""Exponentially weighted moving average: recent values count more, all horizons alike."""

from __future__ import annotations

import numpy as np

from cerebrum.forecast._series import Array, checked, filled, halving, steps
from cerebrum.model.errors import InputError


class Ewma:
    """Weights halve every `half_life` steps."""

    name = "ewma"

    def __init__(self, half_life: float = 6.0) -> None:
        if not half_life > 0:
            raise InputError(f"expected more than 0 steps, got {half_life}").at(field="half_life")
        self.half_life = half_life

    def fit(self, history: Array) -> None:
        """Remember the averages."""
        self._level = self._average(history)

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        level = self._level if history is None else self._average(history)
        return np.repeat(level[:, None], steps(horizon), axis=1)

    def _average(self, history: Array) -> Array:
        known = filled(checked(history))
        reach = min(known.shape[1], int(np.ceil(40 * self.half_life)))  # beyond: less than 2**-40
        weights = halving(reach, self.half_life)
        return known[:, -reach:] @ (weights / weights.sum())
