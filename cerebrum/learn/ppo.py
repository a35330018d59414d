"""Masked PPO for node scorers, over hundreds of clusters at once (Schulman et al., 1707.06347).

The actor is the scorer itself: the scores of all nodes that can take the task are the logits of
where it goes, so what is trained on clusters of 30 nodes is served on 1,000. The critic sees the
pooled state. Training goes in rounds; each starts new episodes with seeds drawn by the trainer, so
that between rounds networks, optimiser and generator are all there is: a run that was stopped and
resumed is the same, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from cerebrum.learn import checkpoints, curve, torch_state
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.node_encoder import FGD_SCALE, WIDTH
from cerebrum.learn.scorer_network import ScorerNetwork
from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.node_scorer import K, N

_OUT = -1e9  # the logit of a node that cannot take the task
LOGGED = ("round", "reward", "entropy", "policy_loss", "value_loss", "kl", "clipped")


@dataclass(frozen=True)
class PpoSettings:
    """One round is `steps` decisions of every cluster, then `epochs` passes over them.

    `discount` and `trace` (lambda of generalised advantages) count decisions; an update moves a
    probability by `clip` at most; the epochs of a round end early beyond `most_kl`. Seeds of
    episodes are drawn from `first_seed` up.
    """

    rounds: int = 50
    steps: int = 128
    epochs: int = 3
    batch: int = 512
    discount: float = 0.999
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.001
    value: float = 0.5
    learning_rate: float = 3e-3
    gradient_norm: float = 0.5
    most_kl: float = 0.03
    first_seed: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError("expected at least 1").at(field=name)
        for name in ("discount", "trace"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError("expected 0..1").at(field=name)
        for name in ("clip", "learning_rate", "gradient_norm", "most_kl"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError("expected a finite number above 0").at(field=name)


@dataclass(eq=False)
class Rollout:
    """T steps of E clusters: what was seen, done and earned, and what the critic made of it."""

    observation: Tensor
    mask: Tensor
    state: Tensor
    action: Tensor
    log_p: Tensor
    value: Tensor
    reward: Tensor
    done: Tensor


class PpoTrainer:
    """Trains `network` on `clusters`, which must be encoded by `node_encoder`."""

    def __init__(self, clusters: Clusters, network: ScorerNetwork, settings: PpoSettings) -> None:
        if clusters.observation.shape[2] != WIDTH:
            raise ConfigError("expected clusters with the encoder of node_encoder").at(
                field="encoder"
            )
        self.clusters, self.network, self.settings = clusters, network, settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.critic = nn.Sequential(
                nn.Linear(clusters.state.shape[1], 64), nn.Tanh(), nn.Linear(64, 1)
            )
        self._modules = {"network": network, "critic": self.critic}
        learned = [*network.parameters(), *self.critic.parameters()]
        self._optimiser = torch.optim.Adam(learned, lr=settings.learning_rate)
        self._rng = np.random.default_rng(settings.seed)
        self.round = 0

    def train(
        self, log: Path | None = None, checkpoint: Path | None = None,
        progress: Callable[[int, int, dict[str, float]], None] = lambda done, of, line: None,
        checkpoint_every: int = 1,
    ) -> None:  # fmt: skip
        """All rounds that are left; a line of the log each, a checkpoint every so many."""
        while self.round < self.settings.rounds:
            line = self.run_round()
            if log is not None:
                whole = {"round": float(self.round), **line}
                curve.append(log, {name: whole[name] for name in LOGGED})
            progress(self.round, self.settings.rounds, line)
            due = self.round % checkpoint_every == 0 or self.round == self.settings.rounds
            if checkpoint is not None and due:
                self.save(checkpoint)

    @property
    def settled(self) -> bool:
        """Always: how much it tries out is part of what it learns."""
        return True

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Those of the scorer, as in an artefact."""
        return self.network.weights()

    @torch_state.one_thread()
    def run_round(self) -> dict[str, float]:
        """Gather, then learn; means of the round."""
        rollout = self._gather()
        advantage = advantages(rollout, self._last_value(), self.settings)
        line = self._learn(rollout, advantage)
        self.round += 1
        return {"reward": float(rollout.reward.mean()), **line}

    # -- gathering ----------------------------------------------------------------------------

    def _gather(self) -> Rollout:
        clusters, steps = self.clusters, self.settings.steps
        first = self.settings.first_seed
        clusters.reset(first + self._rng.integers(2**31, size=clusters.envs))
        seen: list[tuple[Tensor, ...]] = []
        with torch.inference_mode():
            for _ in range(steps):
                observation, mask, state = self._now()
                log_p = self._log_p(observation, mask)
                draws = torch.from_numpy(self._rng.gumbel(size=log_p.shape).astype(np.float32))
                action = (log_p + draws).masked_fill(~mask, _OUT * 2).argmax(-1)
                value = self.critic(state)[..., 0]
                reward, done = clusters.step(action.numpy())
                seen.append((
                    observation, mask, state, action, _at(log_p, action), value,
                    torch.from_numpy(reward.copy()), torch.from_numpy(done.copy()),
                ))  # fmt: skip
        return Rollout(*(torch.stack(column) for column in zip(*seen, strict=True)))

    def _now(self) -> tuple[Tensor, Tensor, Tensor]:
        c = self.clusters
        return tuple(torch.from_numpy(a.copy()) for a in (c.observation, c.mask, c.state))  # type: ignore[return-value]

    def _last_value(self) -> Tensor:
        with torch.inference_mode():
            return self.critic(self._now()[2])[..., 0]

    def _log_p(self, observation: Tensor, mask: Tensor) -> Tensor:
        """log probabilities [..., nodes]; far below all others where a node cannot take it."""
        kinds = observation[..., N : N + K].amax(-2).argmax(-1)
        fgd = observation[..., N + K] * FGD_SCALE
        scores = self.network(observation[..., :N], kinds, fgd)
        return log_softmax(scores.masked_fill(~mask, _OUT), -1)

    # -- learning -----------------------------------------------------------------------------

    def _learn(self, rollout: Rollout, advantage: Tensor) -> dict[str, float]:
        s = self.settings
        flat = {name: tensor.flatten(0, 1) for name, tensor in vars(rollout).items()}
        gain, target = advantage.flatten(), (advantage + rollout.value).flatten()
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        sums: dict[str, float] = {}
        batches = 0
        for _ in range(s.epochs):
            order = torch.from_numpy(self._rng.permutation(len(gain)))
            kl = 0.0
            for first in range(0, len(gain), s.batch):
                rows = order[first : first + s.batch]
                one = {name: tensor[rows] for name, tensor in flat.items()}
                line = self._step(one, gain[rows], target[rows])
                sums = {name: sums.get(name, 0.0) + value for name, value in line.items()}
                batches, kl = batches + 1, kl + line["kl"] * len(rows) / len(order)
            if kl > s.most_kl:
                break
        return {name: total / batches for name, total in sums.items()}

    def _step(self, seen: dict[str, Tensor], gain: Tensor, target: Tensor) -> dict[str, float]:
        """One gradient step on one batch."""
        s = self.settings
        every = self._log_p(seen["observation"], seen["mask"])
        change = _at(every, seen["action"]) - seen["log_p"]
        ratio = change.exp()
        held = ratio.clamp(1.0 - s.clip, 1.0 + s.clip)
        policy_loss = -torch.minimum(ratio * gain, held * gain).mean()
        entropy = -(every.exp() * every.masked_fill(~seen["mask"], 0.0)).sum(-1).mean()
        value_loss = (self.critic(seen["state"])[..., 0] - target).square().mean()
        loss = policy_loss + s.value * value_loss - s.entropy * entropy
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for module in self._modules.values():  # apart: a critic far off must not still the actor
            nn.utils.clip_grad_norm_(module.parameters(), s.gradient_norm)
        self._optimiser.step()
        return {
            "entropy": float(entropy.detach()), "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "kl": float((ratio - 1.0 - change).mean().detach()),
            "clipped": float((ratio != held).float().mean()),
        }  # fmt: skip

    # -- stopping and going on ----------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Everything a resumed run needs, between two rounds."""
        arrays = torch_state.arrays_of(self._modules, self._optimiser)
        facts = {"settings": asdict(self.settings), "round": self.round,
                 "random": self._rng.bit_generator.state}  # fmt: skip
        checkpoints.save(path, arrays, facts)

    def resume(self, path: Path) -> None:
        """Go on from `save`. Raises `ConfigError` if that run had other settings."""
        arrays, facts = checkpoints.load_of(path, self.settings)
        torch_state.put_back(arrays, self._modules, self._optimiser)
        self._rng.bit_generator.state, self.round = facts["random"], facts["round"]


def advantages(rollout: Rollout, last: Tensor, settings: PpoSettings) -> Tensor:
    """float32[T, E]: generalised advantages (1506.02438); nothing flows over an episode's end."""
    out = torch.zeros_like(rollout.reward)
    following, value = torch.zeros_like(last), last
    for t in range(len(out) - 1, -1, -1):
        goes_on = 1.0 - rollout.done[t].float()
        delta = rollout.reward[t] + settings.discount * value * goes_on - rollout.value[t]
        following = delta + settings.discount * settings.trace * goes_on * following
        out[t], value = following, rollout.value[t]
    return out


def _at(log_p: Tensor, action: Tensor) -> Tensor:
    return log_p.gather(-1, action[..., None])[..., 0]
