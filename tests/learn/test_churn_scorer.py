"""The scorer for tasks that come and go: what counts as rejected work, and the whole recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.learn.generated import Generated
from cerebrum.policies import get_policy
from cerebrum.policies.best_fit import best_fit
from cerebrum.policies.learned import artefact as artefacts

pytestmark = pytest.mark.needs(module="torch")

FULL = Generated(nodes=(6, 6), tasks=150, load=1.6, variants=1)


def test_the_engine_and_the_environment_count_the_same_work_as_rejected() -> None:
    """The same scenario by best fit, its score not rounded, in the environment and as served."""
    from cerebrum.learn.bid_evaluation import evaluate, heuristic
    from cerebrum.learn.churn_scorer import Episode

    rules = Rules(gpus="best", ties="first", queue="reject")
    exact = Incremental("exact", (Weighted(best_fit),), rules)
    told = evaluate(FULL, [1], heuristic("best-fit"))
    episode = Episode.of(FULL.scenario(0))

    served = episode.rejected(exact)

    assert served > 0.1, "nothing was rejected: nothing was tested"
    assert served == pytest.approx(float(told.rejected_nodes[0, 0] / told.nodes[0, 0]))


def test_a_task_for_what_the_cluster_has_none_of_is_a_whole_cluster() -> None:
    from cerebrum.learn.churn_scorer import Episode

    none = replace(FULL, gpu_nodes=0.0)
    without, made = none.scenario(0), FULL.scenario(0)

    parts = Episode.of(replace(made, cluster=without.cluster)).parts

    wants = made.tasks.request("gpu_milli_total") > 0
    assert wants.any()
    assert (parts[wants] == 1.0).all()
    assert (parts[~wants] < 1.0).all()


def test_no_scenario_of_training_is_chosen_or_evaluated_on() -> None:
    from cerebrum.learn.bidding import TRAINING_SCENARIOS
    from cerebrum.learn.churn_scorer import CHOSEN_ON, HELD_OUT

    assert min(*CHOSEN_ON, *HELD_OUT) >= TRAINING_SCENARIOS
    assert not set(CHOSEN_ON) & set(HELD_OUT)


@pytest.mark.needs(data="openb")
def test_the_recipe_makes_a_scorer_that_serves_and_the_same_one_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cerebrum.learn import churn_scorer as recipe
    from cerebrum.learn.recipes import Settings
    from tests.conftest import DATA

    monkeypatch.setattr(recipe, "CHOSEN_ON", range(20_001, 20_005))
    monkeypatch.setattr(recipe, "HELD_OUT", range(10_001, 10_003))
    monkeypatch.setattr(recipe, "SETTINGS", replace(recipe.SETTINGS, steps=64, rounds=50))
    monkeypatch.setattr(recipe, "LARGE_NODES", 12)
    made = [recipe.train(Settings(tmp_path / str(i), DATA, budget=0.02)) for i in range(2)]

    file = tmp_path / "churn.safetensors"
    artefacts.write(file, made[0])
    assert {row.policy for row in made[0].card.evaluation} == {recipe.NAME, *recipe.HEURISTICS}
    assert np.any(made[0].weights["linear"]), "nothing was learnt"
    for one, other in zip(made[0].weights.values(), made[1].weights.values(), strict=True):
        assert np.array_equal(one, other)
    assert get_policy(f"learned:{file}", queue="reject").name
