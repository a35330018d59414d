"""The network in torch and the scorer in the engine give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cerebrum.learn.placements import placements  # noqa: E402
from cerebrum.learn.scorer_network import ScorerNetwork  # noqa: E402
from cerebrum.policies.learned import node_scorer as learned  # noqa: E402
from cerebrum.policies.learned.node_features import PRICES  # noqa: E402
from tests.policies.test_scores_twins import World  # noqa: E402

PRICE_LIST = np.linspace(0.0, 1.0, PRICES)


def scored(network: ScorerNetwork, found) -> np.ndarray:
    with torch.inference_mode():
        x, fgd = (torch.from_numpy(a.astype(np.float32)) for a in (found.x, found.fgd))
        return network(x, torch.tensor(found.kind), fgd).numpy()


def drawn(base: float) -> ScorerNetwork:
    network = ScorerNetwork(3, base)
    network.take(np.random.default_rng(1).normal(scale=0.3, size=learned.size(3)))
    return network


@pytest.mark.parametrize("base", [0.0, 1.0])
def test_a_node_scores_in_the_engine_what_its_best_way_scores_in_torch(base: float) -> None:
    world, network = World(0, rows=30), drawn(base)
    policy = learned.policy(learned.frozen(network.flat(), PRICE_LIST, base))
    snapshot, compared = world.engine.snapshot(), 0
    for kind in range(len(world.asks)):
        found = placements(snapshot, 600 + kind, PRICE_LIST)
        totals = policy.totals(snapshot, 600 + kind)
        mine = scored(network, found)
        for row in np.unique(found.rows):
            assert mine[found.rows == row].max() == pytest.approx(totals[row], abs=2e-4)
            compared += 1
    assert compared > 100


def test_the_order_of_ways_does_not_matter() -> None:
    found, network = placements(World(0, rows=30).engine.snapshot(), 605, PRICE_LIST), drawn(1.0)
    order = np.random.default_rng(2).permutation(len(found.rows))
    shuffled = found._replace(x=found.x[order], fgd=found.fgd[order])
    assert scored(network, shuffled) == pytest.approx(scored(network, found)[order], abs=1e-6)
