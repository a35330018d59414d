"""QMIX, VDN and IQL in one frame: shared agents, a mixer, double Q, target networks, replay.

QMIX: Rashid et al., ICML 2018. One vector step of many parallel teams, then one gradient step on a
batch of whole slices of replay: Python's cost a step is shared by all teams.

Training goes in rounds. A round begins by resetting every team with seeds drawn from the trainer's
generator, and a checkpoint is taken between rounds: networks, optimiser, replay and generator are
then all there is, and a resumed run is the same as one that was never interrupted, bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerebrum.learn import checkpoints, curve, torch_state
from cerebrum.learn.mixing import AgentNetwork, Method, make_mixer
from cerebrum.learn.replay import Batch, Replay, Team
from cerebrum.model.errors import ConfigError

LOGGED = ("round", "steps", "epsilon", "learning_rate", "loss", "reward", "seconds")


@dataclass(frozen=True)
class TeamSettings:
    """How a team learns. `steps` counts vector steps: each steps every parallel team once.

    `epsilon` and `learning_rate` go linearly from the first number to the second over
    `explore_share` of the run and over all of it. `batch_slices` slices a gradient step; a step is
    taken every `learn_every` vector steps. Targets are copied every `target_every` gradient steps.
    """

    method: Method = "qmix"
    rounds: int = 100
    round_steps: int = 200
    discount: float = 0.9
    epsilon: tuple[float, float] = (1.0, 0.05)
    explore_share: float = 0.5
    learning_rate: tuple[float, float] = (1e-3, 1e-4)
    hidden: tuple[int, ...] = (64, 64)
    replay_slices: int = 400
    batch_slices: int = 1
    learn_every: int = 1
    target_every: int = 100
    gradient_norm: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.discount < 1.0:
            raise ConfigError(f"expected 0..1, got {self.discount}").at(field="discount")
        for name in ("rounds", "round_steps", "batch_slices", "learn_every", "target_every"):
            if getattr(self, name) < 1:
                raise ConfigError("expected at least 1").at(field=name)
        if self.replay_slices <= self.batch_slices:
            raise ConfigError("expected more than batch_slices").at(field="replay_slices")

    @property
    def steps(self) -> int:
        """Vector steps of the whole run."""
        return self.rounds * self.round_steps


def default_device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TeamTrainer:
    """Trains a team; `agent` is what it learns. Same team, settings and device: same result."""

    def __init__(
        self, team: Team, settings: TeamSettings, device: torch.device | None = None
    ) -> None:
        self.team, self.settings = team, settings
        self.device = device or default_device()
        features, states = team.observation.shape[2], team.state.shape[1]
        self._rng = np.random.default_rng(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.agent = AgentNetwork(features, team.actions, settings.hidden)
            self.mixer = make_mixer(settings.method, features, states)
        self.target_agent = AgentNetwork(features, team.actions, settings.hidden)
        self.target_mixer = make_mixer(settings.method, features, states)
        modules = (self.agent, self.mixer, self.target_agent, self.target_mixer)
        self._modules = {f"module{number}": module for number, module in enumerate(modules)}
        for module in modules:
            module.to(self.device)
        self._copy_targets()
        self._learned = [*self.agent.parameters(), *self.mixer.parameters()]
        self._optimiser = torch.optim.Adam(self._learned, lr=settings.learning_rate[0], fused=True)
        self.replay = Replay(team, settings.replay_slices)
        self.round, self.gradient_steps = 0, 0

    @property
    def epsilon(self) -> float:
        """Share of actions drawn at random in the current round."""
        span = max(1.0, self.settings.explore_share * self.settings.rounds)
        return _between(self.settings.epsilon, self.round / span)

    @property
    def settled(self) -> bool:
        """Whether `epsilon` has come down to where it stays."""
        return self.round >= self.settings.explore_share * self.settings.rounds

    @property
    def learning_rate(self) -> float:
        """Of the current round."""
        return _between(self.settings.learning_rate, self.round / self.settings.rounds)

    def act(self, epsilon: float = 0.0) -> NDArray[np.int64]:
        """Actions for what the teams see now, each at random with probability `epsilon`."""
        mask = self.team.mask
        shape, actions = mask.shape, self.team.actions
        if epsilon >= 1.0:
            return np.where(mask, self._rng.integers(actions, size=shape), 0)
        chosen = np.zeros(shape, np.int64)
        with torch.inference_mode():
            q = self.agent(self._tensor(self.team.observation[mask]))
            chosen[mask] = q.argmax(-1).cpu().numpy()
        if epsilon > 0.0:
            draws = self._rng.random(shape)
            # One draw says both whether to explore and which action it is.
            random = np.minimum(draws * (actions / epsilon), actions - 1).astype(np.int64)
            chosen = np.where(draws < epsilon, random, chosen)
        return np.where(mask, chosen, 0)

    @torch_state.one_thread()
    def run_round(self) -> dict[str, float]:
        """`round_steps` vector steps from fresh episodes; means of the round."""
        s, team, replay = self.settings, self.team, self.replay
        seeds = self._rng.integers(1000, 2**62, size=len(team.mask))
        team.reset(seeds)
        replay.see(team)
        epsilon, rewards = self.epsilon, 0.0
        losses: list[Tensor] = []
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        for step in range(s.round_steps):
            actions = self.act(epsilon)
            reward, done = team.step(actions)
            replay.act(actions, reward, done)
            rewards += float(reward.mean())
            replay.see(team)
            if step % s.learn_every == 0 and replay.written > s.batch_slices:
                losses.append(self._learn(replay.sample(s.batch_slices, self._rng)))
        replay.cut()
        self.round += 1
        loss = float(torch.stack(losses).mean()) if losses else 0.0
        return {"epsilon": epsilon, "learning_rate": self._optimiser.param_groups[0]["lr"],
                "loss": loss, "reward": rewards / s.round_steps}  # fmt: skip

    def train(
        self,
        log: Path | None = None,
        checkpoint: Path | None = None,
        progress: Callable[[int, int, dict[str, float]], None] = lambda done, of, figures: None,
        checkpoint_every: int = 10,
    ) -> None:
        """All rounds that are left; a CSV line a round, a checkpoint every so many rounds."""
        began, first = time.perf_counter(), self.round
        while self.round < self.settings.rounds:
            figures = self.run_round()
            figures["steps"] = self.round * self.settings.round_steps * len(self.team.mask)
            figures["seconds"] = time.perf_counter() - began
            if log is not None:
                line = {"round": self.round, **figures}
                curve.append(log, {name: line[name] for name in LOGGED})
            progress(self.round, self.settings.rounds, figures)
            due = self.round % checkpoint_every == 0 or self.round == self.settings.rounds
            if checkpoint is not None and due and self.round > first:
                self.save(checkpoint)

    def save(self, path: Path) -> None:
        """Everything a resumed run needs, between two rounds; at its end it needs no replay."""
        goes_on = self.round < self.settings.rounds
        arrays = {f"replay.{n}": array for n, array in self.replay.arrays.items() if goes_on}
        arrays |= torch_state.arrays_of(self._modules, self._optimiser)
        facts = {
            "settings": asdict(self.settings), "round": self.round,
            "gradient_steps": self.gradient_steps, "written": self.replay.written,
            "random": self._rng.bit_generator.state,
        }  # fmt: skip
        checkpoints.save(path, arrays, facts)

    def resume(self, path: Path) -> None:
        """Go on from `save`. Raises `ConfigError` if that run had other settings."""
        arrays, facts = checkpoints.load_of(path, self.settings)
        torch_state.put_back(arrays, self._modules, self._optimiser)
        if facts["round"] < self.settings.rounds:
            for name, array in self.replay.arrays.items():
                array[...] = arrays[f"replay.{name}"]
        self.replay.written, self.round = facts["written"], facts["round"]
        self.gradient_steps = facts["gradient_steps"]
        self._rng.bit_generator.state = facts["random"]

    def _learn(self, batch: Batch) -> Tensor:
        """One gradient step on the squared TD error."""
        seen, active = self._tensor(batch.observation), self._tensor(batch.mask).float()
        at = active.nonzero(as_tuple=True)
        actions = self._tensor(batch.actions)[at][:, None]
        target = self._target(batch)
        values = self.agent(seen[at]).gather(-1, actions)[:, 0]
        q = torch.zeros_like(active).index_put(at, values)
        mixed = self.mixer(q, active, seen, self._tensor(batch.state))
        counts = self.mixer.counts(active)
        loss = ((mixed - target).square() * counts).sum() / counts.sum().clamp(min=1.0)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._learned, self.settings.gradient_norm)
        self._optimiser.step()
        self.gradient_steps += 1
        if self.gradient_steps % self.settings.target_every == 0:
            self._copy_targets()
        return loss.detach()

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Double Q: the agent chooses the next actions, the targets say what they are worth."""
        reward = self._tensor(batch.reward)[:, None]
        if self.settings.discount == 0.0:
            return reward
        seen, active = self._tensor(batch.n_observation), self._tensor(batch.n_mask).float()
        at = active.nonzero(as_tuple=True)
        rows = seen[at]
        best = self.agent(rows).argmax(-1, keepdim=True)
        q = torch.zeros_like(active).index_put(at, self.target_agent(rows).gather(-1, best)[:, 0])
        later = self.target_mixer(q, active, seen, self._tensor(batch.n_state))
        goes_on = ~self._tensor(batch.done)[:, None]
        return reward + self.settings.discount * goes_on * later

    def _copy_targets(self) -> None:
        self.target_agent.load_state_dict(self.agent.state_dict())
        self.target_mixer.load_state_dict(self.mixer.state_dict())

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The agent network as `policies.learned.bidder.Bidder` takes it."""
        found: dict[str, NDArray[np.float32]] = {}
        for i, layer in enumerate(self.agent.layers):
            found[f"w{i}"] = layer.weight.detach().cpu().numpy().T.copy()  # type: ignore[union-attr]
            found[f"b{i}"] = layer.bias.detach().cpu().numpy().copy()  # type: ignore[union-attr]
        return found


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * min(1.0, share)
