"""Of all the weights a run goes through the best are kept, also across an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cerebrum.learn.best_weights import STARTS, BestWeights, Weights, best_of  # noqa: E402
from cerebrum.learn.games import two_step_game  # noqa: E402
from cerebrum.learn.qmix import TeamSettings, TeamTrainer  # noqa: E402
from cerebrum.learn.recipes import Settings  # noqa: E402

SETTINGS = TeamSettings(rounds=8, round_steps=5, explore_share=0.0, hidden=(8,), replay_slices=15)


class Killed(BaseException):
    pass


def run(
    out: Path, costs: Iterator[float], resume: bool = False, **other: Any
) -> tuple[Weights, list[tuple[float, Weights]]]:
    """A run whose weights are judged by a list: the best of them, and all that were looked at."""
    trainer = TeamTrainer(two_step_game(4), replace(SETTINGS, **other), torch.device("cpu"))
    looks: list[tuple[float, Weights]] = []

    def cost(weights: Weights) -> float:
        found = next(costs)
        if np.isnan(found):
            raise Killed
        looks.append((found, weights))
        return found

    best = BestWeights(trainer, Settings(out, resume=resume), cost)
    try:
        return best.train(), looks
    except Killed:
        return best.weights, looks


def same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_the_weights_that_cost_least_are_kept_not_the_last(tmp_path: Path) -> None:
    best, looks = run(tmp_path, iter([3.0, 1.0, 2.0, 1.0]))

    assert len(looks) == 4  # every second of eight rounds
    assert same(best, looks[1][1])
    assert not same(best, looks[3][1])


def test_what_a_team_does_while_it_explores_is_not_looked_at(tmp_path: Path) -> None:
    _, looks = run(tmp_path / "half", iter([3.0, 1.0, 2.0]), explore_share=0.5)
    _, last = run(tmp_path / "all", iter([3.0]), explore_share=1.0)

    assert len(looks) == 3  # after four, six and eight rounds
    assert len(last) == 1


def test_a_resumed_run_knows_what_was_best_before_it_was_stopped(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", iter([3.0, 1.0, 2.0, 4.0]))

    run(tmp_path / "cut", iter([3.0, 1.0, np.nan]))
    resumed, looks = run(tmp_path / "cut", iter([2.0, 4.0]), resume=True)

    assert len(looks) == 2
    assert same(resumed, whole)


def test_a_run_that_begins_anew_forgets_the_one_before(tmp_path: Path) -> None:
    run(tmp_path, iter([1.0, 1.0, 1.0, 1.0]))

    best, looks = run(tmp_path, iter([5.0, 4.0, 3.0, 6.0]))

    assert same(best, looks[2][1])


def test_of_several_runs_the_best_one_counts_and_its_curve_is_shown(tmp_path: Path) -> None:
    costs = iter([4.0, 3.0, 5.0, 5.0, 9.0, 9.0, 1.0, 9.0, 2.0, 2.0, 2.0, 2.0])
    told: list[int] = []

    def make(seed: int) -> TeamTrainer:
        return TeamTrainer(two_step_game(4), replace(SETTINGS, seed=seed), torch.device("cpu"))

    def once(resume: bool, judge: Callable[[Weights], float]) -> Weights:
        settings = Settings(
            tmp_path, budget=3 / STARTS, resume=resume,
            progress=lambda done, *_: told.append(done),
        )  # fmt: skip
        return best_of(make, settings, judge)

    best = once(False, lambda weights: next(costs))
    alone, _ = run(tmp_path / "alone", iter([9.0, 9.0, 1.0, 9.0]), seed=1)

    assert same(best, alone)
    assert told == list(range(1, 25))
    curves = [path / "curve.csv" for path in (tmp_path, tmp_path / "start-1")]
    assert curves[0].read_text() == curves[1].read_text()
    # What has ended is not run again, and needs no replay to be known.
    assert same(once(True, lambda weights: 1 / 0), best)
    assert (tmp_path / "start-1" / "checkpoint.safetensors").stat().st_size < 100_000
