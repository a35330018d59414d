"""Games of two agents whose right answers are known: what a team learner must get right first.

The two-step game of the QMIX paper (Rashid et al., ICML 2018, section 6.1): agent 1's first action
picks the second game, 2A which always pays 7, or 2B which pays [[0, 1], [1, 8]]. The best return
is 8, and a sum of the agents' values cannot represent why. The matrix game of QTRAN (Son et al.,
ICML 2019) is not monotone: QMIX can only fit it one of two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cerebrum.learn.mixing import Method
from cerebrum.learn.qmix import TeamSettings, TeamTrainer

TWO_STEP_PAYOFF = np.array([[[0, 0], [0, 0]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]], np.float32)
"""By state (the first, 2A, 2B), action of agent 1, action of agent 2."""
MATRIX_PAYOFF = np.array([[[8, -12, -12], [-12, 0, 0], [-12, 0, 0]]], np.float32)
DISCOUNT = 0.99
"""Of the two-step game."""


class Game:
    """Many copies of a game of two agents, each state seen as itself by both: a `Team`.

    `payoff` float32[states, actions, actions]; `after[state, action of agent 1]` the next state,
    -1 where the game ends and begins again.
    """

    def __init__(
        self, payoff: NDArray[np.float32], after: NDArray[np.int64], copies: int = 32
    ) -> None:
        self.payoff, self.after = payoff, after
        self.states, self.actions = payoff.shape[:2]
        self.mask = np.ones((copies, 2), np.bool_)
        self.reset(np.zeros(copies, np.int64))

    def reset(self, seeds: NDArray[np.int64]) -> None:
        """To the first state; there is nothing to draw."""
        self._at = np.zeros(len(self.mask), np.int64)

    @property
    def state(self) -> NDArray[np.float32]:
        """One of as many as there are states."""
        return np.eye(self.states, dtype=np.float32)[self._at]

    @property
    def observation(self) -> NDArray[np.float32]:
        """The state, and which of the two agents it is."""
        return self.seen(self._at)

    def seen(self, at: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the agents see in these states."""
        state = np.eye(self.states, dtype=np.float32)[at]
        who = np.eye(2, dtype=np.float32)
        both = [np.c_[state, np.broadcast_to(one, (len(at), 2))] for one in who]
        return np.stack(both, axis=1)

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The payoff, and whether the game ended."""
        first, second = actions[:, 0], actions[:, 1]
        reward = self.payoff[self._at, first, second]
        then = self.after[self._at, first]
        done = then < 0
        self._at = np.where(done, 0, then)
        return reward, done


def two_step_game(copies: int = 32) -> Game:
    """Two steps, discount 0.99."""
    return Game(TWO_STEP_PAYOFF, np.array([[1, 2], [-1, -1], [-1, -1]]), copies)


def matrix_game(copies: int = 32) -> Game:
    """One step, 3 x 3."""
    return Game(MATRIX_PAYOFF, np.full((1, 3), -1), copies)


@dataclass(frozen=True)
class Learned:
    """`values` what joint actions are worth to the team, as `payoff`; `played` the greedy return,
    undiscounted; `error` mean squared distance to the truth of the greedy policy's values."""

    values: NDArray[np.float32]
    played: float
    error: float


def learn_game(
    make: Callable[[], Game], method: Method, seed: int = 0, rounds: int = 60
) -> Learned:
    """Train with all actions drawn at random, then play greedily."""
    settings = TeamSettings(
        method=method, rounds=rounds, round_steps=100, discount=DISCOUNT, epsilon=(1.0, 1.0),
        learning_rate=(5e-3, 1e-4), hidden=(32,), replay_slices=500, batch_slices=4,
        target_every=50, seed=seed,
    )  # fmt: skip
    game = make()
    trainer = TeamTrainer(game, settings, torch.device("cpu"))
    trainer.train()
    values = team_values(trainer, game)
    return Learned(values, _play(trainer, game), _error(values, game))


@torch.no_grad()
def team_values(trainer: TeamTrainer, game: Game) -> NDArray[np.float32]:
    """What each joint action is worth to the team, float32[states, actions, actions]."""
    at = np.arange(game.states, dtype=np.int64)
    seen = torch.from_numpy(game.seen(at))
    state, active = torch.eye(game.states), torch.ones(game.states, 2)
    q = trainer.agent(seen)
    values = np.empty_like(game.payoff)
    for i in range(game.actions):
        for j in range(game.actions):
            chosen = torch.stack([q[:, 0, i], q[:, 1, j]], 1)
            values[:, i, j] = trainer.mixer(chosen, active, seen, state).mean(1).numpy()
    return values


def _play(trainer: TeamTrainer, game: Game) -> float:
    """The return of greedy play from the first state."""
    game.reset(np.zeros(len(game.mask), np.int64))
    total = 0.0
    for _ in range(game.states):
        reward, done = game.step(trainer.act())
        total += float(reward[0])
        if done[0]:
            break
    return total


def _error(values: NDArray[np.float32], game: Game) -> float:
    """Mean squared error against the payoff plus what the learner itself expects next."""
    best = values.reshape(game.states, -1).max(axis=1)
    later = np.where(game.after >= 0, best[game.after], 0.0)
    return float(np.square(values - game.payoff - DISCOUNT * later[:, :, None]).mean())
