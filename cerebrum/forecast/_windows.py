"""What models that learn look at: the last steps of a series, summarised.

Each series is divided by its own scale first, so one model serves all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast._series import Array

LENGTH = 289  # a day of five-minute steps, and now
CHUNK = 16_384
_LAGS = (*range(13), 17, 23, 35)


def scales(history: Array) -> Array:
    """float64[series]: the largest magnitude of each, 1 where a series is 0 throughout."""
    largest = np.abs(history).max(axis=1)
    return np.where(largest > 0, largest, 1.0)


def features(series: Array, rows: NDArray[np.int64], at: NDArray[np.int64], step: int) -> Array:
    """float32[samples, features] of series `rows` as seen at time `at`, to look `step` ahead.

    Before its start a series is taken to have stood at its first value.
    """
    padded = np.concatenate([np.repeat(series[:, :1], LENGTH - 1, axis=1), series], axis=1)
    out: list[NDArray[np.float32]] = []
    offsets = np.arange(LENGTH)
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        window = padded[rows[part, None], at[part, None] + offsets].astype(np.float32)
        out.append(_summary(window, step))
    return np.concatenate(out).astype(np.float64)


def _summary(window: Any, step: int) -> NDArray[np.float32]:
    """Lags, the same time yesterday, and means, spreads and extremes over growing windows."""
    n = window.shape[1]
    columns: list[Any] = [window[:, n - 1 - lag] for lag in _LAGS]
    yesterday = n - 1 - (n - 1 - step) % n
    columns += [window[:, yesterday], window[:, min(n - 1, yesterday + 1)]]
    for width in (3, 6, 12, 36, 144, 288):
        tail = window[:, -width:]
        columns += [tail.mean(axis=1), tail.std(axis=1)]
        columns += [np.median(tail, axis=1)] if width <= 12 else [tail.max(axis=1)]
    ordered = np.sort(window, axis=1)
    columns += [ordered[:, n // 4], ordered[:, n // 2], ordered[:, 3 * n // 4]]
    columns.append(_since_change(window))
    out: NDArray[np.float32] = np.zeros((len(window), len(columns)), np.float32)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _since_change(window: Any) -> NDArray[np.float32]:
    """Steps since the series last moved by more than a hundredth of its scale."""
    moved = np.abs(np.diff(window, axis=1)) > 0.01
    back = np.argmax(moved[:, ::-1], axis=1)
    never = ~moved.any(axis=1)
    return (back + never * window.shape[1]).astype(np.float32)


def samples(
    shape: tuple[int, int], step: int, most: int, missing: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Series and times to learn from: evenly spread, at most `most`, none with a gap as target."""
    series, length = shape
    usable = length - step
    if usable < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    every = series * usable
    flat = np.arange(every) if every <= most else np.linspace(0, every - 1, most).astype(np.int64)
    rows, at = flat // usable, flat % usable
    kept = ~missing[rows, at + step]
    return rows[kept], at[kept]
