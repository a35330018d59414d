"""A fake API server with the real client, informers and scheduler against it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.scheduler import PodScheduler
from cerebrum.model.protocols import Policy
from cerebrum.policies import get_policy
from cerebrum.policies.profile import load_profile
from tests.executors.kubernetes.fake_api import FakeApi

PATIENCE_S = 20.0


@asynccontextmanager
async def scheduling(
    api: FakeApi, policy: str | dict[str, Any] = "best_fit", **settings: Any
) -> AsyncIterator[PodScheduler]:
    """A scheduler that has read the cluster and decides."""
    async with Client(Access(api.url), qps=0) as client:
        scheduler = PodScheduler(
            client, _policy(policy), clock=time.monotonic, wall=time.time,
            rng=np.random.default_rng(7), **settings,
        )  # fmt: skip
        running = asyncio.create_task(scheduler.run())
        try:
            ready = asyncio.create_task(scheduler.ready.wait())
            await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if running.done():
                running.result()
            yield scheduler
        finally:
            if running.done():
                running.result()  # it ended by itself: why is the test's failure
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait for something to become true."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"never came: {what or condition.__code__.co_name}")
        await asyncio.sleep(0.01)


def _policy(chosen: str | dict[str, Any]) -> Policy:
    return get_policy(chosen) if isinstance(chosen, str) else load_profile(chosen)
