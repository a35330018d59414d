"""Train sb3-contrib's MaskablePPO to place tasks on eight nodes, and compare it with random nodes.

    python examples/train_with_maskable_ppo.py 20000

Needs `pip install sb3-contrib`. The environment is the batched core that Cerebrum's own trainers
use, seen as one cluster; infeasible nodes are masked, never learnt.
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
from sb3_contrib import MaskablePPO

import cerebrum.learn.gym_env as placement
from cerebrum.learn.generated import Generated

REWARD = {"wait": 1.0, "balance": 0.1}


def environment(seed: int) -> gymnasium.Env[Any, Any]:
    """Eight random nodes, a hundred tasks an episode, as many as the cluster can just carry."""
    source = Generated(nodes=(8, 8), tasks=100, load=1.1, seed=seed)
    return gymnasium.make(placement.ID, source=source, reward=REWARD)


def episode_return(env: gymnasium.Env[Any, Any], choose: Any, seed: int) -> float:
    """What one episode pays if `choose(observation, mask)` places every task."""
    observation, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = choose(observation, env.get_wrapper_attr("action_masks")())
        observation, reward, over, _, _ = env.step(action)
        total += float(reward)
    return total


def main(steps: int, episodes: int = 10) -> tuple[float, float]:
    """Mean return of the trained and of the random policy, on scenarios not trained on."""
    model = MaskablePPO("MultiInputPolicy", environment(seed=0), n_steps=256, seed=0, device="cpu")
    model.learn(steps)
    rng = np.random.default_rng(0)

    def trained(observation: Any, mask: Any) -> Any:
        return model.predict(observation, action_masks=mask, deterministic=True)[0]

    def random(observation: Any, mask: Any) -> Any:
        feasible = np.flatnonzero(mask)[:-1]  # not the last: that lets the task wait
        return rng.choice(feasible) if len(feasible) else len(mask) - 1

    env = environment(seed=1)
    learnt, drawn = (
        float(np.mean([episode_return(env, choose, seed) for seed in range(episodes)]))
        for choose in (trained, random)
    )
    print(f"return an episode: trained {learnt:.2f}, random {drawn:.2f}")
    return learnt, drawn


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
