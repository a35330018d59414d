"""`/api/v1/jobs`: batches of tasks without dependencies."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cerebrum.services import wire
from cerebrum.services.api import bodies, reads, views
from cerebrum.services.api._shared import (
    READ_ERRORS,
    WRITE_ERRORS,
    Submitter,
    TheController,
    TheStore,
    Viewer,
)
from cerebrum.services.api.pages import CursorIn, Limit, NameFilter
from cerebrum.services.api.problems import declared
from cerebrum.services.api.submissions import submission
from cerebrum.services.api.workflows import LOCATION, Key, accept

router = APIRouter(prefix="/api/v1", tags=["jobs"])


@router.post(
    "/jobs", status_code=202, responses=LOCATION | declared(*WRITE_ERRORS),
    openapi_extra=bodies.documented(wire.WorkflowSpec),
)  # fmt: skip
async def submit_job(
    request: Request,
    response: Response,
    caller: Submitter,
    controller: TheController,
    key: Key = None,
) -> views.Accepted:
    """Submit a batch: a workflow whose `kind` need not be said."""
    spec, digest = await submission(request)
    spec = spec.model_copy(update={"kind": "job"})
    return await accept(response, controller, caller.submits_as, spec, key, digest)


@router.get("/jobs", responses=declared(*READ_ERRORS))
async def list_jobs(
    caller: Viewer,
    store: TheStore,
    state: Annotated[views.WorkflowState | None, Query()] = None,
    name: NameFilter = None,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Workflows:
    """Jobs, newest first."""
    return await store.read(
        partial(
            reads.workflow_page, caller=caller, state=state, kind="job", name=name,
            cursor=cursor, limit=limit,
        )
    )  # fmt: skip
