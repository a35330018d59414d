"""`/api/v1/agents`: the protocol of docs/reference/federation.md. An agent speaks for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from cerebrum.services import wire
from cerebrum.services.api._shared import Agent, TheController
from cerebrum.services.api.auth import Caller
from cerebrum.services.api.bodies import documented, json_body
from cerebrum.services.api.problems import declared
from cerebrum.services.errors import Refused

ERRORS = (307, 400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 500, 503)
T = TypeVar("T")
router = APIRouter(prefix="/api/v1/agents", tags=["agents"])


def _route(model: type[BaseModel], answer: type[BaseModel]) -> dict[str, Any]:
    """What the five routes have in common. Answers are written out once, not validated again."""
    return {
        "response_model": answer,
        "responses": declared(*ERRORS),
        "openapi_extra": documented(model),
    }


def speaks_for(caller: Caller, cluster: str) -> None:
    """Raises `Refused` 403 when the token belongs to another cluster."""
    if caller.cluster and caller.cluster != cluster:
        raise Refused(
            403, "not allowed", f"this token speaks for {caller.cluster!r}, not for {cluster!r}"
        )


async def _unless(stopping: asyncio.Event, polling: Coroutine[Any, Any, T]) -> T:
    """The answer, but at the end of the server at once: a long poll would hold it up."""
    answering, ending = asyncio.ensure_future(polling), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((answering, ending), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise Refused(503, "stopping", "this controller is about to end", 1.0)
        return answering.result()
    finally:
        answering.cancel()
        ending.cancel()


def _answer(message: BaseModel) -> Response:
    return Response(message.model_dump_json(), media_type="application/json")


@router.post("/register", **_route(wire.Register, wire.Registered))
async def register(
    caller: Agent,
    controller: TheController,
    message: Annotated[wire.Register, Depends(json_body(wire.Register))],
) -> Response:
    """Make a cluster known, at each start and after each loss of contact."""
    speaks_for(caller, message.cluster)
    return _answer(await controller.register(message))


@router.post("/poll", **_route(wire.Poll, wire.Offers))
async def poll(
    request: Request,
    caller: Agent,
    controller: TheController,
    message: Annotated[wire.Poll, Depends(json_body(wire.Poll))],
) -> Response:
    """Status in, work out; waits up to `wait_s` for something to say."""
    speaks_for(caller, message.cluster)
    return _answer(await _unless(request.app.state.stopping, controller.poll(message)))


@router.post("/ack", **_route(wire.Ack, wire.Acked))
async def ack(
    caller: Agent,
    controller: TheController,
    message: Annotated[wire.Ack, Depends(json_body(wire.Ack))],
) -> Response:
    """These offers are on the agent's disk; only those confirmed may start."""
    speaks_for(caller, message.cluster)
    return _answer(await controller.ack(message))


@router.post("/report", **_route(wire.Report, wire.Reported))
async def report(
    caller: Agent,
    controller: TheController,
    message: Annotated[wire.Report, Depends(json_body(wire.Report))],
) -> Response:
    """What became of tasks, in order, each until it is confirmed."""
    speaks_for(caller, message.cluster)
    return _answer(await controller.report(message))


@router.post("/sync", **_route(wire.Sync, wire.Synced))
async def sync(
    caller: Agent,
    controller: TheController,
    message: Annotated[wire.Sync, Depends(json_body(wire.Sync))],
) -> Response:
    """Everything the agent holds, compared with what the controller believes."""
    speaks_for(caller, message.cluster)
    return _answer(await controller.sync(message))
