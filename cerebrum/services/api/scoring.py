"""`POST /score`: the MLP prototype's question, answered by a learned node scorer or any policy.

`{"pod": v1.Pod, "nodes": [v1.Node]}` -> `{"scores": {node: 0..100}}`. What runs on the nodes goes
along as `pods`: a v1.Node does not say it. With that `simulate -p score-service:URL` works.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec import Meta, Struct
from pydantic import BaseModel
from starlette.responses import Response

from cerebrum.services.api.auth import Guard, Scope
from cerebrum.services.api.bodies import content_type
from cerebrum.services.api.msgspec_bodies import described, read_as
from cerebrum.services.api.problems import declared
from cerebrum.services.errors import Refused
from cerebrum.services.scoring import Scoring

MAX_NODES, MAX_PODS = 50_000, 500_000
router = APIRouter(tags=["scoring"])
Object = dict[str, Any]


class ScoreRequest(Struct, forbid_unknown_fields=True):
    """A pod, nodes to score for it, and the pods that run on them."""

    pod: Annotated[Object, Meta(description="v1.Pod, not bound")]
    nodes: Annotated[list[Object], Meta(min_length=1, max_length=MAX_NODES, description="v1.Node")]
    pods: Annotated[
        list[Object], Meta(max_length=MAX_PODS, description="v1.Pod, each with its spec.nodeName")
    ] = []


class ScoreAnswer(BaseModel):
    """Higher is better; 0 only for nodes that cannot take the pod, and `refused` says why."""

    scores: dict[str, int]
    refused: dict[str, str]


class Desk:
    """Answers one question after another: a policy remembers, so it is asked by one at a time."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self._turn = asyncio.Lock()

    async def score(self, asked: ScoreRequest) -> Response:
        """The answer, worked out off the event loop."""
        async with self._turn:
            found = await asyncio.to_thread(self.scoring.score, asked.pod, asked.nodes, asked.pods)
        body = msgspec.json.encode({"scores": found.scores, "refused": found.refused})
        return Response(body, media_type="application/json")


async def _desk(request: Request) -> Desk:
    found: Desk | None = getattr(request.app.state, "desk", None)
    if found is None:
        raise Refused(404, "no scorer", "this server was started without a policy that scores")
    return found


@router.post(
    "/score", response_model=ScoreAnswer, dependencies=[Depends(Guard(Scope.VIEWER))],
    responses=declared(400, 401, 403, 404, 413, 415, 422, 500),
    openapi_extra=described(ScoreRequest),
)  # fmt: skip
async def score(request: Request, desk: Annotated[Desk, Depends(_desk)]) -> Response:
    """What each node is worth to the pod. Nothing is bound."""
    content_type(request, ("application/json",))
    return await desk.score(read_as(ScoreRequest, await request.body()))
