"""Naive: what was seen last goes on. The bar that every other model has to clear."""

from __future__ import annotations

import numpy as np

from cerebrum.forecast._series import Array, checked, filled, steps


class Naive:
    """The last value, at every horizon."""

    name = "naive"

    def fit(self, history: Array) -> None:
        """Remember the last values."""
        self._last = filled(checked(history))[:, -1]

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        last = self._last if history is None else filled(checked(history))[:, -1]
        return np.repeat(last[:, None], steps(horizon), axis=1)
