"""`POST /schedule`: the bidding prototype's question, answered by a trained bidder.

Also at `/daro/schedule`, where its code has it; `/daro` is its documentation. What is wrong with a
request is a 400 `{"error": ...}`, as there. Unlike there a node without room never wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Depends, Request
from msgspec import Meta, Struct
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.responses import Response

from cerebrum.model.errors import InputError
from cerebrum.policies.learned.auction import Auction, Offer
from cerebrum.services.api import service
from cerebrum.services.api.auth import Guard, Scope
from cerebrum.services.api.bodies import content_type
from cerebrum.services.api.msgspec_bodies import described, read_as
from cerebrum.services.api.problems import MalformedBody, declared
from cerebrum.services.errors import Refused

MAX_NODES = 50_000
MAX_CORES = 8192.0
MAX_GB = 131_072.0
"""Beyond the largest machines there are: what is larger was not meant as cores or GB."""

router = APIRouter(tags=["bidding"])


class NodeState(Struct, forbid_unknown_fields=True, gc=False):
    """A node as it is now. Less than nothing can be available: then it can take nothing."""

    node_id: Annotated[str, Meta(min_length=1, max_length=253)]
    cpu_available: Annotated[float, Meta(description="cores")]
    memory_available: Annotated[float, Meta(description="GB of 2^30 bytes")]
    cpu_capacity: Annotated[
        float | None, Meta(description="cores; for models that look at how large a node is")
    ] = None
    memory_capacity: Annotated[
        float | None, Meta(description="GB; for models that look at how large a node is")
    ] = None


class ScheduleRequest(Struct, forbid_unknown_fields=True):
    """A task and the nodes that may bid for it."""

    cpu_request: Annotated[float, Meta(description=f"cores, above 0 and up to {MAX_CORES:g}")]
    memory_request: Annotated[
        float, Meta(description=f"GB of 2^30 bytes, above 0 and up to {MAX_GB:g}")
    ]
    node_states: Annotated[list[NodeState], Meta(min_length=1, max_length=MAX_NODES)]


class ScheduleAnswer(BaseModel):
    """`scheduled_node` is null where no node can take the task or wants to, and `reason` says why.

    `bids` are in the order of `node_states`: 1 to 10, or 0 from who abstains or has no room.
    """

    scheduled_node: str | None
    bids: list[int]
    reason: str | None = None


class ScheduleError(BaseModel):
    """What is wrong with the request, its field first."""

    error: str


async def _auction(request: Request) -> Auction:
    found: Auction | None = getattr(request.app.state, "auction", None)
    if found is None:
        raise Refused(404, "no bidder", "this server was started without a model that bids")
    return found


TheAuction = Annotated[Auction, Depends(_auction)]
_ROUTE: dict[str, Any] = {
    "response_model": ScheduleAnswer,
    "responses": declared(401, 403, 404, 413, 500) | {400: {"model": ScheduleError}},
    "dependencies": [Depends(Guard(Scope.VIEWER))],
    "openapi_extra": described(ScheduleRequest),
}


@router.post("/schedule", **_ROUTE)
@router.post("/daro/schedule", **_ROUTE)
async def schedule(request: Request, auction: TheAuction) -> Response:
    """Which of these nodes takes the task: the highest bid, of equal ones the first by name.

    Nothing is bound. Every node bids from its own state and the task alone.
    """
    try:
        content_type(request, ("application/json",))
        asked = read_as(ScheduleRequest, await request.body())
        outcome = auction.decide(found := offer(asked, auction.needs_capacity))
    except MalformedBody as problem:
        if problem.status == 413:
            raise
        return _json({"error": problem.detail}, 400)
    except InputError as problem:
        return _json({"error": str(problem)}, 400)
    won = None if outcome.row < 0 else found.names[outcome.row]
    answer = {"scheduled_node": won, "bids": outcome.bids.tolist()}
    return _json(answer | ({"reason": outcome.reason} if won is None else {}))


@router.get("/daro", include_in_schema=False)
async def daro() -> Response:
    """Its documentation, with a form to try it; nothing of it comes from elsewhere."""
    return await service.docs_page("bidding")


def offer(asked: ScheduleRequest, needs_capacity: bool) -> Offer:
    """The request as arrays. Raises `InputError` that names the field."""
    states = asked.node_states
    names = [state.node_id for state in states]
    if len(set(names)) < len(names):
        raise _twice(names)
    for field, value, most, unit in (
        ("cpu_request", asked.cpu_request, MAX_CORES, "cores"),
        ("memory_request", asked.memory_request, MAX_GB, "GB"),
    ):
        if not 0 < value <= most:
            hint = _hint(unit) if value > 0 else "a task that asks for nothing fits anywhere"
            raise InputError(
                f"expected {unit} above 0 and up to {most:g}, got {value:g}: {hint}"
            ).at(field=field)
    cpu = _column("cpu_available", [s.cpu_available for s in states], MAX_CORES, "cores")
    memory = _column("memory_available", [s.memory_available for s in states], MAX_GB, "GB")
    return Offer(
        names, asked.cpu_request, asked.memory_request, cpu, memory,
        _capacity("cpu", [s.cpu_capacity for s in states], cpu, MAX_CORES, "cores", needs_capacity),
        _capacity(
            "memory", [s.memory_capacity for s in states], memory, MAX_GB, "GB", needs_capacity
        ),
    )  # fmt: skip


def _column(field: str, values: Sequence[float], most: float, unit: str) -> NDArray[np.float64]:
    column = np.asarray(values, np.float64)
    _refuse(
        field, np.abs(column) > most,
        lambda i: f"expected {unit}, at most {most:g}, got {values[i]:g}: {_hint(unit)}",
    )  # fmt: skip
    return column


def _capacity(
    what: str,
    values: Sequence[float | None],
    free: NDArray[np.float64],
    most: float,
    unit: str,
    needed: bool,
) -> NDArray[np.float64]:
    field = f"{what}_capacity"
    if not needed and values.count(None) == len(values):
        return np.full(len(values), np.nan)
    told = np.array([value is not None for value in values])
    column = np.array([np.nan if value is None else value for value in values], np.float64)
    _refuse(
        field, ~told & needed,
        lambda _: f"expected {unit}: this model looks at how large a node is",
    )  # fmt: skip
    _refuse(
        field, told & ~((column > 0) & (column <= most)),
        lambda i: f"expected {unit} above 0 and up to {most:g}, got {values[i]:g}: {_hint(unit)}",
    )  # fmt: skip
    _refuse(
        field, told & (free > column),
        lambda i: f"expected at least the {free[i]:g} {unit} available, got {values[i]:g}",
    )  # fmt: skip
    return column


def _refuse(field: str, wrong: NDArray[np.bool_], say: Callable[[int], str]) -> None:
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(say(i)).at(field=f"node_states.{i}.{field}")


def _hint(unit: str) -> str:
    return "is it in millicores?" if unit == "cores" else "is it in bytes or MiB?"


def _twice(names: Sequence[str]) -> InputError:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            return InputError(f"expected each node once, got {name!r} again").at(
                field=f"node_states.{i}.node_id"
            )
        seen.add(name)
    raise AssertionError("names differ")


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
