"""The batch as a Gymnasium vector environment: all clusters in one compiled call, no workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from cerebrum.learn import _spaces
from cerebrum.learn.rewards import NAMES
from cerebrum.learn.sources import Source

Batch = NDArray[Any]


class ClusterVectorEnv(VectorEnv[_spaces.Observation, Batch, Batch]):
    """`ClusterEnv` E times over; spaces, masks and rewards as there, with a first axis of E.

    Autoreset: `next-step` (Gymnasium's default), where the step after the last one of an episode
    ignores its action, pays 0 and shows the first decision of the next; or `same-step`, where the
    last step shows that at once and `info["final_obs"]` what was last seen.
    """

    def __init__(
        self,
        num_envs: int = 1,
        source: Source | Sequence[Source] | str | None = None,
        seed: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: None = None,
        **settings: Unpack[_spaces.Settings],
    ) -> None:
        """As of `ClusterEnv`, for `num_envs` clusters. Raises `ValueError` for `disabled`."""
        mode = AutoresetMode(autoreset_mode)
        if mode == AutoresetMode.DISABLED:
            raise ValueError("expected autoreset next-step or same-step: clusters restart alone")
        self.render_mode = render_mode
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.clusters = _spaces.opened(source, num_envs, seed, settings)
        self.num_envs = num_envs
        self.single_observation_space = _spaces.observation_space(self.clusters)
        self.single_action_space = spaces.Discrete(self.clusters.nodes + 1)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._next_step = mode == AutoresetMode.NEXT_STEP
        self._over = np.zeros(num_envs, np.bool_)  # shows the end of an episode
        self._fresh = seed is not None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[_spaces.Observation, dict[str, Any]]:
        """All to a first decision; an int `seed` stands for seed, seed + 1, ... as in Gymnasium."""
        if isinstance(seed, int):
            self.clusters.reset(range(seed, seed + self.num_envs))
        elif seed is not None:
            self.clusters.reset([_spaces.fresh_seed() if one is None else one for one in seed])
        elif not self._fresh:
            self.clusters.renew(np.ones(self.num_envs, np.bool_))
        self._fresh = False
        self._over[:] = False
        return _spaces.observed(self.clusters), self._info()

    def step(
        self, actions: Batch
    ) -> tuple[_spaces.Observation, Batch, Batch, Batch, dict[str, Any]]:
        """Carry out int[E] actions; rewards float64[E], terminated and truncated bool[E]."""
        chosen = np.asarray(actions, np.int64)
        rows = _spaces.rows_of_actions(self.clusters, chosen)
        refused = (rows < 0) & (chosen != self.clusters.nodes) & ~self._over
        rewards, done = self.clusters.step(rows, ~self._over if self._next_step else None)
        observation, ended = _spaces.observed(self.clusters), done & ~self._over
        info = {**self._info(), "refused": refused, "terms": self._terms()}
        if self._next_step:
            self._over = ended.copy()
            _spaces.nothing_to_do(observation, ended)
        elif ended.any():
            self._add_final(info, ended)
        return observation, rewards.astype(np.float64), ended, np.zeros_like(ended), info

    def action_masks(self) -> NDArray[np.bool_]:
        """bool[E, N + 1]: what is allowed now."""
        masks = np.ones((self.num_envs, self.clusters.nodes + 1), np.bool_)
        masks[:, :-1] = self.clusters.mask & ~self._over[:, None]
        return masks

    def _add_final(self, info: dict[str, Any], ended: NDArray[np.bool_]) -> None:
        """What Gymnasium's own vector environments say of episodes that ended in this step."""
        last = {name: array.copy() for name, array in _spaces.observed(self.clusters).items()}
        _spaces.nothing_to_do(last, ended)
        final = np.full(self.num_envs, None, dtype=object)
        for env in np.flatnonzero(ended):
            final[env] = {name: array[env] for name, array in last.items()}
        info["final_obs"], info["_final_obs"] = final, ended.copy()
        info["final_info"] = {"terms": self._terms()}
        info["_final_info"] = ended.copy()

    def _terms(self) -> dict[str, Batch]:
        return {name: self.clusters.terms[:, i].copy() for i, name in enumerate(NAMES)}

    def _info(self) -> dict[str, Any]:
        return {"task": self.clusters.tasks.copy(), "time_s": self.clusters.time_s.copy()}
