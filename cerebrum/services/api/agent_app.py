"""The agent's application: its own small API, beside what it says to the controller."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cerebrum.policies.learned.auction import Auction
from cerebrum.services import wire
from cerebrum.services.agent import Agent
from cerebrum.services.agent.views import Totals
from cerebrum.services.api import bidding, extender, rollout, service, shadow, views
from cerebrum.services.api import scoring as scoring_routes
from cerebrum.services.api.auth import Guard, Scope, TokenBook
from cerebrum.services.api.bodies import documented
from cerebrum.services.api.kubernetes import KubernetesCluster, SchedulerMetrics
from cerebrum.services.api.logs import LIMIT_BYTES
from cerebrum.services.api.problems import declared
from cerebrum.services.api.prototype import PrototypeWorkflow
from cerebrum.services.api.shell import bare
from cerebrum.services.api.submissions import submission
from cerebrum.services.errors import Refused
from cerebrum.services.scoring import Scoring
from cerebrum.services.telemetry import Counts, HttpMetrics, registry

router = APIRouter()
READ = declared(400, 401, 403, 404, 422, 500, 503)
WRITE = declared(400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)
ABOUT = """A Local Cerebrum Agent. Errors are `application/problem+json`; times are Unix seconds."""
METRICS = {
    "cerebrum_agent_nodes": ("Nodes of this cluster.", ""),
    "cerebrum_agent_tasks": ("Tasks in each state, ended ones that are kept included.", "state"),
    "cerebrum_agent_cpu_milli": ("Thousandths of cores.", "of"),
    "cerebrum_agent_memory_mib": ("MiB.", "of"),
    "cerebrum_agent_energy_joules": ("Energy of the nodes since they are counted.", "of"),
    "cerebrum_agent_reports": ("Reports that the controller has not confirmed yet.", ""),
    "cerebrum_agent_connected": ("1 while the controller answers.", ""),
}


class Open(BaseModel):
    """Plain data of the agent, whose fields grow with it."""

    model_config = ConfigDict(extra="allow")


class Placed(BaseModel):
    """A direct submission that is on disk."""

    status: str
    workflow: str
    tasks: list[str]


async def _agent(request: Request) -> Agent:
    return request.app.state.agent


TheAgent = Annotated[Agent, Depends(_agent)]
Viewer = Depends(Guard(Scope.VIEWER))
Operator = Depends(Guard(Scope.OPERATOR))
Name = Annotated[str, Path(min_length=1, max_length=600)]


@router.post(
    "/schedule_subgraph", tags=["tasks"], dependencies=[Operator], responses=WRITE,
    openapi_extra=documented(wire.WorkflowSpec, PrototypeWorkflow),
)  # fmt: skip
async def schedule_subgraph(request: Request, agent: TheAgent) -> Placed:
    """Run a (sub-)workflow here, without a controller. It is on disk when this answers.

    The prototype's JSON with its `cluster_id`, or any format that the controller takes. The same
    name and content again is the same submission.
    """
    spec, _ = await submission(request, cluster=agent.settings.cluster)
    stored = await agent.submit_subgraph(spec)
    return Placed(status="subgraph queued for scheduling", **stored)


@router.get("/api/v1/snapshot", tags=["nodes"], dependencies=[Viewer], responses=READ)
async def snapshot(agent: TheAgent) -> Open:
    """Everything at a glance: nodes, tasks, engine, lease, energy, forecasts."""
    return Open(**await agent.status())


@router.get("/api/v1/tasks/{uid:path}", tags=["tasks"], dependencies=[Viewer], responses=READ)
async def get_task(uid: Name, agent: TheAgent) -> Open:
    """All that is known of a task, its history included."""
    return Open(**await agent.task(uid))


@router.get("/api/v1/explain/{uid:path}", tags=["tasks"], dependencies=[Viewer], responses=READ)
async def explain(uid: Name, agent: TheAgent) -> Open:
    """Why a task waits, or where it would go now and why."""
    return Open(**await agent.explain(uid))


@router.post(
    "/api/v1/cancel/{uid:path}", tags=["tasks"], status_code=202, dependencies=[Operator],
    responses=WRITE,
)  # fmt: skip
async def cancel(uid: Name, agent: TheAgent) -> views.Done:
    """End a task here. The controller is told, and does not give it to anybody else."""
    await agent.cancel(uid)
    return views.Done(status="cancelling")


@router.get(
    "/api/v1/runs/{run_id}/logs", tags=["tasks"], dependencies=[Viewer], response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    | READ
    | declared(502),
)  # fmt: skip
async def run_logs(
    run_id: Annotated[str, Path(pattern=r"^cb-[0-9a-f]{24}$")],
    agent: TheAgent,
    stream: Annotated[str, Query(pattern="^(stdout|stderr)$")] = "stdout",
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=LIMIT_BYTES)] = LIMIT_BYTES,
) -> Response:
    """What a run wrote from byte `offset` on."""
    body = await agent.run_logs(run_id, stream, offset, limit)
    return Response(body, media_type="text/plain; charset=utf-8")


@router.post(
    "/api/v1/nodes/{name:path}/{verb}", tags=["nodes"], status_code=202, dependencies=[Operator],
    responses=WRITE,
)  # fmt: skip
async def change_node(
    name: Name,
    verb: Annotated[str, Path(pattern="^(drain|cordon|uncordon)$")],
    agent: TheAgent,
) -> views.Done:
    """`cordon`: nothing new there. `drain`: and what runs goes back to the queue. `uncordon`."""
    change = {"drain": agent.drain, "cordon": agent.cordon, "uncordon": agent.uncordon}[verb]
    await change(name)
    return views.Done(status=verb)


@router.get("/readyz", tags=["service"], responses=declared(500, 503))
async def readyz(request: Request, agent: TheAgent) -> views.Done:
    """The agent's database takes what it is given, and its cluster is known. Being cut off from
    the controller is no reason to end it."""
    if agent.store_problem:
        raise Refused(503, "storage unavailable", agent.store_problem, 1.0)
    cluster: KubernetesCluster | None = request.app.state.cluster
    if cluster is not None and (problem := cluster.problem()):
        raise Refused(503, "cluster unknown", problem, 1.0)
    return views.Done(status="ready")


@router.get(
    "/metrics", tags=["service"], dependencies=[Viewer], response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}} | READ,
)  # fmt: skip
async def metrics(request: Request, agent: TheAgent) -> Response:
    """For Prometheus."""
    request.app.state.counts.update(_rows(await agent.totals()))
    return service.metrics_text(request)


def agent_app(
    agent: Agent,
    tokens: TokenBook,
    cluster: KubernetesCluster | None = None,
    auction: Auction | None = None,
    scoring: Scoring | None = None,
) -> FastAPI:
    """The application around an agent that somebody else runs (`agent.run()`).

    `auction` answers `/schedule`, `scoring` `/score`: questions about nodes that the caller
    describes, which are not this cluster's.
    """
    found, counts = registry(), Counts(METRICS)
    found.register(counts)
    if cluster is not None:
        found.register(SchedulerMetrics(cluster))
    if agent.rollout is not None:
        standing = agent.rollout.standing
        found.register(rollout.RolloutMetrics(lambda: standing))
    app = bare("Cerebrum agent", ABOUT, HttpMetrics(found))
    app.state.agent, app.state.tokens, app.state.role = agent, tokens, "agent"
    app.state.cluster, app.state.rollout = cluster, agent
    app.state.registry, app.state.counts = found, counts
    app.state.stopping = asyncio.Event()
    if cluster is not None and cluster.settings.extender:
        # First: routes are tried one after the other, which costs as much as an answer.
        app.router.routes[:0] = extender.routes(cluster, tokens, cluster.settings.extender_open)
    app.include_router(router)
    app.state.auction = auction
    app.state.desk = None if scoring is None else scoring_routes.Desk(scoring)
    app.include_router(shadow.router)
    app.include_router(bidding.router)
    app.include_router(scoring_routes.router)
    app.include_router(rollout.router)
    app.include_router(service.router)
    return app


def _rows(totals: Totals) -> list[tuple[str, str, float]]:
    counts = dict(totals.counts)
    reports = counts.pop("reports")
    return [
        ("cerebrum_agent_nodes", "", totals.nodes),
        ("cerebrum_agent_cpu_milli", "capacity", totals.cpu_milli),
        ("cerebrum_agent_cpu_milli", "used", totals.cpu_used_milli),
        ("cerebrum_agent_memory_mib", "capacity", totals.memory_mib),
        ("cerebrum_agent_memory_mib", "used", totals.memory_used_mib),
        ("cerebrum_agent_energy_joules", "idle", totals.idle_energy_j),
        ("cerebrum_agent_energy_joules", "runs", totals.runs_energy_j),
        *(("cerebrum_agent_tasks", state, count) for state, count in counts.items()),
        ("cerebrum_agent_reports", "", reports),
        ("cerebrum_agent_connected", "", totals.connected),
    ]
