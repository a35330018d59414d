"""How sure a mean difference is: the percentile bootstrap.

Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13: no normal distribution is
assumed, and the draws are seeded, so that equal numbers give equal intervals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError

RESAMPLES = 10_000


def interval(differences: NDArray[np.float64], resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of the mean of float64[n], n >= 2.

    Raises `ConfigError` for fewer than two pairs, or for what is not finite.
    """
    if len(differences) < 2:
        raise ConfigError(f"expected at least 2 seeds to compare, got {len(differences)}")
    if not np.isfinite(differences).all():
        raise ConfigError("expected finite differences: a metric has no value for some seed")
    drawn = np.random.default_rng(0).integers(0, len(differences), (resamples, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
