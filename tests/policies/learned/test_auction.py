"""Auctions over nodes that somebody describes: the winner has room, whatever the weights are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned import availability, bid_schema
from cerebrum.policies.learned.auction import Auction, Offer
from tests.policies.learned import bidders, made

AUCTIONS = [Auction(bidders.drawn(seed=seed)) for seed in range(3)]
BY_CAPACITY = Auction(bidders.drawn(bid_schema.SCHEMA))
amounts = st.floats(-100, 1000, allow_nan=False)
requests = st.floats(0.001, 500)


def offer(
    free: list[tuple[float, float]], cpu: float = 1.0, memory: float = 1.0, names: str = ""
) -> Offer:
    """Nodes `n0`, `n1`, ... with cores and GB available, and as large as that."""
    columns = [np.array(column, np.float64) for column in zip(*free, strict=True)]
    large = [np.maximum(column, 1.0) for column in columns]
    found = list(names) or [f"n{i:02}" for i in range(len(free))]
    return Offer(found, cpu, memory, columns[0], columns[1], large[0], large[1])


@settings(max_examples=300, deadline=None)
@given(
    free=st.lists(st.tuples(amounts, amounts), min_size=1, max_size=40),
    cpu=requests, memory=requests, which=st.integers(0, 3),
)  # fmt: skip
def test_the_winner_has_room_and_no_infeasible_node_bids(
    free: list[tuple[float, float]], cpu: float, memory: float, which: int
) -> None:
    auction = [*AUCTIONS, BY_CAPACITY][which]
    outcome = auction.decide(offer(free, cpu, memory))

    room = [a >= cpu and b >= memory for a, b in free]
    assert all(fits or not bid for fits, bid in zip(room, outcome.bids, strict=True))
    if outcome.row >= 0:
        assert room[outcome.row]
        assert outcome.bids[outcome.row] == outcome.bids.max()
    else:
        assert not outcome.bids.any()
        assert outcome.reason


@settings(max_examples=100, deadline=None)
@given(
    free=st.lists(st.tuples(amounts, amounts), min_size=2, max_size=20),
    short=st.tuples(st.floats(-100, 0.9), amounts), data=st.data(),
)  # fmt: skip
def test_what_an_infeasible_node_looks_like_changes_nothing(
    free: list[tuple[float, float]], short: tuple[float, float], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(free) - 1))
    one, other = list(free), list(free)
    one[at], other[at] = (0.5, 1.0), short
    for auction in AUCTIONS:
        first, second = auction.decide(offer(one)), auction.decide(offer(other))
        assert first.row == second.row
        assert first.bids.tolist() == second.bids.tolist()


@settings(max_examples=100, deadline=None)
@given(
    free=st.lists(st.tuples(amounts, amounts), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_the_nodes_decides_nothing(
    free: list[tuple[float, float]], order: object
) -> None:
    rows = list(range(len(free)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    straight = offer(free)
    turned = Offer(
        [straight.names[i] for i in rows], 1.0, 1.0, straight.cpu_free[rows],
        straight.memory_free[rows], straight.cpu_capacity[rows], straight.memory_capacity[rows],
    )  # fmt: skip
    first, second = AUCTIONS[0].decide(straight), AUCTIONS[0].decide(turned)
    if first.row < 0:
        assert second.row < 0
    else:
        assert straight.names[first.row] == turned.names[second.row]


def test_of_equal_bids_the_first_by_name_wins() -> None:
    outcome = Auction(bidders.always(4)).decide(offer([(9, 9)] * 4, names="dbca"))

    assert outcome.bids.tolist() == [4, 4, 4, 4]
    assert outcome.row == 3


def test_the_highest_bid_wins() -> None:
    """Bids are ten steps of how much of the free CPU the task takes: 1/8, 1/2, 1/1."""
    outcome = Auction(bidders.least_left()).decide(offer([(8, 8), (2, 8), (1, 8), (0.5, 8)]))

    assert outcome.row == 2
    assert outcome.bids[0] < outcome.bids[1] < outcome.bids[2]
    assert outcome.bids[3] == 0


def test_where_nobody_has_room_the_reason_says_what_lacks() -> None:
    outcome = Auction(bidders.always(9)).decide(offer([(0.5, 8), (4, 0.25), (-2, -2)]))

    assert outcome.row == -1
    assert "none of 3 nodes has room for 1 cores and 1 GB" in outcome.reason
    assert "2 lack CPU (most available: 4 cores), 2 lack memory (most: 8 GB)" in outcome.reason


def test_where_all_abstain_nobody_wins_and_the_reason_says_so() -> None:
    outcome = Auction(bidders.always(0)).decide(offer([(8, 8), (0, 0)]))

    assert outcome.row == -1
    assert outcome.reason == "1 nodes have room and none of them bids"


def test_ten_thousand_nodes_and_one() -> None:
    many = Auction(bidders.least_left()).decide(offer([(i + 1.0, 64.0) for i in range(10_000)]))
    assert many.row == 0
    assert Auction(bidders.always(1)).decide(offer([(1.0, 1.0)])).row == 0


def test_what_is_no_bidder_for_offers_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a bidder, got a job-order"):
        Auction(made.artefact(kind="job-order"))
    with pytest.raises(ConfigError, match="looks at 'test'"):
        Auction(made.artefact())
    drawn = bidders.drawn()
    drawn.weights["w0"] = np.zeros((len(availability.SCHEMA) + 1, 64), np.float32)
    with pytest.raises(ConfigError, match=f"weights for {len(availability.SCHEMA)} features"):
        Auction(drawn)
