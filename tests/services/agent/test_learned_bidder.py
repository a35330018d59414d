"""An agent whose bids are made by a trained network, from its own state and of its own moment."""

from __future__ import annotations

import asyncio

from cerebrum.policies.learned.artefact import write
from cerebrum.services import wire
from tests.policies.learned.made import bids_by_cpu_left
from tests.services.agent.stage import Stage, play, task


def test_the_network_bids_and_bids_less_once_the_cluster_fills(tmp_path):
    write(tmp_path / "bidder.safetensors", bids_by_cpu_left())

    async def story() -> None:
        stage = Stage()
        ask = {"tasks": 1, "core_s": 100.0, "critical_path_s": 100.0, "largest_memory_mib": 10}
        stage.start(bidder=f"learned:{tmp_path / 'bidder.safetensors'}")
        await asyncio.sleep(1)
        stage.controller.auctions = [
            wire.Auction(auction="idle", largest_cpu_milli=1000, **ask),
            wire.Auction(auction="huge", largest_cpu_milli=50_000, **ask),
        ]
        await stage.until(lambda: bool(stage.controller.bids))
        stage.controller.offer("a", *(task(f"t{i}", 1000) for i in range(5)))
        await stage.until(lambda: len(stage.starts) == 5)
        stage.controller.auctions = [wire.Auction(auction="busy", largest_cpu_milli=1000, **ask)]
        await stage.until(lambda: len(stage.controller.bids) == 2)
        idle, busy = stage.controller.bids
        assert (idle.auction, busy.auction) == ("idle", "busy")
        assert 1 <= int(busy.value) < int(idle.value) <= 10
        await stage.kill()

    play(story)
