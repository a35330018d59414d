"""Off-policy evaluation: what another policy would have earned, from what a running one logged.

A logged choice has a reward r, the probability p with which it was made (`propensity`), and the
probability q with which the other policy would have made it. Then, over n choices with w = q / p:

    ips    mean of w r: unbiased, high variance (Horvitz and Thompson, JASA 1952)
    snips  sum of w r / sum of w: a little biased, bounded by the rewards seen, and insensitive to
           an offset of the reward (Swaminathan and Joachims, NIPS 2015)
    dr     mean of m + w (r - m'): a model of the reward, corrected by what was seen; right if the
           propensities or the model are (Dudik, Langford and Li, ICML 2011)

with m' the model's reward of the choice that was made and m its mean over the choices the other
policy would make. All need p > 0 wherever q > 0: exploration. What one choice does to later ones is
left out, so rewards should be of the choice itself, such as the fragmentation it caused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward, its standard error, and how much of the log it rests on: `effective` choices
    (sum of w)^2 / sum of w^2 out of `choices`. Below a few dozen it says little."""

    value: float
    error: float
    effective: float
    choices: int

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval, by the normal approximation."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error


@dataclass(frozen=True, eq=False)
class Logged:
    """Choices by column, float64[n] each: `reward` in any unit, `propensity` in (0, 1],
    `target` the other policy's probability of the same choice, in [0, 1]. Raises `InputError`."""

    reward: Numbers
    propensity: Numbers
    target: Numbers

    def __post_init__(self) -> None:
        n = len(self.reward)
        for name in ("reward", "propensity", "target"):
            column: Numbers = getattr(self, name)
            if column.shape != (n,) or not np.isfinite(column).all():
                raise InputError(f"expected {n} finite numbers").at(field=name)
        if not n:
            raise InputError("expected at least one choice").at(field="reward")
        if (self.propensity <= 0).any() or (self.propensity > 1).any():
            raise InputError("expected probabilities above 0, at most 1").at(field="propensity")
        if (self.target < 0).any() or (self.target > 1).any():
            raise InputError("expected probabilities from 0 to 1").at(field="target")

    @property
    def weight(self) -> Numbers:
        """How much likelier the other policy makes each choice."""
        return self.target / self.propensity

    @classmethod
    def of_events(
        cls, bound: Iterable[Mapping[str, Any]], reward: Callable[[Mapping[str, Any]], float]
    ) -> Logged:
        """From the `bound` events of an agent that explored: those choices that say how probable
        the candidate would have made them. `reward` gives a choice's, NaN where it is not known."""
        rows: list[tuple[float, float, float]] = []
        for data in bound:
            noted: Mapping[str, Any] = data.get("rollout") or {}
            target = float(noted.get("candidate_propensity", math.nan))
            earned = float(reward(data))
            if math.isfinite(target) and math.isfinite(earned):
                rows.append((earned, float(noted["propensity"]), target))
        if not rows:
            raise InputError("no choice was explored: run canary or on with --explore above 0")
        columns = np.array(rows, np.float64).T
        return cls(*(np.ascontiguousarray(column) for column in columns))


def ips(logged: Logged) -> Estimate:
    """Inverse propensity scoring."""
    return _mean(logged.weight * logged.reward, logged)


def snips(logged: Logged) -> Estimate:
    """Self-normalised inverse propensity scoring. Raises `InputError` without any overlap."""
    w = logged.weight
    total = w.sum()
    if total == 0:
        problem = "the other policy would have made none of these choices"
        raise InputError(problem).at(field="target")
    value = float((w * logged.reward).sum() / total)
    error = float(np.sqrt((w**2 * (logged.reward - value) ** 2).sum()) / total)
    return Estimate(value, error, _effective(w), len(w))


def doubly_robust(logged: Logged, made: Numbers, expected: Numbers) -> Estimate:
    """`made` the model's reward of each choice that was made, `expected` its mean over what the
    other policy would choose there: float64[n]. Raises `InputError` for other shapes."""
    for name, column in (("made", made), ("expected", expected)):
        if column.shape != logged.reward.shape or not np.isfinite(column).all():
            raise InputError(f"expected {len(logged.reward)} finite numbers").at(field=name)
    return _mean(expected + logged.weight * (logged.reward - made), logged)


def _mean(values: Numbers, logged: Logged) -> Estimate:
    n = len(values)
    error = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    return Estimate(float(values.mean()), error, _effective(logged.weight), n)


def _effective(weight: Numbers) -> float:
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0
