"""To wait for an event, but not for ever, on the clock we were given."""

from __future__ import annotations

import asyncio

from cerebrum.services.ports import Clock


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Whether the event came within `seconds` of the clock."""
    if event.is_set():
        return True
    if seconds <= 0:
        return False
    came = asyncio.ensure_future(event.wait())
    slept = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({came, slept}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (came, slept):
            task.cancel()
        await asyncio.gather(came, slept, return_exceptions=True)
    return event.is_set()
