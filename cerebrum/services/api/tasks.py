"""`/api/v1/tasks`: what every task is doing, why, and what it wrote."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

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
from cerebrum.services.api.logs import from_agent
from cerebrum.services.api.pages import CursorIn, Limit, NameFilter
from cerebrum.services.api.problems import declared

router = APIRouter(prefix="/api/v1", tags=["tasks"])
Stream = Annotated[str, Query(pattern="^(stdout|stderr)$")]
Offset = Annotated[int, Query(ge=0, le=2**53)]
RunId = Annotated[str | None, Query(pattern=r"^cb-[0-9a-f]{24}$")]


@router.get("/tasks", responses=declared(*READ_ERRORS))
async def list_tasks(
    caller: Viewer,
    store: TheStore,
    workflow: NameFilter = None,
    state: Annotated[views.TaskState | None, Query()] = None,
    cluster: NameFilter = None,
    node: NameFilter = None,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Tasks:
    """Tasks by workflow and place in it."""
    return await store.read(
        partial(
            reads.task_page, caller=caller, workflow_id=workflow, state=state, cluster=cluster,
            node=node, cursor=cursor, limit=limit,
        )
    )  # fmt: skip


@router.get("/tasks/{uid:path}", responses=declared(*READ_ERRORS))
async def get_task(uid: Id, caller: Viewer, store: TheStore) -> views.TaskDetail:
    """One task: what was asked for, where it is and why, and all that happened to it."""
    return await store.read(partial(reads.task, caller=caller, task_uid=uid))


@router.get(
    "/logs/{uid:path}", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    | declared(*READ_ERRORS, 502),
)  # fmt: skip
async def get_task_logs(
    uid: Id,
    request: Request,
    caller: Viewer,
    store: TheStore,
    stream: Stream = "stdout",
    offset: Offset = 0,
    run: RunId = None,
) -> Response:
    """What a run of the task wrote from byte `offset` on, at most 1 MiB, asked of its agent.

    `run` names an earlier attempt. (A path of its own: a task may be called `x/logs`.)
    """
    target = await store.read(partial(reads.log_source, caller=caller, task_uid=uid, run_id=run))
    body = await from_agent(request.app.state.agents, target, stream, offset)
    return Response(body, media_type="text/plain; charset=utf-8")


@router.post("/cancel/{uid:path}", status_code=202, responses=declared(*WRITE_ERRORS))
async def cancel_task(
    uid: Id, caller: Submitter, controller: TheController, store: TheStore
) -> views.Done:
    """Ask for a task's end; what depends on it is cancelled too."""
    await store.read(partial(reads.task_row, caller=caller, task_uid=uid))
    await controller.cancel_task(uid)
    return views.Done(status="cancelling")
