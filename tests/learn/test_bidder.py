"""Who gets the task, and what a node sees when it bids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.engine.compiled import JIT
from cerebrum.engine.placement import choose_gpus, take
from cerebrum.model.errors import ConfigError
from cerebrum.model.layout import NODE, TASK
from cerebrum.policies.learned.bid_features import bid_features
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.bidder import BIDS, Bidder, award

seeds = st.integers(0, 10_000)


def _auction(seed: int):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    return rng, rng.integers(-2, 14, count), rng.random(count) < 0.6


@given(seeds)
def test_the_highest_valid_bid_of_a_node_with_room_wins(seed):
    _, bids, mask = _auction(seed)
    row = int(award(bids, mask))
    valid = [bid if room and 1 <= bid <= 10 else 0 for bid, room in zip(bids, mask, strict=True)]
    if not any(valid):
        assert row == -1
    else:
        assert row == valid.index(max(valid))


@given(seeds)
def test_the_order_in_which_bids_come_in_decides_nothing(seed):
    rng, bids, mask = _auction(seed)
    rank = rng.permutation(len(bids))
    order = rng.permutation(len(bids))
    winner = int(award(bids, mask, rank))
    again = int(award(bids[order], mask[order], rank[order]))
    assert (winner < 0 and again < 0) or order[again] == winner


def test_many_auctions_at_once():
    bids = np.array([[1, 3, 3], [0, 0, 0], [9, 2, 1]])
    mask = np.array([[True, True, True], [True, True, True], [False, True, True]])
    assert award(bids, mask).tolist() == [1, -1, 1]


def _weights(rng, *sizes):
    made = {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        made[f"w{i}"] = rng.normal(size=(a, b)).astype(np.float32)
        made[f"b{i}"] = rng.normal(size=b).astype(np.float32)
    return made


def test_a_node_without_room_abstains_and_what_it_sees_changes_nothing():
    rng = np.random.default_rng(0)
    bidder = Bidder(_weights(rng, 4, 8, BIDS))
    seen = rng.normal(size=(6, 4)).astype(np.float32)
    mask = np.array([True, False, True, True, False, True])
    bids = bidder.bids(seen, mask)
    assert (bids[~mask] == 0).all()
    seen[~mask] = np.nan
    assert np.array_equal(bidder.bids(seen, mask), bids)


def test_the_network_is_the_one_that_was_trained():
    torch = pytest.importorskip("torch")
    from cerebrum.learn.mixing import AgentNetwork

    torch.manual_seed(0)
    network = AgentNetwork(5, BIDS, (7, 6))
    weights = {}
    for i, layer in enumerate(network.layers):
        weights[f"w{i}"] = layer.weight.detach().numpy().T.copy()
        weights[f"b{i}"] = layer.bias.detach().numpy().copy()
    seen = torch.randn(9, 5)
    theirs = network(seen).detach().numpy()
    np.testing.assert_allclose(Bidder(weights).values(seen.numpy()), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: w.pop("b1"),
        lambda w: w.update(w1=w["w1"][:, :5], b1=w["b1"][:5]),
        lambda w: w.update(w0=np.full_like(w["w0"], np.nan)),
        lambda w: w.update(extra=w["b0"]),
    ],
    ids=["no bias", "five bids", "no number", "one too many"],
)
def test_weights_that_are_no_bidder_are_refused(damage):
    weights = _weights(np.random.default_rng(0), 4, 8, BIDS)
    damage(weights)
    with pytest.raises(ConfigError, match="bidder"):
        Bidder(weights)


def _records():
    node, task = np.zeros(2, NODE), np.zeros(1, TASK)
    node["cpu_milli"], node["memory_mib"], node["slots"] = 64_000, 262_144, 100
    node["cpu_free"], node["memory_free"], node["slots_free"] = 32_000, 131_072, 99
    node["gpu_count"], node["gpu_free_sum"], node["speed"] = 4, 3_500, 1.0
    node["gpu_free"][:, :4] = [1000, 500, 1000, 1000]
    node["cpu_package_milli"], node["cpu_idle_w"], node["cpu_full_w"] = 32_000, 15, 120
    node["gpu_idle_w"], node["gpu_full_w"] = 30, 300
    task["cpu_milli"], task["memory_mib"], task["gpu_models"] = 16_000, 65_536, -1
    task["gpu_count"], task["gpu_milli"] = 1, 600
    if not JIT:
        node = node.view(np.dtype((np.record, NODE)))
        task = task.view(np.dtype((np.record, TASK)))
    return node, task


def _observe(node, task):
    after = node.copy()
    take(after[0], task[0], choose_gpus(node[0], task[0], 0, np.uint64(0)), 0)
    out = np.full(len(SCHEMA), np.nan, np.float32)
    bid_features(node[0], after[0], task[0], task[:0], out)
    return dict(zip(SCHEMA.names, (out * [f.scale for f in SCHEMA.features]).tolist(), strict=True))


def test_a_node_sees_itself_the_task_and_what_would_be_left():
    seen = _observe(*_records())
    expected = {
        "cpu_free": 0.5, "memory_free": 0.5, "gpu_free": 0.875, "slots_free": 0.99,
        "gpus_whole": 3, "gpus_partial": 1, "gpu_largest_partial": 500, "idle": 0,
        "cpu_size": 0.8, "memory_size": 0.8, "task_cpu": 0.5, "task_memory": 0.5,
        "task_gpus": 0.6, "task_shares": 1, "task_picks_model": 0, "cpu_taken": 0.5,
        "memory_taken": 0.5, "cpu_left": 0.25, "memory_left": 0.25, "gpu_left": 0.725,
        "cpu_left_size": 0.5, "memory_left_size": 0.5, "cpu_over_memory": 0,
        "cpu_over_gpu": -0.475, "gpus_opened": 1, "power_added": 105 + 270,
    }  # fmt: skip
    for name, value in expected.items():
        assert seen[name] == pytest.approx(value, abs=1e-3), name


def test_a_node_that_gave_away_more_than_it_has_is_still_seen_in_bounds():
    node, task = _records()
    node["cpu_free"], node["memory_free"] = -10_000_000, -1
    task["cpu_milli"] = task["memory_mib"] = 0
    seen = _observe(node, task)
    assert seen["cpu_free"] == -1
    assert seen["cpu_left_size"] == 0
    assert np.isfinite(list(seen.values())).all()
