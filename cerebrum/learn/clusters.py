"""Hundreds of clusters stepped at once: the batched core of every environment.

Each cluster is an engine of its own at a decision point: one task is to be placed, and somebody
says on which node. `step` carries out all decisions and moves every cluster to its next one in one
compiled call over the engine's own tables; arrays are written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT
from cerebrum.learn import _advance as kernels
from cerebrum.learn._episode import Episode
from cerebrum.learn._pool import Key, Pool
from cerebrum.learn.encoders import Encoder, get_encoder
from cerebrum.learn.rewards import DEFAULT, TERMS, Reward
from cerebrum.learn.sources import Source
from cerebrum.model.errors import ConfigError, InfeasibleDecision, InputError

MAX_ENVS = 65_536
STATE = (
    "able", "nodes", "waiting", "imbalance", "fragmented", "cpu_used", "memory_used", "gpu_used",
)  # fmt: skip
"""The last entries of the pooled state: share of nodes that can take the task, nodes / (nodes +
64), waiting / (waiting + 16), standard deviation of the share in use, GPUs useless to typical tasks
a node, and shares of the cluster in use. Before them: mean, then maximum of every feature over the
nodes that can take the task."""

_TRIES = 100
_REPEATS = 16_384  # of more scenarios than this hardly one comes twice


class Clusters:
    """E clusters of up to N nodes, each before its next decision.

    `observation` float32[E, N, F]: features of the nodes that can take the task at hand (zeros for
    others); `mask` bool[E, N]: which can; `present` bool[E, N]: which are there at all; `state`
    float32[E, S]: the cluster pooled, see `STATE`; `tasks` int64[E]: ids of the tasks at hand;
    `time_s` float64[E]. After `step`: `rewards` float32[E], `terms` float64[E, T] in the order of
    `rewards.TERMS`, `done` bool[E]. All are written in place by the next call.

    A task that fits nowhere waits by itself, or is rejected if `unplaceable` says so, without
    being asked about. A task passed over (-1) waits until something is freed, or is rejected if
    `passed` says so. A cluster whose episode ended is at the first decision of another one already:
    `done` and `rewards` are of the old, everything else of the new.
    """

    def __init__(
        self,
        sources: Source | Sequence[Source],
        envs: int,
        nodes: int | None = None,
        encoder: Encoder | str = "bid",
        reward: Reward | dict[str, float] | None = None,
        seed: int = 0,
        passed: Literal["wait", "reject"] = "wait",
        unplaceable: Literal["wait", "reject"] = "wait",
        keep_log: bool = False,
    ) -> None:
        """`nodes` rows at most in any scenario (default: what the sources need); `reward` weights
        of terms (default: wait and rejected, 1 each); `keep_log` keeps event logs for reading.

        Raises `ConfigError`, and `InputError` for a scenario that does not fit.
        """
        self._sources = list(sources) if isinstance(sources, Sequence) else [sources]
        self.encoder = get_encoder(encoder) if isinstance(encoder, str) else encoder
        self.reward = reward if isinstance(reward, Reward) else Reward(reward or DEFAULT)
        if nodes is None:
            nodes = max((source.rows for source in self._sources), default=1)
        self._check(envs, nodes, passed, unplaceable)
        self._options = np.zeros(kernels.N_OPTIONS, np.int64)
        self._options[kernels.PASSED_IS_REJECTED] = passed == "reject"
        self._options[kernels.UNPLACEABLE_IS_REJECTED] = unplaceable == "reject"
        self._options[kernels.KEEPS_LOG] = keep_log
        features = len(self.encoder)
        self.observation: NDArray[np.float32] = np.zeros((envs, nodes, features), np.float32)
        self.mask: NDArray[np.bool_] = np.zeros((envs, nodes), np.bool_)
        self.present: NDArray[np.bool_] = np.zeros((envs, nodes), np.bool_)
        self.state: NDArray[np.float32] = np.zeros((envs, 2 * features + len(STATE)), np.float32)
        self.tasks: NDArray[np.int64] = np.zeros(envs, np.int64)
        self.time_s: NDArray[np.float64] = np.zeros(envs)
        self.rewards: NDArray[np.float32] = np.zeros(envs, np.float32)
        self.terms: NDArray[np.float64] = np.zeros((envs, len(TERMS)))
        self.done: NDArray[np.bool_] = np.zeros(envs, np.bool_)
        self._rows = np.zeros(envs, np.int64)
        self._status = np.zeros(envs, np.int64)
        self._states, self._progresses = _handles(envs), _handles(envs)
        self._seed = seed
        self._pool, self._keys = Pool(), [(0, 0)] * envs
        self._episodes: list[Episode] = []
        self.reset()

    def _check(self, envs: int, nodes: int, passed: str, unplaceable: str) -> None:
        if not 1 <= envs <= MAX_ENVS:
            raise ConfigError(f"expected 1..{MAX_ENVS:,}, got {envs!r}").at(field="envs")
        if nodes < 1:
            raise ConfigError(f"expected at least 1, got {nodes!r}").at(field="nodes")
        if not self._sources or not all(source.variants for source in self._sources):
            raise ConfigError("expected at least one scenario").at(field="sources")
        for name, value in (("passed", passed), ("unplaceable", unplaceable)):
            if value not in ("wait", "reject"):
                raise ConfigError(f"expected wait or reject, got {value!r}").at(field=name)
        dark = any(source.carbon is None for source in self._sources)
        if dark and self.reward["emissions"]:
            raise ConfigError("emissions need a source with carbon intensity").at(field="reward")

    # -- shape ------------------------------------------------------------------------------

    @property
    def envs(self) -> int:
        """E."""
        return self.mask.shape[0]

    @property
    def nodes(self) -> int:
        """N."""
        return self.mask.shape[1]

    def episode(self, env: int) -> Episode:
        """The episode a cluster is in, for reading."""
        return self._episodes[env]

    # -- stepping ---------------------------------------------------------------------------

    def renew(self, only: NDArray[np.bool_]) -> None:
        """Clusters of bool[E] `only` give up their episode and begin the next one."""
        for env in np.flatnonzero(only):
            self._give_back(int(env))
            self._episodes[env] = self._begin(int(env))
        self._go_on()
        self._restart_ended()
        self.rewards[only], self.terms[only], self.done[only] = 0.0, 0.0, False

    def reset(self, seeds: NDArray[np.integer] | Sequence[int] | None = None) -> None:
        """Every cluster to the first decision of a new episode.

        `seeds` int[E], one a cluster; without, they follow from the batch's own seed.
        """
        given = range(self.envs) if seeds is None else [int(seed) for seed in seeds]
        if len(given) != self.envs:
            raise ConfigError(f"expected {self.envs} seeds, got {len(given)}").at(field="seeds")
        first = [self._seed] if seeds is None else []
        self._draws = [np.random.default_rng([*first, seed]) for seed in given]
        for env in range(len(self._episodes)):
            self._give_back(env)
        self._episodes = [self._begin(env) for env in range(self.envs)]
        self._go_on()
        self._restart_ended()
        self.rewards[:], self.terms[:], self.done[:] = 0.0, 0.0, False

    def step(
        self,
        rows: NDArray[np.integer] | Sequence[int],
        only: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Carry out int[E] decisions: the row to bind the task at hand to, or -1 to pass it over.

        Returns (`rewards`, `done`). Where bool[E] `only` is False a cluster stays where it is and
        earns nothing. Raises `InfeasibleDecision`, changing nothing, for a row the mask forbids.
        """
        self._rows[:] = rows
        if only is not None:
            self._rows[~only] = -1
        self._check_rows()
        if only is None:
            self._status[:] = kernels.DECIDED
        else:
            self._status[only] = kernels.DECIDED
            self.rewards[~only], self.terms[~only] = 0.0, 0.0
        self._go_on()
        np.equal(self._status, kernels.ENDED, out=self.done)
        if self.done.any():
            self._restart_ended()
        return self.rewards, self.done

    def _check_rows(self) -> None:
        inside = (self._rows >= -1) & (self._rows < self.nodes)
        allowed = np.where(inside, self.mask[np.arange(self.envs), self._rows * inside], False)
        wrong = ~(allowed | (self._rows == -1))
        if wrong.any():
            env = int(np.argmax(wrong))
            able = np.flatnonzero(self.mask[env]).tolist()
            raise InfeasibleDecision(
                f"cluster {env}: row {self._rows[env]} cannot take task {self.tasks[env]}, "
                f"expected -1 or one of {able[:20]}"
            )

    def _go_on(self) -> None:
        """Run until every cluster asks or is over; what the kernel cannot do is done here."""
        while True:
            kernels.advance(
                self._states, self._progresses, self._rows, self._status,
                self.encoder.address, self._options, self.reward.weights,
                self.observation, self.mask, self.present, self.state, self.tasks, self.time_s,
                self.terms, self.rewards,
            )  # fmt: skip
            stopped = np.flatnonzero(
                (self._status != kernels.ASKS) & (self._status != kernels.ENDED)
            )
            if not len(stopped):
                return
            for env in stopped:
                self._serve(int(env))

    def _serve(self, env: int) -> None:
        episode = self._episodes[env]
        if self._status[env] == kernels.CHANGES:
            episode.change_node()
        elif self._status[env] == kernels.FINISHES:
            episode.finish_task()
        elif self._status[env] == kernels.LOG_FULL:
            episode.make_room()
        else:
            raise InfeasibleDecision(f"cluster {env}: the engine refuses row {self._rows[env]}")
        self._states[env] = episode.state_handle
        self._status[env] = kernels.GOES_ON

    # -- episodes ---------------------------------------------------------------------------

    def _begin(self, env: int) -> Episode:
        draw = self._draws[env]
        place = int(draw.integers(len(self._sources)))
        key = place, int(draw.integers(self._sources[place].variants))
        episode = self._pool.take(key) or self._made(key)
        self._keys[env] = key
        self._states[env], self._progresses[env] = episode.state_handle, episode.handle
        self._status[env] = kernels.GOES_ON
        return episode

    def _made(self, key: Key) -> Episode:
        source = self._sources[key[0]]
        carbon = source.carbon
        signal = None if carbon is None else (carbon.time_s, carbon.g_per_kwh)
        episode = Episode(source.scenario(key[1]), self.nodes, signal)
        if source.variants <= _REPEATS and not self._options[kernels.KEEPS_LOG]:
            episode.keep_start()
        return episode

    def _give_back(self, env: int) -> None:
        """A log that somebody reads stays as it is; other episodes that can come again wait."""
        key = self._keys[env]
        repeats = self._sources[key[0]].variants <= _REPEATS
        if repeats and not self._options[kernels.KEEPS_LOG]:
            self._pool.give(key, self._episodes[env])

    def _restart_ended(self) -> None:
        for _ in range(_TRIES):
            ended = np.flatnonzero(self._status == kernels.ENDED)
            if not len(ended):
                return
            for env in ended:
                self._give_back(int(env))
                self._episodes[env] = self._begin(int(env))
            self._go_on()
        raise InputError(f"{_TRIES} scenarios in a row had no task that fits on a node").at(
            field="sources"
        )


def _handles(envs: int) -> Any:
    """One handle a cluster: addresses, or the tables themselves where Numba is switched off."""
    return np.zeros(envs, np.int64) if JIT else [None] * envs
