"""Drift: whether what a policy sees is distributed as it was in training.

The population stability index, as credit scoring has used it since the 1990s: over bins of the
training distribution, the sum of (found - expected) ln(found / expected). Below 0.1 nothing moved,
above 0.25 a population is usually called another one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Of the quantiles in `Statistics`."""


class Drift:
    """Observations against the quantiles of training, judged whenever `window` have come."""

    def __init__(self, quantiles: NDArray[np.float64], window: int) -> None:
        if quantiles.ndim != 2 or len(quantiles) != len(LEVELS):
            raise ConfigError(
                f"expected quantiles [{len(LEVELS)}, F], got {list(quantiles.shape)}"
            ).at(field="statistics.quantiles")
        self._edges, self._window = quantiles, window
        self._seen = np.zeros((window, quantiles.shape[1]))
        self._count = 0

    def add(self, features: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """float64[F] indices when this one fills the window, which then starts anew; else None."""
        self._seen[self._count] = features
        self._count += 1
        if self._count < self._window:
            return None
        self._count = 0
        columns = zip(self._seen.T, self._edges.T, strict=True)
        return np.array([stability_index(seen, edges) for seen, edges in columns])


def stability_index(seen: NDArray[np.floating], edges: NDArray[np.float64]) -> float:
    """The index of observations over the bins between training quantiles at `LEVELS`.

    A bin without observations counts as half of one, and none is expected to hold less than the
    outermost: what is that rare is not known better. Where many values lie on a quantile itself
    (the feature takes few of them), the quantiles tell only within bounds how much of the training
    data lay there: what is found counts as expected as far as it keeps to them.
    """
    at, last = np.unique(edges, return_counts=True)
    upto = np.cumsum(last)  # the last of the quantiles at each distinct edge, counted from 1
    levels = np.array([0.0, *LEVELS, 1.0])
    ordered = np.sort(seen)
    upper = np.searchsorted(ordered, at, side="right")
    atom = (last > 1) | (upper - np.searchsorted(ordered, at, side="left") > 1)
    below = upper / len(seen)
    expected = np.clip(below, levels[upto], levels[upto + atom])
    expected, found = np.diff([0.0, *expected, 1.0]), np.diff([0.0, *below, 1.0])
    expected, found = np.maximum(expected, LEVELS[0]), np.maximum(found, 0.5 / len(seen))
    return float(np.sum((found - expected) * np.log(found / expected)))
