"""The controller's application: routes, errors, limits, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI

from cerebrum.policies.learned.ladder import Standing
from cerebrum.services.api import (
    agents,
    assignments,
    clusters,
    events,
    health,
    jobs,
    policies,
    prototype,
    quotas,
    rollout,
    service,
    tasks,
    workflows,
)
from cerebrum.services.api.auth import TokenBook
from cerebrum.services.api.shell import bare
from cerebrum.services.controller import Controller
from cerebrum.services.ports import Clock, Store
from cerebrum.services.telemetry import Counts, HttpMetrics, registry

ROUTERS: tuple[APIRouter, ...] = (
    workflows.router, jobs.router, tasks.router, clusters.router, assignments.router,
    policies.router, rollout.router, quotas.router, events.router, agents.router, prototype.router,
    health.router, service.router,
)  # fmt: skip
ABOUT = """The Global Cerebrum Controller. Errors are `application/problem+json`; lists are pages,
and `next` of one is `cursor` of the following; times are Unix seconds."""


def controller_app(
    controller: Controller, store: Store, clock: Clock, tokens: TokenBook
) -> FastAPI:
    """The application around a controller that somebody else runs (`controller.run()`)."""
    found = registry()
    counts = Counts(health.METRICS)
    found.register(counts)
    found.register(rollout.RolloutMetrics(lambda: _standing(controller)))
    app = bare("Cerebrum controller", ABOUT, HttpMetrics(found), _log_client)
    app.state.controller, app.state.store, app.state.tokens = controller, store, tokens
    app.state.role, app.state.registry = "controller", found
    app.state.rollout = controller
    app.state.scrape = health.Scrape(store, clock, counts)
    app.state.stopping, app.state.streams = asyncio.Event(), set[Any]()
    for router in ROUTERS:
        app.include_router(router)
    return app


def _standing(controller: Controller) -> Standing | None:
    """Of the leader only: sums over replicas are right."""
    desk = controller.rollout
    return desk.standing if desk is not None and controller.leader.is_leader else None


@asynccontextmanager
async def _log_client(app: FastAPI) -> AsyncGenerator[None]:
    """Connections to agents, for logs."""
    async with httpx.AsyncClient(
        follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=32)
    ) as client:
        app.state.agents = client
        yield
