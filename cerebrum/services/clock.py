"""The machine's clocks."""

from __future__ import annotations

import asyncio
import time


class MachineClock:
    """`cerebrum.services.ports.Clock` of this machine.

    Deadlines use CLOCK_BOOTTIME: it goes on while the machine sleeps, and is the same for every
    process since boot, so that a deadline on disk keeps its meaning across a restart of ours.
    """

    def unix_s(self) -> float:
        """Seconds since 1970; jumps when somebody sets the clock."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since the machine was started, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Wait; other tasks of the event loop go on."""
        await asyncio.sleep(max(0.0, seconds))
