"""The evolution strategy on functions whose best point is known."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.learn.evolve import Strategy
from cerebrum.model.errors import ConfigError

TARGET = np.array([1.0, -2.0, 0.5, 3.0, 0.0])


def bent(x: np.ndarray) -> np.ndarray:
    """Highest at TARGET; one direction counts a thousand times another."""
    return -((x - TARGET) ** 2 * np.array([1000.0, 100.0, 10.0, 1.0, 1.0])).sum(-1)


def searched(strategy: Strategy, generations: int) -> Strategy:
    for _ in range(generations):
        strategy.tell(bent(strategy.ask()))
    return strategy


def test_it_finds_the_best_point_of_a_badly_scaled_function() -> None:
    found = searched(Strategy(np.zeros(5), 1.0, seed=3), 250).mean
    assert found == pytest.approx(TARGET, abs=1e-4)


def test_only_the_order_of_candidates_counts() -> None:
    """A cliff of any height, the same order: the same search."""
    plain, steep = Strategy(np.zeros(5), 1.0, seed=3), Strategy(np.zeros(5), 1.0, seed=3)
    for _ in range(20):
        plain.tell(bent(plain.ask()))
        steep.tell(-np.exp(np.minimum(700.0, -bent(steep.ask()) / 50.0)))
    assert (plain.mean == steep.mean).all()


def test_candidates_come_in_pairs_around_the_mean() -> None:
    strategy = searched(Strategy(np.ones(5), 0.3, seed=1), 3)
    candidates = strategy.ask()
    half = len(candidates) // 2
    assert (candidates[:half] + candidates[half:]) / 2 == pytest.approx(
        np.tile(strategy.mean, (half, 1))
    )


def test_a_rounding_error_does_not_lead_to_another_search() -> None:
    """What another machine's linear algebra does differently, after every generation. With fewer
    candidates than weights, as in training, many directions of the search are alike."""
    weights = 40
    one, other = (Strategy(np.zeros(weights), 1.0, seed=3, population=8) for _ in range(2))
    noise, importance = np.random.default_rng(0), np.logspace(0, 3, weights)
    for _ in range(30):
        one.tell(-(importance * (one.ask() - 1.0) ** 2).sum(-1))
        other.tell(-(importance * (other.ask() - 1.0) ** 2).sum(-1))
        state = other.state()
        wrong = 1e-15 * noise.standard_normal((weights, weights))
        state["covariance"] = state["covariance"] * (1.0 + wrong + wrong.T)
        other = Strategy.restored(state)
    assert other.ask() == pytest.approx(one.ask(), rel=1e-9, abs=1e-9)


def test_an_interrupted_search_ends_where_an_uninterrupted_one_does() -> None:
    whole = searched(Strategy(np.zeros(5), 1.0, seed=3), 12)
    begun = searched(Strategy(np.zeros(5), 1.0, seed=3), 5)
    went_on = searched(Strategy.restored(begun.state()), 7)
    assert (whole.mean == went_on.mean).all()
    assert whole.sigma == went_on.sigma
    assert (whole.ask() == went_on.ask()).all()


def test_a_candidate_that_is_no_number_is_the_worst() -> None:
    """Everything on one side is broken: the mean moves to the other."""
    strategy = Strategy(np.zeros(2), 1.0, seed=0)
    for _ in range(5):
        x = strategy.ask()
        strategy.tell(np.where(x[:, 0] > 0, np.nan, -np.abs(x[:, 1])))
    assert strategy.mean[0] < 0


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"sigma": 0.0}, "step"), ({"mean": np.array([np.nan])}, "mean"), ({"population": 7}, "even")],
)
def test_what_cannot_be_searched_is_refused(changed, expected: str) -> None:
    given = {"mean": np.zeros(3), "sigma": 1.0, "seed": 0, "population": 8} | changed
    with pytest.raises(ConfigError, match=expected):
        Strategy(**given)
