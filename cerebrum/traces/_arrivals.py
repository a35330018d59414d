"""Arrival processes: when jobs come. All times in seconds, all rates in jobs per second.

Each process is a frozen value with a checked constructor and `times(rng, count)`: float64[count],
ascending, from 0. The mean rate is `rate_per_s` for every process, so they can be exchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError

Times = NDArray[np.float64]


def check_number(name: str, value: Any, low: float, high: float, strict: bool = False) -> None:
    """Refuse what is not a finite number in `low`..`high` (above `low` if `strict`)."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if real and math.isfinite(value) and low <= value <= high and not (strict and value == low):
        return
    at_least = f"above {low:g}" if strict else f"of at least {low:g}"
    bound = at_least if high == math.inf else f"{at_least}, at most {high:g}"
    raise InputError(f"expected a finite number {bound}, got {value!r}").at(field=name)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals: exponential gaps."""

    rate_per_s: float

    def __post_init__(self) -> None:
        check_number("rate_per_s", self.rate_per_s, 0, 1e9, strict=True)

    def times(self, rng: np.random.Generator, count: int) -> Times:
        """`count` ascending arrival times in seconds."""
        return np.cumsum(rng.standard_exponential(count)) / self.rate_per_s


@dataclass(frozen=True, slots=True)
class Compound:
    """Batches of jobs at the same moment: Poisson batches of geometric size, mean `batch_mean`."""

    rate_per_s: float
    batch_mean: float = 10.0

    def __post_init__(self) -> None:
        check_number("rate_per_s", self.rate_per_s, 0, 1e9, strict=True)
        check_number("batch_mean", self.batch_mean, 1, 1e6)

    def times(self, rng: np.random.Generator, count: int) -> Times:
        """`count` ascending arrival times in seconds; the last batch may be cut short."""
        sizes = np.zeros(0, np.int64)
        while sizes.sum() < count:
            wanted = int((count - sizes.sum()) / self.batch_mean) + 16
            sizes = np.append(sizes, rng.geometric(1 / self.batch_mean, wanted))
        batches = min(int(np.searchsorted(np.cumsum(sizes), count)) + 1, len(sizes))
        starts = np.cumsum(rng.standard_exponential(batches)) * self.batch_mean / self.rate_per_s
        return np.repeat(starts, sizes[:batches])[:count]


@dataclass(frozen=True, slots=True)
class Bursty:
    """Markov-modulated Poisson process of two states (MMPP-2).

    Bursts of mean length `burst_s`, at `burst_factor` times the mean rate, fill `burst_share` of
    the time; between them jobs come at the lower rate that keeps the mean at `rate_per_s`.
    """

    rate_per_s: float
    burst_factor: float = 5.0
    burst_share: float = 0.1
    burst_s: float = 600.0

    def __post_init__(self) -> None:
        check_number("rate_per_s", self.rate_per_s, 0, 1e9, strict=True)
        check_number("burst_share", self.burst_share, 0, 0.99, strict=True)
        check_number("burst_factor", self.burst_factor, 1, 1e6)
        check_number("burst_s", self.burst_s, 0, 1e9, strict=True)
        if self.burst_factor * self.burst_share > 1:
            raise InputError(
                f"expected at most {1 / self.burst_share:g} (1 / burst_share): bursts would bring "
                f"more than all jobs, got {self.burst_factor!r}"
            ).at(field="burst_factor")

    def times(self, rng: np.random.Generator, count: int) -> Times:
        """`count` ascending arrival times in seconds."""
        target = np.cumsum(rng.standard_exponential(count))
        clock, jobs = np.zeros(1), np.zeros(1)
        while jobs[-1] < (target[-1] if count else 0.0):
            more_clock, more_jobs = self._phases(rng, float(target[-1] - jobs[-1]))
            clock = np.append(clock, clock[-1] + more_clock)
            jobs = np.append(jobs, jobs[-1] + more_jobs)
        return np.interp(target, jobs, clock)

    def _phases(self, rng: np.random.Generator, expected_jobs: float) -> tuple[Times, Times]:
        """Ends of alternating calm and burst phases, and the jobs expected until each end."""
        cycle_s = self.burst_s / self.burst_share
        cycles = int(min(expected_jobs / (self.rate_per_s * cycle_s), 1e6)) + 8
        lengths = rng.standard_exponential((cycles, 2))
        lengths *= (cycle_s - self.burst_s, self.burst_s)
        calm_factor = (1 - self.burst_factor * self.burst_share) / (1 - self.burst_share)
        rates = self.rate_per_s * np.array([calm_factor, self.burst_factor])
        return np.cumsum(lengths), np.cumsum(lengths * rates)


@dataclass(frozen=True, slots=True)
class Diurnal:
    """A rate that follows a sine wave with its crest at `peak_s`.

    rate(t) = rate_per_s (1 + amplitude cos(2 pi (t - peak_s) / period_s)), sampled by thinning
    (Lewis and Shedler, 1979).
    """

    rate_per_s: float
    amplitude: float = 0.5
    period_s: float = 86_400.0
    peak_s: float = 50_400.0

    def __post_init__(self) -> None:
        check_number("rate_per_s", self.rate_per_s, 0, 1e9, strict=True)
        check_number("amplitude", self.amplitude, 0, 1)
        check_number("period_s", self.period_s, 0, 1e9, strict=True)
        check_number("peak_s", self.peak_s, 0, 1e9)

    def times(self, rng: np.random.Generator, count: int) -> Times:
        """`count` ascending arrival times in seconds."""
        kept: list[Times] = []
        found, now = 0, 0.0
        highest = self.rate_per_s * (1 + self.amplitude)
        while found < count:
            block = int((count - found) * (1 + self.amplitude) * 1.02) + 64
            times = now + np.cumsum(rng.standard_exponential(block)) / highest
            wave = np.cos(2 * np.pi * (times - self.peak_s) / self.period_s)
            accepted = rng.random(block) * (1 + self.amplitude) < 1 + self.amplitude * wave
            kept.append(times[accepted])
            found += int(accepted.sum())
            now = float(times[-1])
        return np.concatenate(kept)[:count] if kept else np.zeros(0)


Arrivals = Poisson | Compound | Bursty | Diurnal

PROCESSES: dict[str, type[Arrivals]] = {
    "poisson": Poisson,
    "compound": Compound,
    "bursty": Bursty,
    "diurnal": Diurnal,
}
"""What a description file may name as `process`."""
