"""`/api/v1/workflows`: submit, list, look at, cancel."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from cerebrum.services import wire
from cerebrum.services.api import reads, views
from cerebrum.services.api._shared import (
    READ_ERRORS,
    WRITE_ERRORS,
    Id,
    Submitter,
    TheController,
    TheStore,
    Viewer,
)
from cerebrum.services.api.bodies import documented
from cerebrum.services.api.pages import CursorIn, Limit, NameFilter
from cerebrum.services.api.problems import declared
from cerebrum.services.api.submissions import FORMATS, submission

router = APIRouter(prefix="/api/v1", tags=["workflows"])
KEY = r"^[\x21-\x7e]{1,200}$"
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", pattern=KEY,
           description="Same key and body: same answer. Same key, other body: 409."),
]  # fmt: skip
LOCATION: dict[int | str, dict[str, Any]] = {
    202: {"headers": {"Location": {"schema": {"type": "string"}}}}
}


@router.post(
    "/workflows", status_code=202, responses=LOCATION | declared(*WRITE_ERRORS),
    openapi_extra=documented(
        wire.WorkflowSpec, media_types=tuple(kind for kind in FORMATS if kind != "application/json")
    ),
)  # fmt: skip
async def submit_workflow(
    request: Request,
    response: Response,
    caller: Submitter,
    controller: TheController,
    key: Key = None,
) -> views.Accepted:
    """Submit a workflow: it is on disk when this answers.

    Native JSON, or WfFormat, the prototype's JSON, Pegasus DAX, Argo Workflow YAML, recognised by
    what they hold.
    """
    spec, digest = await submission(request)
    return await accept(response, controller, caller.submits_as, spec, key, digest)


async def accept(
    response: Response,
    controller: TheController,
    tenant: str,
    spec: wire.WorkflowSpec,
    key: str | None,
    digest: str,
) -> views.Accepted:
    """Hand it over, and say where to ask for it."""
    done = await controller.submit(spec, tenant=tenant, key=key, body_hash=digest)
    response.headers["Location"] = f"/api/v1/workflows/{done.workflow_id}"
    return views.Accepted(id=done.workflow_id, name=spec.name, tenant=tenant, tasks=len(spec.tasks))


@router.get("/workflows", responses=declared(*READ_ERRORS))
async def list_workflows(
    caller: Viewer,
    store: TheStore,
    state: Annotated[views.WorkflowState | None, Query()] = None,
    kind: Annotated[str | None, Query(pattern="^(workflow|job)$")] = None,
    name: NameFilter = None,
    tenant: NameFilter = None,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Workflows:
    """Workflows and jobs, newest first."""
    return await store.read(
        partial(
            reads.workflow_page, caller=caller, state=state, kind=kind, name=name, tenant=tenant,
            cursor=cursor, limit=limit,
        )
    )  # fmt: skip


@router.get("/workflows/{id}", responses=declared(*READ_ERRORS))
async def get_workflow(id: Id, caller: Viewer, store: TheStore) -> views.WorkflowDetail:
    """One workflow with its parts."""
    return await store.read(partial(reads.workflow, caller=caller, id=id))


@router.get(
    "/workflows/{id}/spec", response_model=wire.WorkflowSpec, responses=declared(*READ_ERRORS)
)
async def get_workflow_spec(id: Id, caller: Viewer, store: TheStore) -> Response:
    """What was submitted; what is left out has its default."""
    body = await store.read(partial(reads.specification, caller=caller, id=id))
    return Response(body, media_type="application/json")


@router.get("/workflows/{id}/tasks", responses=declared(*READ_ERRORS))
async def list_workflow_tasks(
    id: Id,
    caller: Viewer,
    store: TheStore,
    state: Annotated[views.TaskState | None, Query()] = None,
    cluster: NameFilter = None,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Tasks:
    """Its tasks, in the order in which they were submitted."""
    return await store.read(
        partial(
            reads.task_page, caller=caller, workflow_id=id, state=state, cluster=cluster,
            cursor=cursor, limit=limit,
        )
    )  # fmt: skip


@router.post("/workflows/{id}/cancel", status_code=202, responses=declared(*WRITE_ERRORS))
async def cancel_workflow(
    id: Id, caller: Submitter, controller: TheController, store: TheStore
) -> views.Done:
    """Ask for its end; what runs is stopped, and the workflow ends when that is reported."""
    await store.read(partial(reads.visible, caller=caller, id=id))
    await controller.cancel_workflow(id)
    return views.Done(status="cancelling")


@router.delete("/workflows/{id}", status_code=202, responses=declared(*WRITE_ERRORS))
async def delete_workflow(
    id: Id, caller: Submitter, controller: TheController, store: TheStore
) -> views.Done:
    """The same as cancel: history is kept."""
    return await cancel_workflow(id, caller, controller, store)
