"""Environment steps per CPU-second of QMIX training: 8 agents, 11 bids, everything included.

What is counted is one cluster's decision: observing, bidding, awarding, the engine carrying it out
and moving to the next one, episodes that end and begin, replay, and a gradient step on a batch of
256 transitions for every 256 of them. CPU time of one thread. Beside it TorchRL's collector on the
same environment, clusters and network size, which only acts and collects: it does not learn.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from benchmarks._harness import Benchmark, CannotRun, Measured, console, progress
from cerebrum.learn.bid_team import BidTeam, Shaping
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.generated import Generated
from cerebrum.learn.qmix import TeamSettings, TeamTrainer
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.bidder import BIDS

AGENTS, CLUSTERS, STEPS, WARM_STEPS = 8, 256, 400, 40
COLLECTED, TIMES = 900, 20.0
SOURCE = Generated(nodes=(AGENTS, AGENTS), tasks=400, load=1.0)
REWARD = {"power": 1.0, "rejected": 1.0}
HIDDEN = 64


def ours() -> float:
    """Steps per CPU-second of training."""
    clusters = Clusters(
        SOURCE, CLUSTERS, AGENTS, "bid", REWARD, passed="reject", unplaceable="reject"
    )
    team = BidTeam(clusters, Shaping(0.45, 0.14))
    settings = TeamSettings(
        round_steps=WARM_STEPS, epsilon=(0.3, 0.3), hidden=(HIDDEN, HIDDEN), replay_slices=200
    )
    trainer = TeamTrainer(team, settings, torch.device("cpu"))
    trainer.run_round()  # kernels are compiled, pages are there
    trainer.settings = replace(settings, round_steps=STEPS)
    start = time.process_time()
    trainer.run_round()
    return STEPS * CLUSTERS / (time.process_time() - start)


def torchrl_collector() -> float:
    """Steps per CPU-second of collecting alone."""
    try:
        from torchrl.collectors import Collector
        from torchrl.envs import MarlGroupMapType, PettingZooWrapper
    except ImportError as missing:
        raise CannotRun(f"{missing}: pip install torchrl") from missing
    from tensordict.nn import TensorDictModule

    from cerebrum.learn.pettingzoo_env import BiddingEnv

    env = PettingZooWrapper(
        BiddingEnv(SOURCE, seed=1000, reward=REWARD, passed="reject", unplaceable="reject"),
        group_map=MarlGroupMapType.ALL_IN_ONE_GROUP,
        categorical_actions=True,
        use_mask=True,
    )
    (group,) = cast("dict[str, list[str]]", env.group_map)
    net = nn.Sequential(
        nn.Linear(len(SCHEMA), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, BIDS),
    )  # fmt: skip

    def act(seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        best = net(seen).masked_fill(~mask.bool(), -torch.inf).argmax(-1)
        lot = torch.multinomial(mask.float().reshape(-1, BIDS), 1).reshape(best.shape)
        return torch.where(torch.rand(best.shape) < 0.3, lot, best)

    keys: Any = [(group, "observation", "observation"), (group, "action_mask")]
    policy = TensorDictModule(act, keys, [(group, "action")])
    collector = Collector(env, policy, frames_per_batch=COLLECTED // 6, total_frames=COLLECTED)
    batches = iter(collector)
    next(batches)
    start, count = time.process_time(), 0
    for batch in batches:
        count += batch.numel()
    taken = time.process_time() - start
    collector.shutdown()
    return count / taken


def run() -> Measured:
    """Both in one run."""
    torch.set_num_threads(1)
    progress(f"TorchRL's collector, {COLLECTED} steps of one environment")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torchrl_collector()
    progress(f"QMIX, {STEPS} steps of {CLUSTERS} clusters with a gradient step each")
    mine = ours()
    console.print(f"{mine:,.0f} against {theirs:,.0f} a CPU-second: {mine / theirs:.0f} times")
    if mine < TIMES * theirs:
        console.print(f"the second target, {TIMES:g} times TorchRL, is missed", style="red")
    return Measured(mine, peer={"TorchRL's collector, without learning": theirs})


BENCHMARK = Benchmark(
    name="qmix_training", unit="steps_per_cpu_s", target=5_000, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
