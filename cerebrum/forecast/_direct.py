"""Models that learn one function per step ahead, from windows of all series together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast import _windows
from cerebrum.forecast._series import Array, checked, counting, filled, steps

ANCHORS = (1, 2, 3, 6, 12, 24, 48)
"""Steps that get a model of their own; between them forecasts are interpolated, beyond held."""
LEAST = 32  # samples below which nothing is learnt and the last value is given


class Direct:
    """Trains a step's model when a forecast that far ahead is first asked for, then keeps it.

    Forecasts are kept inside the range a series has shown, since trees and lines know no bounds.
    """

    def __init__(self, most_samples: int) -> None:
        self.most_samples = most_samples

    def fit(self, history: Array) -> None:
        """Take the history to learn from; earlier models are dropped."""
        known = checked(history)
        self._missing = np.isnan(known)
        self._history = filled(known)
        self._scale = _windows.scales(self._history)
        self._low, self._high = self._history.min(axis=1), self._history.max(axis=1)
        self._models: dict[int, object | None] = {}

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        known = self._history if history is None else filled(checked(history))
        recent = known[:, -_windows.LENGTH :]
        return self.predict_at(np.array([recent.shape[1] - 1]), horizon, recent)[:, 0]

    def predict_at(self, origins: NDArray[np.int64], horizon: int, history: Array) -> Array:
        """float64[series, origins, horizon], each seen from the values up to its origin."""
        known = filled(checked(history))
        anchors = [a for a in ANCHORS if a < steps(horizon)]
        anchors.append(min(horizon, ANCHORS[-1]))
        points = np.stack([self._ahead(known, origins, anchor) for anchor in anchors], axis=2)
        at = np.minimum(counting(1, horizon + 1), anchors[-1])
        right = np.searchsorted(anchors, at)
        left = np.maximum(right - 1, 0)
        places = np.array(anchors)
        share = (at - places[left]) / np.maximum(places[right] - places[left], 1)
        out = points[:, :, left] + share * (points[:, :, right] - points[:, :, left])
        return np.clip(out, self._low[:, None, None], self._high[:, None, None])

    def learn(self, inputs: Array, targets: Array) -> object:
        """A model of targets float64[samples] by inputs float64[samples, features]."""
        raise NotImplementedError

    def apply(self, model: object, inputs: Array) -> Array:
        """What a model says: float64[samples]."""
        raise NotImplementedError

    def _ahead(self, known: Array, origins: NDArray[np.int64], step: int) -> Array:
        """float64[series, origins]: what the model of this step says."""
        if step not in self._models:
            self._models[step] = self._train(step)
        model = self._models[step]
        if model is None:
            return known[:, origins]
        count = len(known)
        rows = np.repeat(counting(0, count), len(origins))
        at = np.tile(origins, count)
        scaled = known / self._scale[:, None]
        said = self.apply(model, _windows.features(scaled, rows, at, step))
        return said.reshape(count, len(origins)) * self._scale[:, None]

    def _train(self, step: int) -> object | None:
        rows, at = _windows.samples(self._history.shape, step, self.most_samples, self._missing)
        if len(rows) < LEAST:
            return None
        scaled = self._history / self._scale[:, None]
        inputs = _windows.features(scaled, rows, at, step)
        return self.learn(inputs, scaled[rows, at + step])
