"""A trained bidder in the federation's auction: the network nodes bid with, bidding for a cluster.

    auction:bidder=learned:qmix-bidder

A cluster bids what its average node would bid for the largest task of the part, so that clusters of
any size look like what the network was trained on. It computes the bid from its own state; only the
bid travels. Where two clusters bid the same, the one that expects to be done first wins; where the
network abstains, so does the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterView, Network
from cerebrum.policies.assignment.auction import Bid, PartSummary, bid
from cerebrum.policies.learned import bid_arrays
from cerebrum.policies.learned.artefact import Artefact, find, read
from cerebrum.policies.learned.bidder import ABSTAIN, Bidder

PREFIX = "learned:"


class LearnedBids:
    """A bidder of `Auction`: the network's bid 1..10, and what is left of it after the finish."""

    def __init__(self, model: Artefact | str | Path) -> None:
        """A shipped name, a path or an artefact. Raises `ConfigError` for one that cannot bid."""
        artefact = model if isinstance(model, Artefact) else read(find(model))
        if artefact.card.kind != "bidder":
            raise ConfigError(f"expected a bidder, got a {artefact.card.kind}").at(
                field=artefact.card.name
            )
        artefact.card.require(bid_arrays.SCHEMA)
        self.name = artefact.card.name
        self._bidder = Bidder(artefact.weights)

    def __call__(
        self, view: ClusterView, part: PartSummary, network: Network, names: Sequence[str]
    ) -> Bid | None:
        """None where the largest task fits on no node, or the network abstains."""
        expected = bid(view, part, network, names)
        if expected is None:
            return None
        level = int(self._bidder.values(_average_node(view, part)).argmax())
        if level == ABSTAIN:
            return None
        # Levels are whole numbers; what comes after the point, below 1, is the earlier finish.
        return replace(expected, value=level + 1.0 / (2.0 + max(0.0, expected.finish_s)))


def _average_node(view: ClusterView, part: PartSummary) -> np.ndarray:
    """float32[1, features]: cores and GiB of an average node, and the part's largest task."""
    cpu, memory = 1000.0 * view.nodes, 1024.0 * view.nodes
    return bid_arrays.observe(
        np.array([view.cpu_free_milli / cpu]),
        np.array([view.memory_free_mib / memory]),
        np.array([view.cpu_milli / cpu]),
        np.array([view.memory_mib / memory]),
        part.largest_cpu_milli / 1000.0,
        part.largest_memory_mib / 1024.0,
    )
