"""What every route of the controller's API uses: the controller, the database, who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from cerebrum.services.api.auth import Caller, Guard, Scope
from cerebrum.services.controller import Controller
from cerebrum.services.errors import Refused
from cerebrum.services.ports import Store

READ_ERRORS = (400, 401, 403, 404, 422, 500, 503)
WRITE_ERRORS = (307, 400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)


async def controller(request: Request) -> Controller:
    """The controller behind this application. (Coroutines: FastAPI gives others a thread.)"""
    return request.app.state.controller


async def store(request: Request) -> Store:
    """Its database."""
    return request.app.state.store


async def of_all_tenants(caller: Annotated[Caller, Depends(Guard(Scope.VIEWER))]) -> Caller:
    """A viewer who is not bound to a tenant."""
    if caller.tenant:
        raise Refused(403, "not allowed", "this needs a token that is not bound to a tenant")
    return caller


TheController = Annotated[Controller, Depends(controller)]
TheStore = Annotated[Store, Depends(store)]
Viewer = Annotated[Caller, Depends(Guard(Scope.VIEWER))]
Overseer = Annotated[Caller, Depends(of_all_tenants)]
Submitter = Annotated[Caller, Depends(Guard(Scope.SUBMITTER))]
Operator = Annotated[Caller, Depends(Guard(Scope.OPERATOR))]
Agent = Annotated[Caller, Depends(Guard(Scope.AGENT))]
Id = Annotated[str, Path(min_length=1, max_length=600)]
