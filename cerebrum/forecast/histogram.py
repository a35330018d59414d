"""The decaying histogram of Kubernetes' Vertical Pod Autoscaler: a high percentile of usage.

Buckets grow by `ratio` (VPA: 5 %), a sample's weight halves every `half_life` steps (VPA: 24 h),
and the forecast is the end of the bucket that holds the percentile (VPA's target: 90). It answers
"how much will be needed at most, usually", not "how much next", so against other models its mean
error is large by design. Source: kubernetes/autoscaler, vertical-pod-autoscaler, histogram_options.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast._series import Array, checked, counting, filled, halving, steps
from cerebrum.model.errors import InputError


class DecayingHistogram:
    """The same percentile for every horizon. `first` is the width of the first bucket, as a share
    of the largest value seen."""

    name = "histogram"

    def __init__(
        self,
        percentile: float = 90.0,
        half_life: float = 288.0,
        ratio: float = 1.05,
        first: float = 0.0001,
    ) -> None:
        if not 0 < percentile <= 100:
            raise InputError(f"expected 0 < percentile <= 100, got {percentile}").at(
                field="percentile"
            )
        if not (half_life > 0 and ratio > 1 and 0 < first < 1):
            raise InputError("expected half_life > 0, ratio > 1, 0 < first < 1")
        self.percentile, self.half_life = percentile, half_life
        self.ratio, self.first = ratio, first

    def fit(self, history: Array) -> None:
        """Remember the percentiles."""
        self._level = self._percentiles(history)

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        level = self._level if history is None else self._percentiles(history)
        return np.repeat(level[:, None], steps(horizon), axis=1)

    def _percentiles(self, history: Array) -> Array:
        known = np.maximum(filled(checked(history)), 0.0)
        weights = halving(known.shape[1], self.half_life)
        largest = known.max(axis=1, initial=0.0)
        scaled = known / np.where(largest > 0, largest, 1.0)[:, None]
        buckets, ends = self._buckets(scaled)
        level = np.empty(len(known))
        for i, row in enumerate(buckets):
            order = np.argsort(row, kind="stable")
            mass: Any = weights[order].cumsum()
            wanted = float(mass[-1]) * self.percentile / 100 * (1 - 1e-12)
            at = int((mass < wanted).sum())
            level[i] = min(ends[row[order[at]]], 1.0) * largest[i]
        return level

    def _buckets(self, scaled: Array) -> tuple[NDArray[np.int64], Array]:
        """The bucket of each value; where bucket k ends: first (ratio^(k+1) - 1) / (ratio - 1)."""
        growth = self.ratio - 1
        bucket = np.floor(np.log1p(scaled * growth / self.first) / np.log(self.ratio))
        last = int(np.ceil(np.log1p(growth / self.first) / np.log(self.ratio)))
        grown = np.exp(counting(1, last + 2) * np.log(self.ratio))
        return bucket.astype(np.int64), np.asarray(self.first * (grown - 1) / growth, np.float64)
