"""One cluster as a Gymnasium environment: each step places one task.

Importing this module registers `cerebrum/Placement-v0`, for `gymnasium.make` and, as a batch,
`gymnasium.make_vec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cerebrum.learn import _spaces
from cerebrum.learn.sources import Source

ID = "cerebrum/Placement-v0"


class ClusterEnv(gymnasium.Env[_spaces.Observation, np.int64]):
    """Place the task at hand on a node, or pass it over.

    Action `Discrete(N + 1)`: a row of the cluster, N to pass. An action the mask forbids passes,
    and `info["refused"]` says so. Observation: `nodes` float32[N, F] features of each node that can
    take the task (zeros for others), `cluster` float32[S] the cluster pooled, `action_mask`
    int8[N + 1]; the reward is a weighted sum of terms (`cerebrum.learn.rewards`), each of which is
    in `info["terms"]`. An episode ends with its scenario; it is never truncated.
    """

    def __init__(
        self,
        source: Source | Sequence[Source] | str | None = None,
        seed: int | None = None,
        render_mode: None = None,
        **settings: Unpack[_spaces.Settings],
    ) -> None:
        """`source` a `Source`, several, a trace or the name of a generated one (default:
        `Generated()`); `settings` as of `Clusters`."""
        self.render_mode = render_mode
        self.clusters = _spaces.opened(source, 1, seed, settings)
        self.observation_space = _spaces.observation_space(self.clusters)
        self.action_space = spaces.Discrete(self.clusters.nodes + 1)
        self._fresh = seed is not None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_spaces.Observation, dict[str, Any]]:
        """To the first decision of an episode that `seed` decides, or the next one."""
        super().reset(seed=seed)
        if seed is not None:
            self.clusters.reset([seed])
        elif not self._fresh:
            self.clusters.renew(np.ones(1, np.bool_))
        self._fresh = False
        return self._observation(), self._info()

    def step(
        self, action: np.int64 | int
    ) -> tuple[_spaces.Observation, float, bool, bool, dict[str, Any]]:
        """Carry out one action and move on to the next decision."""
        if not self.action_space.contains(np.int64(action)):
            raise ValueError(f"expected an action of {self.action_space}, got {action!r}")
        rows = _spaces.rows_of_actions(self.clusters, np.array([action]))
        refused = bool(rows[0] < 0 and action < self.clusters.nodes)
        rewards, done = self.clusters.step(rows)
        ended = bool(done[0])
        self._fresh = ended  # the batch is at the start of the next episode already
        observation = self._observation()
        if ended:
            _spaces.nothing_to_do({name: a[None] for name, a in observation.items()}, 0)
        info = {**self._info(), "refused": refused, "terms": _spaces.terms_of(self.clusters, 0)}
        return observation, float(rewards[0]), ended, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """bool[N + 1]: what is allowed now, under the name sb3-contrib asks for."""
        if self._fresh and bool(self.clusters.done[0]):
            return np.arange(self.clusters.nodes + 1) == self.clusters.nodes
        return np.append(self.clusters.mask[0], True)

    def _observation(self) -> _spaces.Observation:
        return {name: array[0] for name, array in _spaces.observed(self.clusters).items()}

    def _info(self) -> dict[str, Any]:
        return {"task": int(self.clusters.tasks[0]), "time_s": float(self.clusters.time_s[0])}


def register() -> None:
    """Make the environments known to Gymnasium; again does nothing."""
    if ID not in gymnasium.registry:
        gymnasium.register(
            ID,
            entry_point="cerebrum.learn.gym_env:ClusterEnv",
            vector_entry_point="cerebrum.learn.vector_env:ClusterVectorEnv",
        )


register()
