"""`/api/v1/quotas`: how many unended tasks a tenant has, and how many it may have."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from cerebrum.model.errors import NotFound
from cerebrum.services import wire
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
from cerebrum.services.api.bodies import documented, json_body
from cerebrum.services.api.pages import CursorIn, Limit
from cerebrum.services.api.problems import declared

router = APIRouter(prefix="/api/v1", tags=["quotas"])


class Quota(wire.Message):
    """How many unended tasks a tenant may have; null: as many as any tenant without a quota."""

    max_tasks: Annotated[int, Field(ge=0, le=2**53)] | None


@router.get("/quotas", responses=declared(*READ_ERRORS))
async def list_quotas(
    caller: Viewer,
    store: TheStore,
    controller: TheController,
    cursor: CursorIn = None,
    limit: Limit = 100,
) -> views.Quotas:
    """Tenants that ever submitted or were given a quota, by name."""
    default = controller.settings.tenant_tasks
    return await store.read(
        partial(reads.quota_page, caller=caller, default=default, cursor=cursor, limit=limit)
    )


@router.get("/quotas/{tenant:path}", responses=declared(*READ_ERRORS))
async def get_quota(
    tenant: Id, caller: Viewer, store: TheStore, controller: TheController
) -> views.QuotaView:
    """One tenant's, whether or not it has submitted anything yet."""
    if caller.tenant not in ("", tenant):
        raise NotFound(f"there is no tenant {tenant!r}")
    return await store.read(
        partial(reads.quota, tenant=tenant, default=controller.settings.tenant_tasks)
    )


@router.put(
    "/quotas/{tenant:path}", responses=declared(*WRITE_ERRORS), openapi_extra=documented(Quota)
)
async def put_quota(
    tenant: Id,
    caller: Operator,
    store: TheStore,
    controller: TheController,
    wanted: Annotated[Quota, Depends(json_body(Quota))],
) -> views.QuotaView:
    """Limit a tenant from the next submission on. What it has already goes on."""
    await controller.set_quota(tenant, wanted.max_tasks)
    return await store.read(
        partial(reads.quota, tenant=tenant, default=controller.settings.tenant_tasks)
    )
