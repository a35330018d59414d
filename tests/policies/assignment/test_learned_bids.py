"""The network that nodes bid with, bidding for clusters in the federation's auction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterView, Network
from cerebrum.policies.assignment.auction import PartSummary, award, bid, load_bidder
from cerebrum.policies.assignment.learned_bids import LearnedBids
from cerebrum.policies.learned import bid_schema
from cerebrum.policies.learned.artefact import Artefact, write
from tests.policies.learned.made import bids_by_cpu_left, card

NAMES = ("east", "west")
NETWORK = Network(np.zeros((2, 2)), np.full((2, 2), np.inf), np.zeros((2, 2)))
PART = PartSummary(3, 300.0, 100.0, largest_cpu_milli=4000, largest_memory_mib=1024)


@pytest.fixture
def model() -> Artefact:
    return bids_by_cpu_left()


def _view(name: str, free: float, nodes: int = 4, **changed) -> ClusterView:
    cpu, memory = 16_000 * nodes, 65_536 * nodes
    view = ClusterView(
        name, cpu, memory, nodes=nodes, largest_cpu_milli=16_000, largest_memory_mib=65_536,
        cpu_free_milli=int(cpu * free), memory_free_mib=memory,
    )  # fmt: skip
    return replace(view, **changed)


def test_a_cluster_bids_what_its_average_node_would(model):
    bidder = LearnedBids(model)
    for nodes in (1, 4, 1000):
        made = bidder(_view("east", 0.75, nodes), PART, NETWORK, NAMES)
        assert made is not None
        assert int(made.value) == 5  # 12 cores free, 4 of 16 taken: half is left


def test_the_higher_level_wins_and_of_equal_ones_the_earlier_finish(model):
    bidder = LearnedBids(model)
    views = [_view("east", 1.0, backlog_core_s=6400.0), _view("west", 0.6)]
    bids = [bidder(view, PART, NETWORK, NAMES) for view in views]
    plain = [bid(view, PART, NETWORK, NAMES) for view in views]
    assert (award(bids), award(plain)) == (0, 1)
    views = [_view("east", 1.0, backlog_core_s=6400.0), _view("west", 1.0)]
    assert award([bidder(view, PART, NETWORK, NAMES) for view in views]) == 1


def test_who_abstains_or_has_no_node_for_it_makes_no_bid(model):
    bidder = LearnedBids(model)
    assert bidder(_view("east", 0.0), PART, NETWORK, NAMES) is None
    huge = replace(PART, largest_cpu_milli=17_000)
    assert bidder(_view("east", 1.0), huge, NETWORK, NAMES) is None


def test_it_is_named_like_any_other_bidder(model, tmp_path):
    write(tmp_path / "mine.safetensors", model)
    found = load_bidder(f"learned:{tmp_path / 'mine.safetensors'}")
    assert found(_view("east", 0.75), PART, NETWORK, NAMES) is not None
    other = Artefact(card(bid_schema.SCHEMA, kind="node-scorer"), model.weights, model.statistics)
    with pytest.raises(ConfigError, match="expected a bidder"):
        LearnedBids(other)
