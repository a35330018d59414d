"""One auction over nodes that somebody describes: who can take the task, who bids, who gets it.

Everything here is NumPy: a process that serves bids needs neither the engine nor its compiler.
Feasibility is checked here and not learnt: a node without room bids 0 whatever the network says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned import availability, bid_arrays
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.bidder import Bidder, award
from cerebrum.policies.learned.schema import Schema

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Offer:
    """A task and the nodes it is offered to: cores and GB (2^30 bytes), one number a node.

    `cpu_free` and `memory_free` may be negative: more can be given away than there is. Capacities
    are NaN where nobody told them.
    """

    names: Sequence[str]
    cpu: float
    memory: float
    cpu_free: Numbers
    memory_free: Numbers
    cpu_capacity: Numbers
    memory_capacity: Numbers

    @property
    def lacks_cpu(self) -> NDArray[np.bool_]:
        """bool[nodes]. What a task does not ask for it cannot lack, overdrawn or not."""
        return (self.cpu > self.cpu_free) & (self.cpu > 0)

    @property
    def lacks_memory(self) -> NDArray[np.bool_]:
        """bool[nodes], likewise."""
        return (self.memory > self.memory_free) & (self.memory > 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`row` of the winner, or -1 and `reason` in words; `bids` int64[nodes], 0 abstains."""

    row: int
    bids: NDArray[np.int64]
    reason: str = ""


class Auction:
    """A trained bidder at work. Raises `ConfigError` for a model that is none, or looks at more
    than an offer can tell."""

    def __init__(self, artefact: Artefact) -> None:
        card = artefact.card
        if card.kind != "bidder":
            raise ConfigError(f"expected a bidder, got a {card.kind}").at(field=card.name)
        name = card.observation.name
        if name not in _OBSERVERS:
            raise ConfigError(
                f"looks at {name!r}, which an offer of nodes does not hold; expected one of "
                f"{', '.join(_OBSERVERS)}"
            ).at(field=card.name)
        schema, self._observe = _OBSERVERS[name]
        card.require(schema)
        self.card, self._bidder = card, Bidder(artefact.weights)
        self.statistics = artefact.statistics
        if self._bidder.features != len(schema):
            raise ConfigError(
                f"expected weights for {len(schema)} features, got {self._bidder.features}"
            ).at(field=card.name)

    @property
    def needs_capacity(self) -> bool:
        """Whether it can only bid for nodes whose capacity is told."""
        return self.card.observation.name == bid_arrays.SCHEMA.name

    def observe(self, offer: Offer) -> NDArray[np.float32]:
        """float32[nodes, features]: each node's own view, nothing of the others in it."""
        return self._observe(offer)

    def decide(self, offer: Offer) -> Outcome:
        """The highest bid among the nodes with room; of equal ones the first node by name."""
        lacks_cpu, lacks_memory = offer.lacks_cpu, offer.lacks_memory
        room = ~(lacks_cpu | lacks_memory)
        if not room.any():
            return Outcome(-1, np.zeros(len(room), np.int64), _nowhere(offer))
        bids = self._bidder.bids(self.observe(offer), room)
        row = int(award(bids, room, _rank(offer.names, bids)))
        if row < 0:
            return Outcome(row, bids, f"{int(room.sum())} nodes have room and none of them bids")
        return Outcome(row, bids)


def _rank(names: Sequence[str], bids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[nodes]: the place in name order of those who bid the most; nobody asks for others."""
    rank = np.zeros(len(names), np.int64)
    top = np.flatnonzero(bids == bids.max()).tolist()
    rank[sorted(top, key=names.__getitem__)] = np.arange(len(top))
    return rank


def _nowhere(offer: Offer) -> str:
    cpu, memory = int(offer.lacks_cpu.sum()), int(offer.lacks_memory.sum())
    return (
        f"none of {len(offer.names)} nodes has room for {offer.cpu:g} cores and {offer.memory:g} "
        f"GB: {cpu} lack CPU (most available: {offer.cpu_free.max():g} cores), {memory} lack "
        f"memory (most: {offer.memory_free.max():g} GB)"
    )


def _of_availability(offer: Offer) -> NDArray[np.float32]:
    return availability.observe(offer.cpu_free, offer.memory_free, offer.cpu, offer.memory)


def _of_bid(offer: Offer) -> NDArray[np.float32]:
    return bid_arrays.observe(
        offer.cpu_free, offer.memory_free, offer.cpu_capacity, offer.memory_capacity,
        offer.cpu, offer.memory,
    )  # fmt: skip


_OBSERVERS: dict[str, tuple[Schema, Callable[[Offer], NDArray[np.float32]]]] = {
    availability.SCHEMA.name: (availability.SCHEMA, _of_availability),
    bid_arrays.SCHEMA.name: (bid_arrays.SCHEMA, _of_bid),
}
