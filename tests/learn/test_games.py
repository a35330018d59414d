"""Team learning on games whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from cerebrum.learn.games import Game, learn_game, matrix_game, two_step_game

ROUNDS = 12  # enough for these assertions; the benchmark has ten seeds and a tenth of the tolerance


def test_qmix_finds_that_the_second_game_is_worth_more():
    found = learn_game(two_step_game, "qmix", seed=0, rounds=ROUNDS)
    true = [[[6.93, 6.93], [7.92, 7.92]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]]
    assert np.abs(found.values - true).max() < 0.2
    assert found.played == 8.0


def test_vdn_fails_as_it_is_known_to():
    found = learn_game(two_step_game, "vdn", seed=0, rounds=ROUNDS)
    assert np.abs(found.values[2] - [[-1.5, 2.5], [2.5, 6.5]]).max() < 0.4
    assert found.played == 7.0
    assert found.error == pytest.approx(0.75, abs=0.1)


@pytest.mark.slow
def test_qmix_finds_a_monotone_fit_of_the_matrix_that_is_not():
    found = learn_game(matrix_game, "qmix", seed=0, rounds=40)
    assert min(abs(found.error / fit - 1) for fit in (35.56, 32.0)) < 0.05


def test_games_pay_as_written_and_begin_again():
    game: Game = two_step_game(copies=2)
    reward, done = game.step(np.array([[0, 1], [1, 0]]))
    assert reward.tolist() == [0, 0]
    assert not done.any()
    assert game.state.argmax(1).tolist() == [1, 2]
    reward, done = game.step(np.array([[1, 1], [1, 1]]))
    assert reward.tolist() == [7, 8]
    assert done.all()
    assert game.state.argmax(1).tolist() == [0, 0]
