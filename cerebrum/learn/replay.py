"""Replay of whole vector steps, in arrays that are made once.

A slice is what all parallel teams saw, did and got at one step; what they saw next is the slice
after it. Sampling draws slices, not single teams: a view instead of a gather, and one gradient step
on hundreds of transitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Team(Protocol):
    """E teams of up to N agents, stepped together.

    `observation` float32[E, N, F]; `mask` bool[E, N]: whether the agent has a choice (without one
    it takes action 0); `state` float32[E, S]: what only training may know. Arrays are overwritten
    by the next call. A team that is done begins again by itself. `actions` how many an agent has.
    """

    actions: int

    @property
    def observation(self) -> NDArray[np.float32]:
        """See the class."""
        ...

    @property
    def mask(self) -> NDArray[np.bool_]:
        """See the class."""
        ...

    @property
    def state(self) -> NDArray[np.float32]:
        """See the class."""
        ...

    def reset(self, seeds: NDArray[np.int64]) -> None:
        """Every team from its beginning; one seed a team decides all that follows."""
        ...

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Act, int64[E, N]; each team's reward and whether its episode ended."""
        ...


@dataclass(frozen=True)
class Batch:
    """Transitions of B teams; `n_*` is what was seen next."""

    observation: NDArray[np.float32]
    mask: NDArray[np.bool_]
    state: NDArray[np.float32]
    actions: NDArray[np.int64]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    n_observation: NDArray[np.float32]
    n_mask: NDArray[np.bool_]
    n_state: NDArray[np.float32]


class Replay:
    """The last `slices` steps of a team environment. `arrays` is all there is to keep of it."""

    def __init__(self, team: Team, slices: int) -> None:
        seen = {"observation": team.observation, "mask": team.mask, "state": team.state}
        self.arrays: dict[str, NDArray[np.generic]] = {
            name: np.zeros((slices, *array.shape), array.dtype) for name, array in seen.items()
        }
        envs, agents = team.mask.shape
        self.arrays["actions"] = np.zeros((slices, envs, agents), np.int64)
        self.arrays["reward"] = np.zeros((slices, envs), np.float32)
        self.arrays["done"] = np.zeros((slices, envs), np.bool_)
        self.arrays["follows"] = np.zeros(slices, np.bool_)  # whether the slice after it is next
        self.slices, self.written = slices, 0

    def see(self, team: Team) -> None:
        """Keep what the teams see now; `act` completes the slice."""
        at = self.written % self.slices
        for name in ("observation", "mask", "state"):
            self.arrays[name][at] = getattr(team, name)
        self.arrays["follows"][at] = False

    def act(
        self, actions: NDArray[np.int64], reward: NDArray[np.float32], done: NDArray[np.bool_]
    ) -> None:
        """Keep what was done in the slice that was seen last; the next `see` follows it."""
        at = self.written % self.slices
        self.arrays["actions"][at], self.arrays["reward"][at] = actions, reward
        self.arrays["done"][at], self.arrays["follows"][at] = done, True
        self.written += 1

    def cut(self) -> None:
        """What is seen next does not follow from what was done last."""
        if self.written:
            self.arrays["follows"][(self.written - 1) % self.slices] = False

    @property
    def usable(self) -> NDArray[np.int64]:
        """Slices with a next one."""
        return np.flatnonzero(self.arrays["follows"])

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` slices drawn with replacement, all of their teams."""
        usable = self.usable
        at = usable[rng.integers(len(usable), size=count)]
        then = (at + 1) % self.slices
        now = {name: self._rows(name, at) for name in self.arrays if name != "follows"}
        seen = ("observation", "mask", "state")
        return Batch(**now, **{f"n_{name}": self._rows(name, then) for name in seen})  # type: ignore[arg-type]

    def _rows(self, name: str, at: NDArray[np.int64]) -> NDArray[np.generic]:
        array = self.arrays[name]
        if len(at) == 1:
            return array[at[0]]
        return array[at].reshape(-1, *array.shape[2:])
