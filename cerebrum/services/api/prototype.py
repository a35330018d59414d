"""The prototypes' routes, as their users expect them.

GCC (ahmadpanah/Cerebrum): `/submit_workflow`, `/register_lca`. Carbon scheduler
(g-uva/KubEnergySched): `/ingest` and `/workload-ingest`, two names for one job as JSON. Fields not
known are ignored there, so they are here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cerebrum.services import wire
from cerebrum.services.api import views
from cerebrum.services.api._shared import WRITE_ERRORS, Agent, Submitter, TheController
from cerebrum.services.api.agents import speaks_for
from cerebrum.services.api.bodies import documented, json_body
from cerebrum.services.api.problems import declared
from cerebrum.services.api.submissions import submission

router = APIRouter(tags=["prototypes"])
ACCEPTED = "workflow accepted and being processed"


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, populate_by_name=True)


class PrototypeTask(_Loose):
    """`cpu_req` millicores, `mem_req` MiB."""

    id: Annotated[str, Field(min_length=1, max_length=253)]
    image: wire.Text = ""
    cpu_req: Annotated[float, Field(ge=0, le=1e7)]
    mem_req: Annotated[int, Field(ge=0, le=100_000_000)]


class PrototypeWorkflow(_Loose):
    """`dependencies` task -> what it waits for; `data_volumes` "from-to" -> MB."""

    id: Annotated[str, Field(min_length=1, max_length=253)]
    tasks: list[PrototypeTask] = Field(min_length=1, max_length=wire.MAX_TASKS)
    dependencies: dict[str, list[str]]
    data_volumes: dict[str, wire.Megabytes]


class PrototypeNode(_Loose):
    """`cpu_avail` millicores, `mem_avail` MiB."""

    name: wire.Name
    cpu_avail: Annotated[float, Field(ge=0, le=1e7)]
    mem_avail: Annotated[int, Field(ge=0, le=1_000_000_000)]


class PrototypeState(_Loose):
    """What a prototype's agent knows of its cluster."""

    nodes: list[PrototypeNode] = Field(default_factory=list[PrototypeNode], max_length=20_000)


class PrototypeAgent(_Loose):
    """A registration."""

    cluster_id: wire.Name
    lca_url: Annotated[str, Field(max_length=2000)]
    state: PrototypeState = PrototypeState()


class PrototypeJob(_Loose):
    """`Duration` nanoseconds, as Go writes a duration; `CPU` cores; `Memory` GiB.

    As in Go, the case of the keys does not count.
    """

    id: Annotated[str, Field(pattern=wire.NAME)]
    duration: Annotated[int, Field(ge=0, le=2**62)] = 0
    cpu: Annotated[float, Field(ge=0, le=10_000)] = 0.1
    memory: Annotated[float, Field(ge=0, le=90_000)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        lower = {str(key).lower(): value for key, value in values.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if "id" not in lower and isinstance(lower.get("jobid"), str):
            lower["id"] = lower["jobid"]
        return lower  # pyright: ignore[reportUnknownVariableType]


@router.post(
    "/submit_workflow", responses=declared(*WRITE_ERRORS),
    openapi_extra=documented(PrototypeWorkflow),
)  # fmt: skip
async def submit_workflow(
    request: Request, caller: Submitter, controller: TheController
) -> views.PrototypeAccepted:
    """A workflow in the prototype's JSON. It is on disk when this answers."""
    spec, digest = await submission(request, "gcc-json")
    done = await controller.submit(spec, tenant=caller.submits_as, key=None, body_hash=digest)
    return views.PrototypeAccepted(status=ACCEPTED, id=done.workflow_id)


@router.post(
    "/register_lca", responses=declared(*WRITE_ERRORS), openapi_extra=documented(PrototypeAgent)
)
async def register_lca(
    caller: Agent,
    controller: TheController,
    message: Annotated[PrototypeAgent, Depends(json_body(PrototypeAgent))],
) -> views.Done:
    """Make a prototype's agent known: its cluster and nodes appear, and go when it falls silent.

    The prototype waits to be called, which would lose work: to be given any, an agent polls.
    """
    speaks_for(caller, message.cluster_id)
    name = json.dumps([message.cluster_id, message.lca_url]).encode()
    nodes = [
        wire.NodeSpec(name=node.name, cpu_milli=int(node.cpu_avail), memory_mib=node.mem_avail)
        for node in message.state.nodes
    ]
    await controller.register(
        wire.Register(
            cluster=message.cluster_id,
            identity="prototype-" + hashlib.sha256(name).hexdigest(),
            nodes=nodes,
            url=message.lca_url,
            version="prototype",
        )
    )
    return views.Done(status="registered")


@router.post("/ingest", responses=declared(*WRITE_ERRORS), openapi_extra=documented(PrototypeJob))
async def ingest(
    request: Request,
    caller: Submitter,
    controller: TheController,
    job: Annotated[PrototypeJob, Depends(json_body(PrototypeJob))],
) -> views.PrototypeAccepted:
    """One job of the carbon prototype: a task of that many cores and GiB for that long."""
    task = wire.TaskSpec(
        name=job.id, cpu_milli=round(job.cpu * 1000), memory_mib=round(job.memory * 1024),
        duration_s=min(job.duration / 1e9, 3.2e9),
    )  # fmt: skip
    spec = wire.WorkflowSpec(name=job.id, kind="job", tasks=[task])
    digest = hashlib.sha256(await request.body()).hexdigest()
    done = await controller.submit(spec, tenant=caller.submits_as, key=None, body_hash=digest)
    return views.PrototypeAccepted(status=ACCEPTED, id=done.workflow_id)


@router.post(
    "/workload-ingest", responses=declared(*WRITE_ERRORS), openapi_extra=documented(PrototypeJob)
)
async def workload_ingest(
    request: Request,
    caller: Submitter,
    controller: TheController,
    job: Annotated[PrototypeJob, Depends(json_body(PrototypeJob))],
) -> views.PrototypeAccepted:
    """Another name of `/ingest`."""
    return await ingest(request, caller, controller, job)
