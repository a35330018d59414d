"""`/api/v1/assignments`: which tasks were given to which cluster, and when."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from cerebrum.services.api import reads, views
from cerebrum.services.api._shared import READ_ERRORS, TheStore, Viewer
from cerebrum.services.api.pages import CursorIn, Limit, NameFilter
from cerebrum.services.api.problems import declared

router = APIRouter(prefix="/api/v1", tags=["assignments"])


@router.get("/assignments", responses=declared(*READ_ERRORS))
async def list_assignments(
    caller: Viewer,
    store: TheStore,
    workflow: NameFilter = None,
    cluster: NameFilter = None,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Assignments:
    """Assignments, newest first."""
    return await store.read(
        partial(
            reads.assignment_page, caller=caller, workflow_id=workflow, cluster=cluster,
            cursor=cursor, limit=limit,
        )
    )  # fmt: skip
