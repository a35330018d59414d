"""Auctions: parts that clusters bid for. Held in memory: after a restart they are held again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from cerebrum.model.federation import Decomposition
from cerebrum.policies.assignment.auction import PartSummary, award
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._specs import Shape
from cerebrum.services.controller._waiting import wait_for
from cerebrum.services.wire import Auction, Bid


@dataclass(eq=False)
class _Open:
    """One part on offer, and who bid what."""

    message: Auction
    clusters: frozenset[str]
    bids: dict[str, float] = field(default_factory=dict[str, float])


class Auctions:
    """What is on offer now."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: dict[str, _Open] = {}

    def open_for(self, cluster: str) -> list[Auction]:
        """What this cluster may bid for and has not."""
        return [
            one.message
            for one in self._open.values()
            if cluster in one.clusters and cluster not in one.bids
        ]

    def bid(self, cluster: str, bids: Sequence[Bid]) -> None:
        """Take bids; those for what is over or not theirs are ignored."""
        for bid in bids:
            one = self._open.get(bid.auction)
            if one is not None and cluster in one.clusters and math.isfinite(bid.value):
                one.bids[cluster] = bid.value
                if len(one.bids) == len(one.clusters):
                    self._context.queue.news.set()

    async def hold(
        self,
        shape: Shape,
        cut: Decomposition,
        part: int,
        summary: PartSummary,
        clusters: Sequence[str],
        reserved_s: Sequence[float],
    ) -> int:
        """Offer a part; the index of the winner when all have bid or the time is over, -1: nobody.

        `reserved_s`: seconds of work that each was given and does not know of yet. Bids are made
        from what a cluster knows itself, so they are lowered by that.
        """
        name = f"{shape.id}.{part}"
        message = Auction(
            auction=name,
            tasks=summary.tasks,
            core_s=min(summary.core_s, 1e15),
            critical_path_s=min(summary.critical_path_s, 3.2e9),
            largest_cpu_milli=summary.largest_cpu_milli,
            largest_memory_mib=summary.largest_memory_mib,
            largest_gpu_count=summary.largest_gpu_count,
            data_mb=dict(summary.data_mb),
        )
        one = self._open[name] = _Open(message, frozenset(clusters))
        try:
            await self._collect(one)
        finally:
            del self._open[name]
        return award(
            [
                one.bids[cluster] - reserved if cluster in one.bids else None
                for cluster, reserved in zip(clusters, reserved_s, strict=True)
            ]
        )

    async def _collect(self, one: _Open) -> None:
        context = self._context
        for cluster in one.clusters:
            if cluster in context.sessions:
                context.sessions[cluster].wake()
        until_s = context.clock.monotonic_s() + context.settings.auction_s
        while len(one.bids) < len(one.clusters):
            context.queue.news.clear()
            left_s = until_s - context.clock.monotonic_s()
            if left_s <= 0:
                return
            await wait_for(context.queue.news, context.clock, left_s)
