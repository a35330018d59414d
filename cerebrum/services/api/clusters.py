"""`/api/v1/clusters`, `/api/v1/nodes`: what there is, and what an operator does with it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from cerebrum.model.errors import NotFound
from cerebrum.services.api import reads, views
from cerebrum.services.api._shared import (
    READ_ERRORS,
    WRITE_ERRORS,
    Id,
    Operator,
    TheController,
    TheStore,
    Viewer,
)
from cerebrum.services.api.pages import CursorIn, Limit
from cerebrum.services.api.problems import declared

router = APIRouter(prefix="/api/v1", tags=["clusters"])


@router.get("/clusters", responses=declared(*READ_ERRORS))
async def list_clusters(
    caller: Viewer, store: TheStore, cursor: CursorIn = None, limit: Limit = 100
) -> views.Clusters:
    """Clusters by id."""
    return await store.read(partial(reads.cluster_page, cursor=cursor, limit=limit))


@router.get("/nodes", responses=declared(*READ_ERRORS))
async def list_nodes(
    caller: Viewer, store: TheStore, cluster: Annotated[str | None, Query(max_length=600)] = None
) -> views.Nodes:
    """Nodes as their agents declared them, by cluster and name."""
    return views.Nodes(items=await store.read(partial(reads.cluster_nodes, cluster=cluster)))


@router.get("/clusters/{id:path}", responses=declared(*READ_ERRORS))
async def get_cluster(id: Id, caller: Viewer, store: TheStore) -> views.ClusterView:
    """One cluster."""
    found = await store.read(partial(reads.cluster_page, id=id))
    if not found.items:
        raise NotFound(f"there is no cluster {id!r}")
    return found.items[0]


@router.post("/clusters/{id:path}/drain", status_code=202, responses=declared(*WRITE_ERRORS))
async def drain_cluster(id: Id, caller: Operator, controller: TheController) -> views.Done:
    """Give it nothing new; what it has not started goes elsewhere, what runs ends there."""
    await controller.drain_cluster(id)
    return views.Done(status="draining")


@router.post("/clusters/{id:path}/uncordon", status_code=202, responses=declared(*WRITE_ERRORS))
async def uncordon_cluster(id: Id, caller: Operator, controller: TheController) -> views.Done:
    """Give it work again."""
    await controller.uncordon_cluster(id)
    return views.Done(status="live")


@router.post("/clusters/{id:path}/forget", status_code=202, responses=declared(*WRITE_ERRORS))
async def forget_cluster(id: Id, caller: Operator, controller: TheController) -> views.Done:
    """It will never come back, and somebody has made sure that nothing runs there any more.

    All it held is given to others at once, whatever its workflows say about lost clusters.
    """
    await controller.forget_cluster(id)
    return views.Done(status="forgotten")
