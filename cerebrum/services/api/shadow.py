"""How the pod scheduler's decisions compare with the stock scheduler's, and what it is to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cerebrum.services.api.auth import Guard, Scope
from cerebrum.services.api.bodies import documented, json_body
from cerebrum.services.api.problems import declared
from cerebrum.services.errors import Refused

if TYPE_CHECKING:
    from cerebrum.executors.kubernetes.scheduler import PodScheduler
    from cerebrum.services.api.kubernetes import KubernetesCluster

router = APIRouter(tags=["scheduler"])
MOST = 1000


class ModeBody(BaseModel):
    """What the pod scheduler is to do from now on."""

    model_config = ConfigDict(strict=True, extra="forbid")
    mode: Literal["bind", "shadow", "off"] = Field(
        description="bind pods of our schedulerName; decide and only compare; only watch"
    )


class Compared(BaseModel):
    """One pod of the other scheduler: where we would have put it, where it went."""

    namespace: str
    name: str
    ours: str
    theirs: str
    regret: float | None = Field(description="Score of our node less theirs; null: not measured.")


class ShadowReport(BaseModel):
    """Since the start. `regret` is the mean over `measured` pods, in the policy's own score."""

    mode: str
    policy: str
    agreed: int
    differed: int
    only_ours: int
    only_theirs: int
    agreement: float | None
    measured: int
    regret: float | None
    comparisons: list[Compared]


async def _cluster(request: Request) -> KubernetesCluster:
    cluster: KubernetesCluster | None = request.app.state.cluster
    if cluster is None:
        raise Refused(404, "no pod scheduler", "this agent's cluster is not Kubernetes")
    return cluster


async def _scheduler(cluster: Annotated[Any, Depends(_cluster)]) -> PodScheduler:
    if cluster.scheduler is None:
        raise Refused(409, "no pod scheduler", cluster.no_scheduler())
    return cluster.scheduler


@router.get(
    "/api/v1/shadow", dependencies=[Depends(Guard(Scope.VIEWER))],
    responses=declared(400, 401, 403, 404, 409, 422, 500),
)  # fmt: skip
async def shadow(
    scheduler: Annotated[Any, Depends(_scheduler)],
    limit: Annotated[int, Query(ge=0, le=MOST)] = 100,
) -> ShadowReport:
    """Agreement and regret against the stock scheduler, and the last comparisons, newest first."""
    seen = scheduler.shadow
    last = list(seen.log)[::-1][:limit]
    return ShadowReport(
        mode=scheduler.mode,
        policy=scheduler.policy.name,
        agreed=seen.agreed,
        differed=seen.differed,
        only_ours=seen.only_ours,
        only_theirs=seen.only_theirs,
        agreement=_known(seen.agreement),
        measured=seen.measured,
        regret=seen.regret / seen.measured if seen.measured else None,
        comparisons=[
            Compared(
                namespace=one.namespace, name=one.name, ours=one.ours, theirs=one.theirs,
                regret=_known(one.regret),
            )
            for one in last
        ],
    )  # fmt: skip


@router.post(
    "/api/v1/mode", dependencies=[Depends(Guard(Scope.OPERATOR))],
    responses=declared(400, 401, 403, 404, 409, 413, 415, 422, 500),
    openapi_extra=documented(ModeBody),
)  # fmt: skip
async def change_mode(
    cluster: Annotated[Any, Depends(_cluster)],
    scheduler: Annotated[Any, Depends(_scheduler)],
    body: Annotated[ModeBody, Depends(json_body(ModeBody))],
) -> ModeBody:
    """Switch the pod scheduler while it runs. The next start goes by its settings again."""
    if body.mode == "shadow" and cluster.settings.extender:
        raise Refused(
            409, "not together",
            "while it answers as an extender, its own guesses about the same pods would count as "
            "used room: start it without --extender",
        )  # fmt: skip
    scheduler.set_mode(body.mode)
    return body


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
