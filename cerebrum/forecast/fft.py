"""Period by Fourier transform, then the mean of what came at the same place of earlier periods.

The idea of Crane's DSP predictor: the strongest frequency proposes a period, autocorrelation at
that lag confirms it. Unconfirmed series are forecast by their recent mean.
"""

from __future__ import annotations

import numpy as np

from cerebrum.forecast._series import Array, checked, filled, steps
from cerebrum.model.errors import InputError


class FftPeriod:
    """`confirm` is the least autocorrelation at the period found; `recent` steps are averaged where
    there is none."""

    name = "fft"

    def __init__(self, confirm: float = 0.2, recent: int = 12) -> None:
        if not (0 < confirm < 1 and recent >= 1):
            raise InputError("expected 0 < confirm < 1 and recent >= 1").at(field="confirm")
        self.confirm, self.recent = confirm, recent
        self.periods: list[int] = []

    def fit(self, history: Array) -> None:
        """Find each series' period (0: none)."""
        self._history = filled(checked(history))
        self.periods = [self._period(series) for series in self._history]

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]."""
        known = self._history if history is None else filled(checked(history))
        out = np.empty((len(known), steps(horizon)))
        for i, (series, period) in enumerate(zip(known, self.periods, strict=True)):
            if period == 0 or len(series) < period:
                out[i] = series[-self.recent :].mean()
                continue
            whole = series[len(series) % period :].reshape(-1, period)[-7:]
            out[i] = whole.mean(axis=0)[np.arange(horizon) % period]
        return out

    def _period(self, series: Array) -> int:
        n = len(series)
        centred = series - series.mean()
        if n < 8 or not centred.any():
            return 0
        power = np.abs(np.fft.rfft(centred)) ** 2
        power[0] = 0.0
        correlation = _autocorrelation(centred)
        for k in np.argsort(power)[::-1][:5]:
            guess = round(n / max(1, int(k)))
            if 2 <= guess <= n // 2:
                low, high = max(2, guess - guess // 8 - 1), min(n // 2, guess + guess // 8 + 1)
                lag = low + int(np.argmax(correlation[low : high + 1]))
                if correlation[lag] >= self.confirm:
                    return lag
        return 0


def _autocorrelation(centred: Array) -> Array:
    """Of every lag, by the Wiener-Khinchin theorem; 1 at lag 0."""
    n = len(centred)
    spectrum = np.fft.rfft(centred, 2 * n)
    raw = np.fft.irfft(spectrum * np.conj(spectrum))[:n] / np.arange(n, 0, -1)
    return raw / raw[0]
