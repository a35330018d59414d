"""The simulated live executor: runs that only pass time, on any clock, with faults drawn by seed.

`SimulatedNodes` is the world: it knows which runs there are and what becomes of them, and outlives
the executor. `SimulatedRuns` is the hand on it. A new hand on an old world adopts what runs there,
as an agent does after a restart.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from cerebrum.executors._launches import check_deadline, check_grace, check_launch, check_stream
from cerebrum.executors._simulated_world import Clock, Faults, Hand, SimulatedNodes
from cerebrum.model.errors import NotFound
from cerebrum.model.runs import Launch, RunStatus

__all__ = ["Clock", "Faults", "SimulatedNodes", "SimulatedRuns"]


class SimulatedRuns:
    """The executor on a `SimulatedNodes` world. `close` lets go; the world keeps its runs."""

    name = "simulated"

    def __init__(self, world: SimulatedNodes) -> None:
        self.world = world
        self._hand = world.attach()

    async def start(self, launch: Launch) -> None:
        """See `Executor.start`. Raises `InputError` for numbers that make no sense."""
        check_launch(launch)
        self.world.start(launch)

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        """See `Executor.stop`. Simulated programs obey at once."""
        check_grace(grace_s)
        self.world.stop(run_id, reason)

    async def runs(self) -> Sequence[RunStatus]:
        """See `Executor.runs`: in the order of their starts."""
        return self.world.statuses()

    async def next_changes(self) -> Sequence[RunStatus]:
        """See `Executor.next_changes`."""
        hand = self._hand
        while True:
            self.world.advance()
            if hand.lost:
                hand.unread, hand.lost = [], False
                return ()
            if hand.unread:
                changes, hand.unread = hand.unread, []
                return changes
            await self._wait(hand)

    async def forget(self, run_id: str) -> None:
        """See `Executor.forget`. A run that goes on is not forgotten."""
        self.world.forget(run_id)

    async def fence(self, run_ids: Sequence[str], seconds: float | None) -> None:
        """See `Executor.fence`. A fence may stand before its run starts."""
        check_deadline(seconds)
        for run_id in run_ids:
            self.world.fence(run_id, seconds)

    async def logs(
        self, run_id: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """See `Executor.logs`: simulated programs write nothing. Raises `NotFound`."""
        check_stream(stream)
        if run_id not in self.world:
            raise NotFound(f"no run {run_id!r}")
        return b""

    async def close(self) -> None:
        """See `Executor.close`."""
        self.world.detach(self._hand)

    async def _wait(self, hand: Hand) -> None:
        """Until the world's next moment, or until somebody asks it for something."""
        hand.waker = asyncio.get_running_loop().create_future()
        waiting: list[asyncio.Future[None]] = [hand.waker]
        delay_s = self.world.next_in_s()
        if delay_s < math.inf:
            waiting.append(asyncio.ensure_future(self.world.clock.sleep(delay_s)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hand.waker = None
            for future in waiting:
                future.cancel()
