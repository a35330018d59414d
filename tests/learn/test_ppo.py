"""Masked PPO: advantages by hand, only nodes that can take the task, learning, interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cerebrum.learn.clusters import Clusters  # noqa: E402
from cerebrum.learn.generated import Generated  # noqa: E402
from cerebrum.learn.node_encoder import node_encoder  # noqa: E402
from cerebrum.learn.ppo import PpoSettings, PpoTrainer, Rollout, advantages  # noqa: E402
from cerebrum.learn.scorer_network import ScorerNetwork  # noqa: E402
from cerebrum.model.errors import ConfigError  # noqa: E402
from cerebrum.policies.learned.node_features import PRICES  # noqa: E402

PRICE_LIST = np.linspace(0.0, 1.0, PRICES)
SOURCE = Generated(nodes=(4, 6), tasks=40, gpu_nodes=1.0, gpu_tasks=1.0, endless=True, variants=8)
SETTINGS = PpoSettings(rounds=3, steps=8, epochs=2, batch=16)


def trainer(settings: PpoSettings = SETTINGS, seed: int = 0, reward=None) -> PpoTrainer:
    clusters = Clusters(
        SOURCE, 4, encoder=node_encoder(PRICE_LIST), reward=reward or {"rejected": 1.0},
        unplaceable="reject",
    )  # fmt: skip
    return PpoTrainer(clusters, ScorerNetwork(3, base=0.0, seed=seed), settings)


def test_advantages_stop_at_the_end_of_an_episode() -> None:
    """Rewards 1, 2, 4; the episode ends after the second; values 0, last value 10; lambda 1."""
    blank = torch.zeros(3, 1)
    seen = Rollout(blank, blank, blank, blank, blank, blank, torch.tensor([[1.0], [2.0], [4.0]]),
                   torch.tensor([[False], [True], [False]]))  # fmt: skip
    settings = PpoSettings(discount=0.5, trace=1.0)
    found = advantages(seen, torch.tensor([10.0]), settings)
    assert found[:, 0].tolist() == pytest.approx([1 + 0.5 * 2, 2.0, 4 + 0.5 * 10])


def test_only_nodes_that_can_take_the_task_are_chosen() -> None:
    """The environment refuses any other row, so a round that ends proves it."""
    made = trainer()
    rollout = made._gather()
    chosen = rollout.mask.gather(-1, rollout.action[..., None])
    assert chosen.all()
    assert not rollout.mask.all(), "every node could always take the task: nothing was tested"


def test_it_learns_to_do_what_is_paid() -> None:
    """Paid for fragmentation alone, it comes to break fewer GPUs than chance."""
    settings = PpoSettings(rounds=25, steps=32, learning_rate=0.03, discount=0.0)
    made, rewards = trainer(settings, reward={"fragmentation": 1.0}), []
    made.train(progress=lambda done, of, line: rewards.append(line["reward"]))
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5])


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, begun, went_on = trainer(), trainer(), trainer(seed=9)
    whole.train(log=tmp_path / "curve.csv")
    begun.run_round()
    begun.save(tmp_path / "begun.safetensors")
    went_on.resume(tmp_path / "begun.safetensors")
    went_on.train()
    assert (whole.network.flat() == went_on.network.flat()).all()
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 4


def test_clusters_that_show_something_else_are_refused() -> None:
    with pytest.raises(ConfigError, match="encoder"):
        PpoTrainer(Clusters(SOURCE, 2), ScorerNetwork(3), SETTINGS)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    trainer().save(tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="other settings"):
        trainer(PpoSettings(rounds=9, steps=8)).resume(tmp_path / "a.safetensors")
