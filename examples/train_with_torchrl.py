"""Train a shared node network with TorchRL's PPO on the same environment as the other example.

    python examples/train_with_torchrl.py 20000

Needs `pip install torchrl`. One small network gives every node its logit, so that the number of
nodes does not matter; another gives the logit of letting the task wait.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import ActionMask, GymWrapper, RewardSum, TransformedEnv
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from cerebrum.learn.generated import Generated
from cerebrum.learn.gym_env import ClusterEnv

FRAMES = 256  # a batch


class Logits(nn.Module):
    """float[..., N + 1]: one a node, and one for waiting."""

    def __init__(self, features: int, pooled: int, width: int = 32) -> None:
        super().__init__()
        self.node = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1))
        self.wait = nn.Sequential(nn.Linear(pooled, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(
        self, nodes: torch.Tensor, cluster: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, and the mask as MaskedCategorical wants it."""
        return torch.cat([self.node(nodes)[..., 0], self.wait(cluster)], -1), mask.bool()


def main(frames: int) -> list[float]:
    """Mean return of the episodes that ended in each batch."""
    torch.manual_seed(0)
    source = Generated(nodes=(8, 8), tasks=100, load=1.1)
    cluster = ClusterEnv(source, seed=0, reward={"wait": 1.0, "balance": 0.1})
    env = TransformedEnv(GymWrapper(cluster, categorical_action_encoding=True), ActionMask())
    env.append_transform(RewardSum())
    features, pooled = len(cluster.clusters.encoder), cluster.clusters.state.shape[1]

    logits = TensorDictModule(
        Logits(features, pooled), ["nodes", "cluster", "action_mask"], ["logits", "mask"]
    )
    actor = ProbabilisticActor(
        logits, ["logits", "mask"], distribution_class=MaskedCategorical, return_log_prob=True
    )
    value = nn.Sequential(nn.Linear(pooled, 64), nn.ReLU(), nn.Linear(64, 1))
    critic = ValueOperator(value, in_keys=["cluster"])
    loss_of = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    optimiser = torch.optim.Adam(loss_of.parameters(), 1e-3)
    collector = Collector(
        env,
        actor,
        frames_per_batch=FRAMES,
        total_frames=frames,
        auto_register_policy_transforms=True,
    )

    returns: list[float] = []
    batch: Any  # tensordicts, by name
    for batch in collector:
        for _ in range(4):
            advantage(batch)
            for part in batch[torch.randperm(len(batch))].split(64):
                losses: Any = loss_of(part)
                loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(loss_of.parameters(), 1.0)
                optimiser.step()
        ended = batch["next", "episode_reward"][batch["next", "done"]]
        if len(ended):
            returns.append(float(ended.mean()))
            print(f"return an episode: {returns[-1]:.2f}")
    collector.shutdown()
    return returns


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
