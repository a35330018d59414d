"""Comparisons in pairs: what cancels out, what an interval covers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cerebrum.experiments.paired import paired
from cerebrum.model.bootstrap import interval
from cerebrum.model.errors import ConfigError, UnknownName


def rows(**values: list[float]) -> list[dict[str, Any]]:
    """A row for each policy and seed: `mine=[...]` are the values of seeds 1, 2, ..."""
    return [
        {"scenario": "s", "policy": policy, "seed": seed, "wait_s_mean": value, "started": value}
        for policy, seen in values.items()
        for seed, value in enumerate(seen, start=1)
    ]


def test_hard_seeds_cancel_out_in_pairs() -> None:
    """The seeds differ by hundreds; that the candidate waits two seconds less is still seen."""
    hard = [100.0, 900.0, 300.0, 500.0, 700.0]
    mine = [98.5, 897.5, 298.2, 498.0, 697.8]
    found = paired(rows(mine=mine, other=hard), "mine", ["wait_s_mean"])[0]
    assert found.difference == pytest.approx(-2.0)
    assert -2.5 <= found.low < found.high <= -1.5
    assert (found.verdict, found.wins, found.losses) == ("better", 5, 0)


def test_more_is_better_or_worse_as_the_metric_says() -> None:
    table = rows(mine=[3.0, 3.0, 4.0], other=[1.0, 2.0, 1.0])
    waits, started = paired(table, "mine", ["wait_s_mean", "started"])
    assert (waits.verdict, waits.wins) == ("worse", 0)
    assert (started.verdict, started.wins) == ("better", 3)


def test_equal_and_open_are_told_apart() -> None:
    table = rows(mine=[1.0, 2.0, 3.0], same=[1.0, 2.0, 3.0], mixed=[2.0, 1.0, 3.0])
    assert [c.verdict for c in paired(table, "mine", ["started"])] == ["equal", "open"]


def test_only_seeds_that_both_have_are_compared() -> None:
    table = rows(mine=[1.0, 2.0, 9.0], other=[1.0, 2.0, 3.0, 50.0])
    table = [row for row in table if not (row["policy"] == "mine" and row["seed"] == 3)]
    found = paired(table, "mine", ["started"])[0]
    assert (found.seeds, found.difference) == (2, 0.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        low, high = interval(rng.exponential(2.0, 40), resamples=500)
        inside += low <= 2.0 <= high
    assert 0.86 <= inside / 200 <= 0.98


def test_what_cannot_be_compared_is_refused() -> None:
    table = rows(mine=[1.0], other=[2.0])
    with pytest.raises(ConfigError, match="at least 2 seeds"):
        paired(table, "mine", ["started"])
    with pytest.raises(UnknownName, match="mine"):
        paired(table, "mien", ["started"])
    with pytest.raises(UnknownName, match="wait_s_mean"):
        paired(rows(mine=[1.0, 2.0], other=[1.0, 2.0]), "mine", ["wait_mean_s"])
    with pytest.raises(ConfigError, match="finite"):
        paired(rows(mine=[1.0, float("nan")], other=[1.0, 2.0]), "mine", ["started"])
