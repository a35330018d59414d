"""Waiting with a limit, on the clock the agent was given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from cerebrum.services.errors import Unreachable
from cerebrum.services.ports import Clock

T = TypeVar("T")
_SHORTEST_S = 0.001


async def within(clock: Clock, call: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of `call`. Raises `Unreachable` when it takes longer than that."""
    task, timer = asyncio.ensure_future(call), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Unreachable(f"no answer within {seconds:g} s")
    finally:
        timer.cancel()
        task.cancel()
        task.add_done_callback(_unheard)


def _unheard(late: asyncio.Future[Any]) -> None:
    """Nobody waits any more for how it failed."""
    if not late.cancelled():
        late.exception()


async def pause(clock: Clock, signal: asyncio.Event, seconds: float = math.inf) -> None:
    """Until `signal` is set (then it is cleared), or for `seconds`. Others always have their turn.

    Less than a millisecond is made one: what is left of a wait by rounding would be waited for in
    steps too small for the clock to move.
    """
    if signal.is_set() or seconds <= 0:
        await asyncio.sleep(0)
    else:
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(signal.wait())]
        if seconds < math.inf:
            waits.append(asyncio.ensure_future(clock.sleep(max(seconds, _SHORTEST_S))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    signal.clear()
