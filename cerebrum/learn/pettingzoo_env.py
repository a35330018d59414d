"""One cluster as a PettingZoo parallel environment: every node is an agent that bids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from cerebrum.learn import _spaces
from cerebrum.learn.sources import Source
from cerebrum.policies.learned.bidder import ABSTAIN, BIDS, award

ByAgent = dict[str, Any]


class BiddingEnv(ParallelEnv[str, _spaces.Observation, int]):
    """Nodes bid for the task at hand; the highest feasible bid gets it, of equal ones the lowest
    row.

    Agents are `node_0`, `node_1`, ... by row; they come and go as the nodes do, and none comes
    back. Action `Discrete(11)`: 0 abstains, 1..10 bids. Observation: `observation` float32[F] what
    the node sees of itself and the task (zeros where it cannot take it), `action_mask` int8[11]. If
    all abstain, the task is passed over. Everybody gets the reward of the team; `state()` is the
    cluster pooled, for a centralised critic or mixer.
    """

    def __init__(
        self,
        source: Source | Sequence[Source] | str | None = None,
        seed: int | None = None,
        render_mode: None = None,
        **settings: Unpack[_spaces.Settings],
    ) -> None:
        """As of `ClusterEnv`."""
        self.metadata = {"name": "cerebrum_bidding_v0", "render_modes": []}
        self.render_mode = render_mode
        self.clusters = _spaces.opened(source, 1, seed, settings)
        self.possible_agents = [f"node_{row}" for row in range(self.clusters.nodes)]
        self.agents: list[str] = []
        self._row = {agent: row for row, agent in enumerate(self.possible_agents)}
        self.observation_spaces = {a: self._observation_space() for a in self.possible_agents}
        self.action_spaces: dict[str, spaces.Space[int]] = {
            agent: cast("spaces.Space[int]", spaces.Discrete(BIDS))
            for agent in self.possible_agents
        }
        self.state_space = _spaces.box(self.clusters.state.shape[1])
        self._fresh = seed is not None

    def _observation_space(self) -> spaces.Space[_spaces.Observation]:
        features = _spaces.box(len(self.clusters.encoder))
        return _spaces.dictionary(observation=features, action_mask=spaces.MultiBinary(BIDS))

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The same object each time."""
        return self.action_spaces[agent]

    def state(self) -> NDArray[np.float32]:
        """float32[S]: the cluster pooled."""
        return self.clusters.state[0].copy()

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ByAgent, ByAgent]:
        """To the first decision of an episode that `seed` decides, or the next one."""
        if seed is not None:
            self.clusters.reset([seed])
        elif not self._fresh:
            self.clusters.renew(np.ones(1, np.bool_))
        self._fresh = False
        self.agents = self._present()
        return self._observations(self.agents, over=False), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Bids by agent; one that says nothing abstains."""
        bids = np.full(self.clusters.nodes, ABSTAIN)
        for agent, bid in actions.items():
            bids[self._row[agent]] = bid
        rewards, done = self.clusters.step(award(bids[None], self.clusters.mask))
        over = bool(done[0])
        self._fresh = over
        before = self.agents
        self.agents = [] if over else self._present()
        joined = [agent for agent in self.agents if agent not in set(before)]
        everybody, here = [*before, *joined], set(self.agents)
        return (
            self._observations(everybody, over),
            dict.fromkeys(everybody, float(rewards[0])),
            {agent: agent not in here for agent in everybody},
            dict.fromkeys(everybody, False),
            {agent: {} for agent in everybody},
        )

    def close(self) -> None:
        """Nothing is held open."""

    def render(self) -> None:
        """There is nothing to look at."""

    def _present(self) -> list[str]:
        return [self.possible_agents[row] for row in np.flatnonzero(self.clusters.present[0])]

    def _observations(self, agents: Sequence[str], over: bool) -> ByAgent:
        found: ByAgent = {}
        for agent in agents:
            row = self._row[agent]
            able = bool(self.clusters.mask[0, row]) and not over
            seen = self.clusters.observation[0, row]
            mask = np.full(BIDS, able, np.int8)
            mask[ABSTAIN] = 1
            found[agent] = {
                "observation": seen.copy() if able else np.zeros_like(seen),
                "action_mask": mask,
            }
        return found
