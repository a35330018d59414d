"""`/api/v1/policies`: what a workflow may name, and what agents may place with."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable
from functools import cache
from typing import Literal

from fastapi import APIRouter

from cerebrum.services.api import views
from cerebrum.services.api._shared import READ_ERRORS, Viewer
from cerebrum.services.api.problems import declared

router = APIRouter(prefix="/api/v1", tags=["policies"])
Role = Literal["decomposition", "assignment", "placement"]


@router.get("/policies", responses=declared(*READ_ERRORS))
async def list_policies(caller: Viewer) -> views.Policies:
    """Policies by role and name."""
    return views.Policies(items=await asyncio.to_thread(_policies))


@cache
def _policies() -> list[views.PolicyView]:
    from cerebrum.policies import POLICIES
    from cerebrum.policies.assignment import ASSIGNERS
    from cerebrum.policies.decomposition import DECOMPOSERS

    return [
        *_of("decomposition", DECOMPOSERS.items()),
        *_of("assignment", ASSIGNERS.items()),
        *_of("placement", POLICIES.items()),
    ]


def _of(role: Role, homes: Iterable[tuple[str, str]]) -> list[views.PolicyView]:
    return [views.PolicyView(name=name, role=role, about=_about(home)) for name, home in homes]


def _about(home: str) -> str:
    """The first line of what the policy's file says about itself."""
    doc = importlib.import_module(home.partition(":")[0]).__doc__ or ""
    return doc.strip().splitlines()[0] if doc.strip() else ""
