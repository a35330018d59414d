"""Run-time distributions: how long tasks take. All times in seconds.

Each distribution is a frozen value with a checked constructor, its exact `mean_s`, and
`sample(rng, count)`: float64[count]. `residual` draws what is left of tasks found running.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError
from cerebrum.traces._arrivals import check_number

Seconds = NDArray[np.float64]
_MAX_S = 1e10


@dataclass(frozen=True, slots=True)
class Constant:
    """Every task runs `value_s`."""

    value_s: float

    def __post_init__(self) -> None:
        check_number("value_s", self.value_s, 0, _MAX_S)

    @property
    def mean_s(self) -> float:
        """Mean run time."""
        return self.value_s

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times."""
        return np.full(count, float(self.value_s))


@dataclass(frozen=True, slots=True)
class Forever:
    """Tasks that never end: packing experiments."""

    @property
    def mean_s(self) -> float:
        """Infinite."""
        return math.inf

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times."""
        return np.full(count, math.inf)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly between `low_s` and `high_s`."""

    low_s: float
    high_s: float

    def __post_init__(self) -> None:
        check_number("low_s", self.low_s, 0, _MAX_S)
        check_number("high_s", self.high_s, self.low_s, _MAX_S)

    @property
    def mean_s(self) -> float:
        """Mean run time."""
        return (self.low_s + self.high_s) / 2

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times."""
        return rng.uniform(self.low_s, self.high_s, count)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless, with the mean given."""

    mean_s: float

    def __post_init__(self) -> None:
        check_number("mean_s", self.mean_s, 0, _MAX_S, strict=True)

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times."""
        return rng.exponential(self.mean_s, count)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """exp(normal): the median given, `sigma` the standard deviation of the logarithm."""

    median_s: float
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_number("median_s", self.median_s, 0, _MAX_S, strict=True)
        check_number("sigma", self.sigma, 0, 5)

    @property
    def mean_s(self) -> float:
        """Mean run time."""
        return self.median_s * math.exp(self.sigma**2 / 2)

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times."""
        return self.median_s * np.exp(self.sigma * rng.standard_normal(count))


@dataclass(frozen=True, slots=True)
class Pareto:
    """Heavy tail cut off at both ends: density ~ t^-(alpha + 1) on `low_s`..`high_s`."""

    alpha: float
    low_s: float
    high_s: float

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, 0, 100, strict=True)
        check_number("low_s", self.low_s, 0, _MAX_S, strict=True)
        check_number("high_s", self.high_s, self.low_s, _MAX_S, strict=True)

    @property
    def mean_s(self) -> float:
        """Mean run time."""
        ratio, a = self.low_s / self.high_s, self.alpha
        if math.isclose(a, 1):
            return self.low_s * math.log(1 / ratio) / (1 - ratio)
        return self.low_s * a / (a - 1) * (1 - ratio ** (a - 1)) / (1 - ratio**a)

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times, by inverting the distribution function."""
        left = 1 - rng.random(count) * (1 - (self.low_s / self.high_s) ** self.alpha)
        return self.low_s * left ** (-1 / self.alpha)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Linear between measured quantiles: `values_s[i]` at probability `probabilities[i]`, 0..1."""

    probabilities: tuple[float, ...]
    values_s: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("probabilities", "values_s"):
            given = getattr(self, name)
            if len(given) < 2 or len(given) != len(self.probabilities):
                raise InputError("expected two or more, as many as probabilities").at(field=name)
            for value in given:
                check_number(name, value, 0, 1 if name == "probabilities" else _MAX_S)
            if any(a > b for a, b in itertools.pairwise(given)):
                raise InputError("expected ascending numbers").at(field=name)
        if (self.probabilities[0], self.probabilities[-1]) != (0, 1):
            raise InputError("expected 0 first and 1 last").at(field="probabilities")

    @property
    def mean_s(self) -> float:
        """Mean run time."""
        return float(np.trapezoid(self.values_s, self.probabilities))

    def sample(self, rng: np.random.Generator, count: int) -> Seconds:
        """`count` run times, by inverting the distribution function."""
        return np.interp(rng.random(count), self.probabilities, self.values_s)


Duration = Constant | Forever | Uniform | Exponential | LogNormal | Pareto | Quantiles

DISTRIBUTIONS: dict[str, type[Duration]] = {
    "constant": Constant,
    "forever": Forever,
    "uniform": Uniform,
    "exponential": Exponential,
    "lognormal": LogNormal,
    "pareto": Pareto,
    "quantiles": Quantiles,
}
"""What a description file may name as `distribution`."""


def residual(duration: Duration, rng: np.random.Generator, count: int) -> Seconds:
    """What is left of `count` tasks that are found running at a moment of steady state.

    Longer tasks are found more often (renewal theory: length-biased), at a uniform point of their
    run. The bias is drawn by resampling sixteen times as many run times with weight length.
    """
    if count == 0 or isinstance(duration, Forever):
        return duration.sample(rng, count)
    pool = duration.sample(rng, max(16 * count, 4096))
    cumulative = np.cumsum(pool)
    if cumulative[-1] == 0:
        return np.zeros(count)
    drawn: Seconds = rng.random(count) * cumulative[-1]
    found = np.searchsorted(cumulative, drawn)
    return pool[np.minimum(found, len(pool) - 1)] * rng.random(count)
