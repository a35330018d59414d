"""What the features looked like in training, to tell when serving sees something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles that are kept."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """float64[F] each, `quantiles` float64[LEVELS, F], of scaled features as the network saw them.

    `low` and `high` are the least and the greatest value seen. Raises `ConfigError` for shapes
    that do not fit, NaN, infinity, or an order that cannot be (`low > high`, a negative `std`).
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    def __post_init__(self) -> None:
        single = {name: getattr(self, name) for name in FIELDS[:4]}
        check_columns("statistics", single, self.quantiles)
        if (self.std < 0).any() or (self.low > self.high).any():
            raise ConfigError("expected std >= 0 and low <= high").at(field="statistics")

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def of(cls, observations: NDArray[np.floating]) -> Statistics:
        """Of observations [..., F], at least one. Raises `ConfigError` for NaN and infinity."""
        seen = np.asarray(observations, np.float64).reshape(-1, observations.shape[-1])
        if not len(seen):
            raise ConfigError("expected at least one observation").at(field="statistics")
        return cls(
            mean=seen.mean(0), std=seen.std(0), low=seen.min(0), high=seen.max(0),
            quantiles=np.quantile(seen, LEVELS, axis=0),
        )  # fmt: skip

    def reaching(self, observations: NDArray[np.floating]) -> Statistics:
        """The same with `low` and `high` as far out as these observations [n, F] are."""
        low, high = np.min(observations, axis=0), np.max(observations, axis=0)
        return replace(self, low=np.minimum(self.low, low), high=np.maximum(self.high, high))

    def outside(self, observations: NDArray[np.floating], margin: float = 0.1) -> NDArray[np.bool_]:
        """bool[..., F]: NaN, or beyond what was seen by more than `margin` of its range."""
        slack = margin * (self.high - self.low) + 1e-6
        return ~((observations >= self.low - slack) & (observations <= self.high + slack))


FIELDS = ("mean", "std", "low", "high", "quantiles")


def check_columns(
    field: str, single: Mapping[str, NDArray[np.float64]], quantiles: NDArray[np.float64]
) -> None:
    """Raises `ConfigError` unless `single` are finite float64[F], as wide as the first of them, and
    `quantiles` finite float64[LEVELS, F] that ascend."""
    width = next(iter(single.values())).shape
    wanted = dict.fromkeys(single, width) | {"quantiles": (len(LEVELS), *width)}
    for name, array in {**single, "quantiles": quantiles}.items():
        if len(width) != 1 or array.shape != wanted[name] or array.dtype != np.float64:
            raise ConfigError(f"expected float64{list(wanted[name])}, got {_said(array)}").at(
                field=f"{field}.{name}"
            )
        if not np.isfinite(array).all():
            raise ConfigError("expected finite numbers").at(field=f"{field}.{name}")
    if (np.diff(quantiles, axis=0) < 0).any():
        raise ConfigError("expected ascending quantiles").at(field=f"{field}.quantiles")


def _said(array: NDArray[np.generic]) -> str:
    return f"{array.dtype}{list(array.shape)}"
