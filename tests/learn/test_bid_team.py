"""Teams of bidders over batched clusters: the objective, and comparisons on equal terms."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.learn.bid_evaluation import compare, evaluate, heuristic, learned, random_bids
from cerebrum.learn.bid_scenarios import Sampled
from cerebrum.learn.bid_team import REJECTED_NODE_KWH, REWARD, BidTeam, Shaping
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.generated import Generated
from cerebrum.learn.rewards import NAMES
from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.bidder import BIDS, Bidder, award

BASE = Generated(nodes=(12, 12), tasks=60).scenario(0)
SOURCE = Sampled(BASE, nodes=(3, 6), tasks_per_node=6, variants=50)


def _team(shaping: Shaping) -> BidTeam:
    return BidTeam(
        Clusters(SOURCE, 4, encoder="bid", reward=REWARD, passed="reject", unplaceable="reject"),
        shaping,
    )


def test_a_scenario_is_a_piece_of_its_trace_and_comes_back():
    first, again = SOURCE.scenario(7), SOURCE.scenario(7)
    assert 3 <= len(first.cluster) <= 6
    assert len(first.tasks) == 6 * len(first.cluster)
    assert [n.capacity for n in first.cluster] == [n.capacity for n in again.cluster]
    assert np.array_equal(first.tasks.submit_s, again.tasks.submit_s)
    assert not np.array_equal(first.tasks.submit_s[:9], SOURCE.scenario(8).tasks.submit_s[:9])
    assert {n.capacity for n in first.cluster} <= {n.capacity for n in BASE.cluster}
    assert len(Sampled(BASE, nodes=None).scenario(1).cluster) == 12


@pytest.mark.parametrize("wrong", [{"nodes": (3, 2)}, {"load": (0.0, 1.0)}, {"longest_s": np.inf}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        Sampled(BASE, **wrong)


def test_the_reward_is_the_cost_and_what_the_placement_leads_to():
    team = _team(Shaping(kwh_per_kw=0.5, kwh_per_gpu=0.2))
    team.reset(np.arange(4))
    rng = np.random.default_rng(0)
    for _ in range(10):
        bids = rng.integers(0, BIDS, team.mask.shape)
        rows = award(bids, team.mask)
        seen, nodes = team.observation.copy(), team.clusters.present.sum(1)
        reward, _ = team.step(bids)
        terms = team.clusters.terms
        for env, row in enumerate(rows):
            cost = -terms[env, NAMES.index("power")]
            cost -= REJECTED_NODE_KWH * nodes[env] * terms[env, NAMES.index("rejected")]
            if row >= 0:
                cost += 0.5 * seen[env, row, SCHEMA.names.index("power_added")]
                cost += 0.2 * seen[env, row, SCHEMA.names.index("fragmentation_added")]
            assert reward[env] == pytest.approx(-10 * cost, rel=1e-4, abs=1e-5)


def test_everybody_is_compared_on_the_same_episodes():
    rng = np.random.default_rng(0)
    weights = {"w0": rng.normal(size=(len(SCHEMA), BIDS)).astype(np.float32),
               "b0": np.zeros(BIDS, np.float32)}  # fmt: skip
    found = [
        evaluate(SOURCE, range(1, 6), choose, batch=3)
        for choose in (learned(Bidder(weights)), heuristic("best-fit"), random_bids(0))
    ]
    for other in found[1:]:
        assert np.array_equal(found[0].nodes, other.nodes)
    one = evaluate(SOURCE, [4], heuristic("best-fit"))
    assert one.per_node[0] == found[1].per_node[3]  # the batch an episode is in changes nothing
    assert found[1].cost_kwh == pytest.approx(
        found[1].energy_kwh + REJECTED_NODE_KWH * found[1].rejected_nodes
    )


def test_a_seed_of_several_episodes_counts_as_their_mean():
    alone = evaluate(SOURCE, range(1, 9), heuristic("best-fit"))
    both = evaluate(SOURCE, range(1, 5), heuristic("best-fit"), each=2)
    assert both.nodes.shape == (2, 4)
    assert both.per_node == pytest.approx((alone.per_node[:4] + alone.per_node[4:]) / 2)


def test_a_difference_beyond_chance_is_told_from_one_within_it():
    rng = np.random.default_rng(0)
    other = 10 + rng.normal(size=20)
    clear = compare(other - 1 + 0.1 * rng.normal(size=20), other)
    assert clear.wins
    assert clear.low < clear.mean < clear.high < 0
    assert not compare(other + 0.5 * rng.normal(size=20) - 0.02, other).wins
