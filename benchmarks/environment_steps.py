"""Environment steps per CPU-second of the batched core, since training is made of nothing else.

64 clusters of 8 nodes, random feasible nodes, departures, restarts of episodes and every number a
trainer sees (bid features, mask, pooled state, seven reward terms) included; drawing the actions is
not. Beside it: clusters of 1,000 nodes, and single clusters through Gymnasium's interface.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks._harness import Benchmark, CannotRun, Measured, console, progress
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.generated import Generated

REWARD = {"fragmentation": 1.0, "balance": 1.0, "power": 1.0, "wait": 1.0, "rejected": 1.0}


def steps_per_s(nodes: int, envs: int, steps: int) -> float:
    """Of the best of three rounds, after one to warm up."""
    source = Generated(nodes=(nodes, nodes), tasks=25 * nodes, load=1.1, variants=2 * envs)
    clusters = Clusters(source, envs, reward=REWARD, seed=1)
    rng, best = np.random.default_rng(0), 0.0
    for turn in range(4):
        spent = 0.0
        for _ in range(steps):
            rows = np.where(clusters.mask, rng.random(clusters.mask.shape), -1.0).argmax(1)
            start = time.process_time()
            clusters.step(rows)
            spent += time.process_time() - start
        if turn:
            best = max(best, steps * envs / spent)
    return best


def through_gymnasium(steps: int) -> float:
    """One cluster of 8 nodes behind `ClusterEnv`."""
    try:
        from cerebrum.learn.gym_env import ClusterEnv
    except ImportError as missing:
        raise CannotRun(f"gymnasium is needed: pip install 'cerebrum[learn]' ({missing})") from None
    env = ClusterEnv(Generated(tasks=200, variants=8), seed=1, reward=REWARD)
    env.reset()
    start = time.process_time()
    for _ in range(steps):
        if env.step(int(env.action_masks().argmax()))[2]:
            env.reset()
    return steps / (time.process_time() - start)


def run() -> Measured:
    progress("64 clusters of 8 nodes, then 8 of 1,000, then one through Gymnasium")
    small, large = steps_per_s(8, 64, 1000), steps_per_s(1000, 8, 100)
    single = through_gymnasium(4000)
    console.print(
        f"8 nodes {small:,.0f}, 1,000 nodes {large:,.0f}, Gymnasium {single:,.0f} steps/s"
    )
    return Measured(small, {"1,000 nodes": large, "8 nodes, one through Gymnasium": single})


BENCHMARK = Benchmark(
    name="environment_steps",
    unit="steps per CPU-second",
    target=30_000,
    direction="at_least",
    run=run,
)

if __name__ == "__main__":
    BENCHMARK.main()
