"""Is one policy better than another? Differences on the same seeds, with bootstrap intervals.

Both policies meet the same scenarios, so what makes one seed harder than another cancels out. The
interval holds the middle 95 % of the mean difference over resamples of the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.bootstrap import interval
from cerebrum.model.errors import UnknownName

_HIGHER_WINS = ("allocation", "utilisation", "started", "succeeded", "reward")
"""Parts of the names of metrics of which more is better; of all others less is."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`candidate` against `baseline` by one metric of one scenario, over `seeds` pairs.

    `difference` is the mean of candidate - baseline, `low` and `high` its 95 % interval. `wins`
    and `losses` count seeds; equal ones are neither. `verdict` is `better` or `worse` where the
    interval leaves out zero, `equal` where no seed differs, else `open`.
    """

    scenario: str
    metric: str
    candidate: str
    baseline: str
    seeds: int
    candidate_mean: float
    baseline_mean: float
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    verdict: str

    def record(self) -> dict[str, Any]:
        """The comparison as a flat row."""
        return asdict(self)


def paired(
    rows: Sequence[Mapping[str, Any]], candidate: str, metrics: Sequence[str]
) -> list[Comparison]:
    """Every other policy of `rows` (see `table.row`) as the baseline of `candidate`.

    Only seeds that both have count. Raises `UnknownName` for a policy or metric that is not there.
    """
    policies = list(dict.fromkeys(str(row["policy"]) for row in rows))
    if candidate not in policies:
        raise UnknownName("policy", candidate, policies)
    known = list(dict.fromkeys(name for row in rows for name in row))
    for metric in metrics:
        if metric not in known:
            raise UnknownName("metric", metric, known)
    return [
        _compared(values, scenario, metric, candidate, baseline)
        for scenario in dict.fromkeys(str(row["scenario"]) for row in rows)
        for metric in metrics
        for values in [_by_policy(rows, scenario, metric)]
        for baseline in policies
        if baseline != candidate and values.get(candidate) and values.get(baseline)
    ]


def _by_policy(
    rows: Sequence[Mapping[str, Any]], scenario: str, metric: str
) -> dict[str, dict[int, float]]:
    """Policy -> seed -> value, where there is one."""
    out: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["scenario"] == scenario and row.get(metric) is not None:
            out.setdefault(str(row["policy"]), {})[int(row["seed"])] = float(row[metric])
    return out


def _compared(
    values: dict[str, dict[int, float]], scenario: str, metric: str, candidate: str, baseline: str
) -> Comparison:
    mine, theirs = values[candidate], values[baseline]
    both = sorted(mine.keys() & theirs.keys())
    ours = np.array([mine[seed] for seed in both])
    others = np.array([theirs[seed] for seed in both])
    differences = ours - others
    low, high = interval(differences)
    gain = differences if higher_wins(metric) else -differences
    return Comparison(
        scenario, metric, candidate, baseline, len(both), float(ours.mean()), float(others.mean()),
        float(differences.mean()), low, high, int((gain > 0).sum()), int((gain < 0).sum()),
        _verdict(gain, *((low, high) if higher_wins(metric) else (-high, -low))),
    )  # fmt: skip


def _verdict(gain: NDArray[np.float64], low: float, high: float) -> str:
    if not gain.any():
        return "equal"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "open"


def higher_wins(metric: str) -> bool:
    """Whether more of a metric is better, read off its name."""
    return any(part in metric for part in _HIGHER_WINS)
