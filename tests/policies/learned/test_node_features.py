"""What a node scorer sees, against its naive twin, on nodes in random states."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.learn.placements import placements
from cerebrum.policies.learned.node_features import PRICES, SCHEMA
from tests.naive import scores
from tests.naive.node_features import observed
from tests.policies.test_scores_twins import World

PRICE_LIST = np.sort(np.random.default_rng(5).random(PRICES))


@pytest.fixture(scope="module", params=range(2))
def world(request) -> World:
    return World(request.param, rows=140)  # so many that some stay empty


def test_every_way_to_place_a_task_is_seen_as_the_naive_twin_sees_it(world: World) -> None:
    compared = set[str]()
    for kind, ask in enumerate(world.asks):
        found = placements(world.engine.snapshot(), 600 + kind, PRICE_LIST)
        for x, row, mask in zip(found.x, found.rows, found.gpus, strict=True):
            before = world.looks[row]
            gpus = tuple(g for g in range(len(before.left)) if mask >> g & 1)
            after = scores.put(before, ask, gpus)
            wanted = observed(before, after, ask, world.typical, PRICE_LIST.tolist())
            assert tuple(wanted) == SCHEMA.names
            assert x == pytest.approx(list(wanted.values()), abs=1e-9), (ask, before, gpus)
            compared |= {name for name, value in wanted.items() if value}
    assert compared == set(SCHEMA.names), "some feature was 0 everywhere: nothing was compared"


def test_each_node_that_can_take_the_task_is_listed_once_for_each_different_gpu(
    world: World,
) -> None:
    for kind, ask in enumerate(world.asks):
        found = placements(world.engine.snapshot(), 600 + kind, PRICE_LIST)
        wanted = 0
        for look in world.looks:
            if scores.fits(look, ask):
                different = {look.left[g] for (g,) in scores.ways(look, ask)} if ask.shared else {0}
                wanted += len(different)
        assert len(found.rows) == wanted
