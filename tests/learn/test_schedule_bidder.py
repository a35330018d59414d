"""The bidder for `/schedule`: its recipe makes a sound artefact; the shipped one is worth it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.auction import Auction
from cerebrum.policies.learned.bidder import Bidder

pytestmark = pytest.mark.needs(module="torch")


@pytest.mark.slow
def test_the_recipe_makes_a_bidder_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round of it: the whole way from training to an auction, and the same bytes twice."""
    from cerebrum.learn import schedule_bidder as recipe
    from cerebrum.learn.recipes import Settings

    monkeypatch.setattr(recipe, "CHOSEN_ON", range(1000, 1004))
    monkeypatch.setattr(recipe, "HELD_OUT", range(3))
    once = 1 / recipe.SETTINGS.rounds
    made = [recipe.train(Settings(tmp_path / str(i), budget=once)) for i in range(2)]

    artefacts.write(tmp_path / "bidder.safetensors", made[0])
    Auction(artefacts.read(tmp_path / "bidder.safetensors"))
    assert [a.tolist() for a in made[0].weights.values()] == [
        a.tolist() for a in made[1].weights.values()
    ]
    policies = {row.policy for row in made[0].card.evaluation}
    assert policies >= {"schedule-bidder", "random bids", "best-fit"}


@pytest.mark.slow
def test_the_shipped_bidder_rejects_less_than_bids_by_lot() -> None:
    """On the held-out seeds of its card, played again."""
    from cerebrum.learn import schedule_bidder as recipe

    found = artefacts.shipped().get(recipe.NAME)
    if found is None:
        pytest.skip("it does not ship")
    choosers = recipe.choosers(Bidder(artefacts.read(found).weights))
    held_out = recipe.source((32, 32), seed=1)
    lost = {
        name: recipe.rejected(held_out, recipe.HELD_OUT, choosers[name])
        for name in (recipe.NAME, "random bids")
    }

    assert lost[recipe.NAME].mean() < lost["random bids"].mean()
    told = artefacts.read(found).card.evaluation
    row = next(r for r in told if r.policy == recipe.NAME and " 32 " in r.scenario)
    assert row.value == pytest.approx(float(np.mean(lost[recipe.NAME])), abs=1e-4)
