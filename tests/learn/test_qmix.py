"""The trainer: what it may do, and that an interruption leaves no trace."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cerebrum.learn.games import two_step_game  # noqa: E402
from cerebrum.learn.qmix import TeamSettings, TeamTrainer  # noqa: E402
from cerebrum.model.errors import ConfigError, InputError  # noqa: E402

CPU = torch.device("cpu")
SETTINGS = TeamSettings(
    rounds=4, round_steps=10, hidden=(8,), replay_slices=15, batch_slices=2, target_every=7,
    epsilon=(0.8, 0.2), seed=3,
)  # fmt: skip


class Crowd:
    """Agents of which some have no choice; remembers what was done."""

    actions = 3

    def __init__(self) -> None:
        self.observation = np.ones((4, 5, 2), np.float32)
        self.state = np.ones((4, 3), np.float32)
        self.mask = np.tile([True, False, True, True, False], (4, 1))
        self.done = []

    def reset(self, seeds):
        pass

    def step(self, actions):
        self.done.append(actions)
        return np.ones(4, np.float32), np.zeros(4, bool)


def _everything(trainer):
    modules = [module.state_dict() for module in trainer._modules.values()]
    return [t.numpy().copy() for state in modules for t in state.values()]


@pytest.mark.parametrize("method", ["qmix", "vdn", "iql"])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, method):
    settings = replace(SETTINGS, method=method)
    whole = TeamTrainer(two_step_game(4), settings, CPU)
    whole.train(log=tmp_path / "whole.csv")

    first = TeamTrainer(two_step_game(4), settings, CPU)
    first.run_round()
    first.run_round()
    first.save(tmp_path / "checkpoint")
    second = TeamTrainer(two_step_game(4), settings, CPU)
    second.resume(tmp_path / "checkpoint")
    second.train()

    for a, b in zip(_everything(whole), _everything(second), strict=True):
        assert np.array_equal(a, b)
    for name, array in whole.replay.arrays.items():
        assert np.array_equal(array, second.replay.arrays[name])
    assert whole._rng.bit_generator.state == second._rng.bit_generator.state
    with (tmp_path / "whole.csv").open() as file:
        assert [int(float(row["round"])) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    trainer = TeamTrainer(two_step_game(4), SETTINGS, CPU)
    trainer.save(tmp_path / "checkpoint")
    other = TeamTrainer(two_step_game(4), replace(SETTINGS, discount=0.5), CPU)
    with pytest.raises(ConfigError, match="other settings"):
        other.resume(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").write_bytes(b"not one")
    with pytest.raises(InputError, match="checkpoint"):
        trainer.resume(tmp_path / "checkpoint")


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_an_agent_without_a_choice_does_nothing(epsilon):
    crowd = Crowd()
    trainer = TeamTrainer(crowd, replace(SETTINGS, epsilon=(epsilon, epsilon)), CPU)
    trainer.run_round()
    done = np.stack(crowd.done)
    assert (done[:, ~crowd.mask] == 0).all()
    assert done.min() >= 0
    assert done.max() <= 2
    if epsilon == 1.0:
        assert set(done[:, crowd.mask].ravel()) == {0, 1, 2}


def test_the_first_slice_of_a_round_does_not_follow_the_last_of_the_one_before():
    trainer = TeamTrainer(Crowd(), replace(SETTINGS, replay_slices=100), CPU)
    for _ in range(3):
        trainer.run_round()
    assert trainer.replay.usable.tolist() == [i for i in range(29) if i not in (9, 19)]
