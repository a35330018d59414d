"""What every forecaster does to a history first: check it, and close its gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError

Array = NDArray[np.float64]
MAX_STEPS = 10_000


def checked(history: Array) -> Array:
    """float64[series, time] without infinities. Raises `InputError`."""
    values = np.ascontiguousarray(history, np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"expected [series, time], got an array of shape {values.shape}").at(
            field="history"
        )
    if np.isinf(values).any():
        raise InputError("expected finite values, or NaN for a gap").at(field="history")
    return values


def steps(horizon: int) -> int:
    """A horizon that makes sense."""
    if not 1 <= horizon <= MAX_STEPS:
        raise InputError(f"expected 1..{MAX_STEPS} steps, got {horizon}").at(field="horizon")
    return horizon


def counting(start: int, stop: int, every: int = 1) -> NDArray[np.int64]:
    """start, start + every, ... below stop."""
    return np.fromiter(range(start, stop, every), np.int64)


def halving(count: int, half_life: float) -> Array:
    """Weights of `count` samples, oldest first; the newest is 1, one a half-life older 0.5."""
    return np.exp2(counting(1 - count, 1) / half_life)


def filled(values: Array) -> Array:
    """Gaps take the value before them, leading gaps the first value; a series of gaps is 0."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    last = np.where(missing, -1, counting(0, values.shape[1]))
    np.maximum.accumulate(last, axis=1, out=last)
    first = np.argmax(~missing, axis=1)
    at = np.where(last < 0, first[:, None], last)
    return np.nan_to_num(np.take_along_axis(values, at, axis=1), nan=0.0)
