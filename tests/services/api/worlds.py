"""A controller behind its application, on a database in a folder, without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from cerebrum.services import wire
from cerebrum.services.api.auth import Scope, Tokens
from cerebrum.services.api.controller_app import controller_app
from cerebrum.services.clock import MachineClock
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.rollouts import Desk, RolloutSettings
from cerebrum.services.store.database import Database

IDENTITY = "an-identity-of-16"
HELLO = {"name": "hello", "tasks": [{"name": "a"}, {"name": "b"}],
         "dependencies": [{"before": "a", "after": "b"}]}  # fmt: skip


@dataclass
class World:
    """`http` speaks to the application; `controller`, `store` and `tokens` are what is behind."""

    http: httpx.AsyncClient
    app: FastAPI
    controller: Controller
    store: Database
    tokens: Tokens

    async def token(self, scope: Scope, **bound: str) -> dict[str, str]:
        """Headers of a caller with a fresh token."""
        name = f"{scope}-{bound}"
        return {"authorization": f"Bearer {await self.tokens.create(name, scope, **bound)}"}

    async def register(self, cluster: str, cpu_milli: int = 4000, **fields: Any) -> None:
        node = wire.NodeSpec(name="node-0", cpu_milli=cpu_milli, memory_mib=16_384)
        await self.controller.register(
            wire.Register(cluster=cluster, identity=IDENTITY, nodes=[node], **fields)
        )


@asynccontextmanager
async def world(
    folder: Path, *, leads: bool = True, settings: ControllerSettings | None = None,
    base_url: str = "http://127.0.0.1", rollout: RolloutSettings | None = None,
) -> AsyncIterator[World]:  # fmt: skip
    clock = MachineClock()
    async with Database(f"sqlite:///{folder / 'controller.db'}") as store:
        controller = Controller(
            store, clock, settings or ControllerSettings(leader_ttl_s=60.0),
            np.random.default_rng(1), "one", "http://127.0.0.1:8000",
            rollout=None if rollout is None else Desk(rollout, None, clock.unix_s),
        )  # fmt: skip
        if leads:
            await controller.lead()
        tokens = Tokens(store, clock)
        app = controller_app(controller, store, clock, tokens)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=base_url) as http,
        ):
            yield World(http, app, controller, store, tokens)


def tell(folder: Path, story: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run a story in a world."""

    async def run() -> None:
        async with world(folder, **options) as found:
            await story(found)

    asyncio.run(run())
