"""`/readyz` and `/metrics` of a controller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection, func, select
from starlette.responses import Response

from cerebrum.services.api import service, views
from cerebrum.services.api._shared import TheController, TheStore, of_all_tenants
from cerebrum.services.api.auth import Caller
from cerebrum.services.api.problems import declared
from cerebrum.services.ports import Clock, Store
from cerebrum.services.store.schema import IS_ACTIVE, clusters, events, quotas, tasks, workflows
from cerebrum.services.telemetry import Counts

router = APIRouter(tags=["service"])
FRESH_S = 5.0
METRICS = {
    "cerebrum_workflows": ("Workflows in each state.", "state"),
    "cerebrum_tasks_active": ("Tasks that have a cluster and no end, in each state.", "state"),
    "cerebrum_tasks_unended": ("Accepted tasks that have not ended.", ""),
    "cerebrum_clusters": ("Clusters in each state.", "state"),
    "cerebrum_events": ("Number of the newest event.", ""),
    "cerebrum_leader": ("1 where this replica leads.", ""),
}


@router.get("/readyz", responses=declared(500, 503))
async def readyz(store: TheStore, controller: TheController) -> views.Readiness:
    """The database answers. A standby is ready too: it sends who writes to the leader."""
    await store.read(lambda connection: connection.execute(select(1)).scalar_one())
    return views.Readiness(status="ready", leader=controller.leader.is_leader)


@router.get(
    "/metrics", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    | declared(401, 403, 500, 503),
)  # fmt: skip
async def metrics(
    request: Request,
    caller: Annotated[Caller, Depends(of_all_tenants)],
    controller: TheController,
) -> Response:
    """For Prometheus. Counts of the database are at most five seconds old."""
    await request.app.state.scrape(controller.leader.is_leader)
    return service.metrics_text(request)


class Scrape:
    """Fills the gauges that are read off the database, at most once in `FRESH_S`."""

    def __init__(self, store: Store, clock: Clock, counts: Counts) -> None:
        self._store, self._clock, self._counts = store, clock, counts
        self._read_s = float("-inf")
        self._rows: Sequence[tuple[str, str, float]] = ()

    async def __call__(self, leader: bool) -> None:
        """Refresh."""
        now_s = self._clock.monotonic_s()
        if now_s - self._read_s >= FRESH_S:
            self._rows, self._read_s = await self._store.read(_rows), now_s
        self._counts.update([*self._rows, ("cerebrum_leader", "", float(leader))])


def _rows(connection: Connection) -> list[tuple[str, str, float]]:
    """Each query goes over an index or a small table: a scrape does not slow the planner."""
    grouped = (
        ("cerebrum_workflows", select(workflows.c.state, func.count()), workflows.c.state),
        ("cerebrum_clusters", select(clusters.c.state, func.count()), clusters.c.state),
        (
            "cerebrum_tasks_active",
            select(tasks.c.state, func.count()).where(IS_ACTIVE),
            tasks.c.state,
        ),
    )
    out: list[tuple[str, str, float]] = []
    for name, query, key in grouped:
        rows = connection.execute(query.group_by(key)).all()
        out += [(name, str(value), float(count)) for value, count in rows]
    unended = connection.execute(select(func.sum(quotas.c.tasks))).scalar_one() or 0
    newest = connection.execute(select(func.max(events.c.seq))).scalar_one() or 0
    return [*out, ("cerebrum_tasks_unended", "", unended), ("cerebrum_events", "", newest)]
