"""What the agent bids for a part, from what it knows itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cerebrum.model.federation import ClusterView, Link, Network
from cerebrum.services import wire
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.settings import AgentSettings

if TYPE_CHECKING:
    from cerebrum.policies.assignment.auction import Bidder


def own_view(
    life: Lifecycle, settings: AgentSettings, forecast_cpu: Mapping[str, float]
) -> ClusterView:
    """The cluster as one row: what the controller would see, but of this moment."""
    snapshot = life.placement.snapshot()
    usable = [
        (life.placement.rows[name], node)
        for name, node in life.nodes.items()
        if snapshot.usable[life.placement.rows[name]]
    ]
    rows, nodes = [row for row, _ in usable], [node for _, node in usable]
    free = snapshot.nodes[rows]
    forecast = [(forecast_cpu.get(n.name, 0.0), n.capacity.cpu_milli) for n in nodes]
    cpu_milli = sum(milli for _, milli in forecast)
    return ClusterView.of(
        settings.cluster,
        [node.capacity for node in nodes],
        [node.speed for node in nodes],
        [node.gpu_model for node in nodes],
        cpu_free_milli=int(free["cpu_free"].clip(0).sum()),
        memory_free_mib=int(free["memory_free"].clip(0).sum()),
        backlog_core_s=life.backlog_core_s(),
        forecast_cpu=sum(share * milli for share, milli in forecast) / cpu_milli
        if cpu_milli
        else 0.0,
        zone=settings.zone,
    )


def find_bidder(settings: AgentSettings) -> Bidder | None:
    """Who bids instead of us, loaded once. Raises `ConfigError` for one that cannot."""
    from cerebrum.policies.assignment.auction import load_bidder

    return load_bidder(settings.bidder) if settings.bidder else None


def make_bids(
    view: ClusterView,
    auctions: Sequence[wire.Auction],
    links: Mapping[str, Link],
    bidder: Bidder | None = None,
) -> list[wire.Bid]:
    """A bid for each part that the cluster can hold: the later it would be done, the lower.

    `bidder` decides otherwise; every agent of a federation has to bid on the same scale.
    """
    from cerebrum.policies.assignment.auction import PartSummary, bid

    decide = bidder or bid
    names = [view.name, *(name for name in links if name != view.name)]
    network = _star(names, links)
    bids: list[wire.Bid] = []
    for auction in auctions:
        part = PartSummary(
            auction.tasks, auction.core_s, auction.critical_path_s, auction.largest_cpu_milli,
            auction.largest_memory_mib, auction.largest_gpu_count,
            MappingProxyType(dict(auction.data_mb)),
        )  # fmt: skip
        made = decide(view, part, network, names)
        if made is not None and math.isfinite(made.value):
            finish_s = min(3.2e9, max(0.0, made.finish_s))
            value = min(1e12, max(-1e12, made.value))
            bids.append(wire.Bid(auction=auction.auction, value=value, finish_s=finish_s))
    return bids


def _star(names: Sequence[str], links: Mapping[str, Link]) -> Network:
    """The links that lead here; those between others do not matter to a bid."""
    k = len(names)
    latency_s, bandwidth_mb_s, cost = np.zeros((k, k)), np.full((k, k), np.inf), np.zeros((k, k))
    for i, name in enumerate(names):
        if name in links and i:
            link = links[name]
            latency_s[i, 0] = link.latency_s
            bandwidth_mb_s[i, 0] = link.bandwidth_mb_s
            cost[i, 0] = link.cost_per_gb
    return Network(latency_s, bandwidth_mb_s, cost)
