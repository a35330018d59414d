"""Networks of the team learners: what one agent's action is worth, and what a team's is.

A mixer never looks at how many agents there are. QMIX (Rashid et al., ICML 2018) has the weights of
agent i made from the global state and the index i; here they are made from the global state and
agent i's own observation, so that one mixer serves teams of any size and does not care in which
order agents come. They are made positive, so that no agent can raise the team's value by lowering
its own: dQtot/dQi >= 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

Method = Literal["qmix", "vdn", "iql"]
METHODS: tuple[Method, ...] = ("qmix", "vdn", "iql")


class AgentNetwork(nn.Module):
    """Shared by all agents: float32[..., features] -> float32[..., actions]."""

    def __init__(self, features: int, actions: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [features, *hidden, actions]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, observation: Tensor) -> Tensor:
        """What each action of each agent is worth."""
        x = observation
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else torch.relu_(x))
        return x


class Mixer(nn.Module):
    """What the agents' chosen actions are worth to the team.

    `forward(q, active, observation, state)`: `q` float32[B, N], `active` float32[B, N] 1 where the
    agent had a choice, `observation` [B, N, F], `state` [B, S]. Returns float32[B, M]: M = 1 for
    one value a team, M = N when each agent is judged by itself. `counts` says which are real.
    """

    def forward(self, q: Tensor, active: Tensor, observation: Tensor, state: Tensor) -> Tensor:
        """See the class."""
        raise NotImplementedError

    def counts(self, active: Tensor) -> Tensor:
        """float32[B, M]: 1 where the error of a value counts."""
        return torch.ones_like(active[:, :1])


class Independent(Mixer):
    """IQL (Tan, ICML 1993): each agent learns the team's return as if it were alone."""

    def forward(self, q: Tensor, active: Tensor, observation: Tensor, state: Tensor) -> Tensor:
        """Each agent's own; one without a choice goes on with what the others expect."""
        mean = (q * active).sum(1, keepdim=True) / active.sum(1, keepdim=True).clamp(min=1.0)
        return q.where(active > 0, mean)

    def counts(self, active: Tensor) -> Tensor:
        """Agents with a choice."""
        return active


class Sum(Mixer):
    """VDN (Sunehag et al., AAMAS 2018): the team's value is the sum."""

    def forward(self, q: Tensor, active: Tensor, observation: Tensor, state: Tensor) -> Tensor:
        """The sum over agents with a choice."""
        return (q * active).sum(1, keepdim=True)


class Monotone(Mixer):
    """QMIX's two layers with positive weights beside a plain sum, and a bias of the state alone.

    The sum is our addition. Without it an agent whose weights come out near zero is taught nothing,
    keeps the bids it began with, and now and then outbids the others with one of them.
    """

    def __init__(self, features: int, states: int, width: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.from_agent = nn.Linear(features, hidden)
        self.from_state = nn.Linear(states, hidden)
        self.first = nn.Linear(hidden, width)
        self.first_bias = nn.Linear(states, width)
        self.second = nn.Linear(states, width)
        self.value = nn.Sequential(nn.Linear(states, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, q: Tensor, active: Tensor, observation: Tensor, state: Tensor) -> Tensor:
        """One value a team, rising in each `q`."""
        at = active.nonzero(as_tuple=True)  # half of the nodes cannot take a task: not worked on
        hidden = torch.relu_(self.from_agent(observation[at]) + self.from_state(state)[at[0]])
        weights = torch.zeros(*q.shape, self.first.out_features, device=q.device)
        weights = weights.index_put(at, self.first(hidden).abs())
        mixed = torch.einsum("bn,bnk->bk", q, weights)
        inner = elu(mixed + self.first_bias(state))
        bent = (inner * self.second(state).abs()).sum(1, keepdim=True)
        return (q * active).sum(1, keepdim=True) + bent + self.value(state)


def make_mixer(method: Method, features: int, states: int) -> Mixer:
    """The mixer of a method."""
    if method == "vdn":
        return Sum()
    return Independent() if method == "iql" else Monotone(features, states)
