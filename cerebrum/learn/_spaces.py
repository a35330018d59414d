"""Spaces and observations that the adapters share: one task to place, N nodes, or pass it over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import Encoder
from cerebrum.learn.generated import Generated
from cerebrum.learn.rewards import NAMES, Reward
from cerebrum.learn.sources import Source, named

Observation = dict[str, NDArray[Any]]

_LARGEST = float(np.finfo(np.float32).max)  # features are finite, of the order of one, not bounded


class Settings(TypedDict):
    """What `Clusters` takes, as keyword arguments of an environment."""

    nodes: NotRequired[int]
    encoder: NotRequired[Encoder | str]
    reward: NotRequired[Reward | dict[str, float]]
    passed: NotRequired[Literal["wait", "reject"]]
    unplaceable: NotRequired[Literal["wait", "reject"]]
    keep_log: NotRequired[bool]


def opened(
    source: Source | Sequence[Source] | str | None,
    envs: int,
    seed: int | None,
    settings: Settings,
) -> Clusters:
    """The batch behind an environment; `source` as of `ClusterEnv`, a `seed` of None draws one."""
    if source is None:
        source = Generated()
    elif isinstance(source, str):
        source = named(source)
    return Clusters(source, envs, seed=fresh_seed() if seed is None else seed, **settings)


def fresh_seed() -> int:
    """A seed from the operating system, for who gives none."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)


def box(*shape: int) -> spaces.Box:
    """Finite numbers."""
    return spaces.Box(-_LARGEST, _LARGEST, shape, np.float32)


def dictionary(**parts: spaces.Space[Any]) -> spaces.Space[Observation]:
    """Arrays by name."""
    return cast("spaces.Space[Observation]", spaces.Dict(parts))


def observation_space(clusters: Clusters) -> spaces.Space[Observation]:
    """`nodes` float32[N, F], `cluster` float32[S], `action_mask` int8[N + 1]."""
    return dictionary(
        nodes=box(clusters.nodes, len(clusters.encoder)),
        cluster=box(clusters.state.shape[1]),
        action_mask=spaces.MultiBinary(clusters.nodes + 1),
    )


def observed(clusters: Clusters) -> Observation:
    """Copies for the whole batch, each with a first axis of E."""
    mask = np.ones((clusters.envs, clusters.nodes + 1), np.int8)
    mask[:, :-1] = clusters.mask
    return {
        "nodes": clusters.observation.copy(),
        "cluster": clusters.state.copy(),
        "action_mask": mask,
    }


def nothing_to_do(observation: Observation, where: Any) -> None:
    """What is seen after the last decision: no node, no task, only passing is left."""
    observation["nodes"][where] = 0.0
    observation["cluster"][where] = 0.0
    observation["action_mask"][where] = 0
    observation["action_mask"][where, -1] = 1


def rows_of_actions(clusters: Clusters, actions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to bind to: action i is row i, N passes; so does one the mask forbids."""
    rows = np.where((actions >= 0) & (actions < clusters.nodes), actions, -1)
    able = clusters.mask[np.arange(clusters.envs), np.maximum(rows, 0)]
    return np.where(able, rows, -1)


def terms_of(clusters: Clusters, env: int) -> dict[str, float]:
    """Reward terms of the last step by name, unweighted."""
    return dict(zip(NAMES, clusters.terms[env].tolist(), strict=True))
