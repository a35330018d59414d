"""A network that imitates: FGD's choices in its lessons, and what an interruption leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cerebrum.learn.cloning import Cloner, CloningSettings, Lessons, agreement, lessons  # noqa: E402
from cerebrum.learn.generated import Generated  # noqa: E402
from cerebrum.learn.scorer_network import ScorerNetwork  # noqa: E402
from cerebrum.model.errors import ConfigError  # noqa: E402
from cerebrum.policies import get_policy  # noqa: E402
from cerebrum.policies.learned.node_features import PRICES  # noqa: E402

PRICE_LIST = np.linspace(0.0, 1.0, PRICES)
FILLING = Generated(nodes=(60, 60), tasks=300, gpu_nodes=0.9, gpu_tasks=0.9, endless=True)


@pytest.fixture(scope="module")
def given() -> Lessons:
    story = FILLING.scenario(1)
    return lessons(story, get_policy("fgd", queue="reject"), PRICE_LIST, every=1, ways=8)


def test_fgd_itself_agrees_with_its_lessons(given: Lessons) -> None:
    """With nothing learnt the network is FGD; where FGD ties, the engine decides by row."""
    numbers = np.where(given.mask, given.fgd, -np.inf)
    taken = numbers[np.arange(len(given)), given.chosen]
    assert (taken == numbers.max(1)).all(), "the teacher's way is not among its best"
    assert agreement(ScorerNetwork(4, base=1.0), given) > 0.4


def test_a_network_on_its_own_learns_most_of_what_fgd_does(given: Lessons) -> None:
    network = ScorerNetwork(8, base=0.0)
    assert agreement(network, given) < 0.5, "chance would do: nothing to learn here"
    Cloner(network, given, CloningSettings(epochs=40)).train()
    assert agreement(network, given) > 0.65


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    given: Lessons, tmp_path: Path
) -> None:
    settings = CloningSettings(epochs=4, batch=16)
    whole = Cloner(ScorerNetwork(3, 0.0), given, settings)
    whole.train(log=tmp_path / "curve.csv", checkpoint=tmp_path / "whole.safetensors")
    begun = Cloner(ScorerNetwork(3, 0.0), given, replace(settings))
    begun._run_epoch()
    begun.epoch = 1
    begun.save(tmp_path / "begun.safetensors")
    went_on = Cloner(ScorerNetwork(3, 0.0, seed=9), given, settings)
    went_on.resume(tmp_path / "begun.safetensors")
    went_on.train()
    assert (whole.network.flat() == went_on.network.flat()).all()
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 5


def test_a_checkpoint_of_other_settings_is_refused(given: Lessons, tmp_path: Path) -> None:
    cloner = Cloner(ScorerNetwork(3), given, CloningSettings(epochs=1))
    cloner.save(tmp_path / "a.safetensors")
    other = Cloner(ScorerNetwork(3), given, CloningSettings(epochs=2))
    with pytest.raises(ConfigError, match="other settings"):
        other.resume(tmp_path / "a.safetensors")


def test_a_teacher_without_a_choice_teaches_nothing() -> None:
    alone = Generated(nodes=(1, 1), tasks=5, gpu_nodes=0.0, endless=True).scenario(0)
    with pytest.raises(ConfigError, match="no choice"):
        lessons(alone, get_policy("fgd", queue="reject"), PRICE_LIST, every=1)
