"""The recipe of openb-scorer: what counts as better, and that an interruption leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cerebrum.learn import openb_scorer as recipe
from cerebrum.learn.filling import LOADS
from cerebrum.learn.recipes import CURVE, Settings, get_recipe
from cerebrum.learn.trials import Arrivals
from cerebrum.model.errors import NotFound
from cerebrum.policies.learned.node_scorer import weights_of
from tests.conftest import DATA


def gains(**by_load: float) -> np.ndarray:
    found = np.zeros(len(LOADS))
    for load, value in by_load.items():
        found[LOADS.index(int(load.removeprefix("at")))] = value
    return found


def test_more_than_fgd_when_full_is_worth_something() -> None:
    assert recipe.worth(gains(at100=0.7)) == pytest.approx(0.1)


def test_falling_behind_before_costs_more_than_it_gains() -> None:
    """One task of 8 GPUs (0.13 points) refused at 90 %, for half a point when full."""
    full = gains(**{f"at{load}": 0.5 for load in range(100, 131)})
    behind = full + gains(**{f"at{load}": -0.13 for load in range(90, 100)})
    assert recipe.worth(full) == pytest.approx(0.5)
    assert recipe.worth(behind) < 0


def test_no_seed_of_the_published_table_is_trained_or_validated_on() -> None:
    used = (*recipe.TRAINING, *recipe.TRAINING_OTHERS,
            *recipe.VALIDATION, *recipe.VALIDATION_OTHERS)  # fmt: skip
    assert min(one.seed for one in used) >= 1000
    training = {one.seed for one in used[: -len(recipe.VALIDATION) - len(recipe.OTHERS)]}
    assert not training & {one.seed for one in (*recipe.VALIDATION, *recipe.VALIDATION_OTHERS)}


def test_weights_that_cannot_matter_are_not_searched() -> None:
    assert len(recipe.searched()) == 49
    assert (recipe.start() != 0).sum() == len(recipe.START)


def test_without_the_traces_it_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--data"):
        get_recipe("openb-scorer")(Settings(tmp_path))


@pytest.mark.slow
@pytest.mark.needs(data="openb")
def test_an_interrupted_search_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one, over one process and over two."""
    for name, value in {
        "TRAINING": (Arrivals("default", 1000),), "VALIDATION": (Arrivals("default", 3000),),
        "POPULATION": 4, "PER_GENERATION": 2, "GENERATIONS": 4, "VALIDATE_EVERY": 2,
    }.items():  # fmt: skip
        monkeypatch.setattr(recipe, name, value)
    settings = Settings(tmp_path / "whole", DATA, jobs=1)
    settings.out.mkdir()
    whole = recipe.train(settings)
    broken = replace(settings, out=tmp_path / "broken", budget=0.5, jobs=2)
    broken.out.mkdir()
    recipe.train(broken)
    went_on = recipe.train(replace(broken, budget=1.0, resume=True))
    assert (weights_of(whole)[0] == weights_of(went_on)[0]).all()
    curves = [(s.out / CURVE).read_text() for s in (settings, broken)]
    assert curves[0] == curves[1]
