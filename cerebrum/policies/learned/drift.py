"""Drift: whether what a policy chooses is distributed as it was in training.

The population stability index, as credit scoring has used it since the 1990s: over bins of the
training distribution, the sum of (found - expected) ln(found / expected). Below 0.1 nothing moved,
above 0.25 a population is usually called another one.

Successive choices are no sample of all choices: while a cluster fills, each window of them differs
from the whole. So what counts as drift is a window further from the whole than every window of the
training runs was (`Usual.wander`), by more than the mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.statistics import LEVELS, check_columns

WINDOW = 500
"""Successive choices that are looked at together."""


@dataclass(frozen=True, eq=False)
class Usual:
    """What a policy's choices looked like where it was trained.

    `quantiles` float64[LEVELS, F] of the features of what it chose; `wander` float64[F] the largest
    stability index of `WINDOW` successive choices of one run. Raises `ConfigError` for other shapes
    and for what is not finite.
    """

    quantiles: NDArray[np.float64]
    wander: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_columns("usual", {"wander": self.wander}, self.quantiles)

    def __len__(self) -> int:
        return len(self.wander)

    @classmethod
    def of(cls, runs: Iterable[NDArray[np.floating]]) -> Usual:
        """Of the choices of each run, [choices, F], in their order; a last window that is not full
        does not count. Raises `ConfigError` where no run fills one."""
        known = [np.asarray(run, np.float64) for run in runs]
        windows = [
            run[first : first + WINDOW]
            for run in known
            for first in range(0, len(run) - WINDOW + 1, WINDOW)
        ]
        if not windows:
            raise ConfigError(f"expected a run of at least {WINDOW} choices").at(field="usual")
        quantiles = np.quantile(np.concatenate(known), LEVELS, axis=0)
        return cls(quantiles, np.max([indices(one, quantiles) for one in windows], axis=0))


class Drift:
    """Choices against the usual ones, judged whenever `window` have come."""

    def __init__(self, usual: Usual, window: int = WINDOW) -> None:
        self.usual, self._window = usual, window
        self._seen = np.zeros((window, len(usual)))
        self._count = 0

    def add(self, features: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """float64[F] indices when this one fills the window, which then starts anew; else None."""
        self._seen[self._count] = features
        self._count += 1
        if self._count < self._window:
            return None
        self._count = 0
        return indices(self._seen, self.usual.quantiles)


def indices(seen: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[F]: the stability index of each column."""
    columns = zip(seen.T, quantiles.T, strict=True)
    return np.array([stability_index(column, edges) for column, edges in columns])


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
