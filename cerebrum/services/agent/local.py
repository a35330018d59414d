"""Direct submissions: a (sub-)workflow given to this cluster by hand, without a controller."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import select

from cerebrum.engine.schedule import longest_way
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.tasks import Task, TaskClass
from cerebrum.model.workflow import Dependency, Workflow
from cerebrum.services import wire
from cerebrum.services.agent import schema
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.offers import unfit
from cerebrum.services.agent.records import Assignment, HeldTask
from cerebrum.services.agent.settings import AgentSettings
from cerebrum.services.errors import Refused

_RETRY_S = 10.0


async def submit(
    ledger: Ledger, life: Lifecycle, settings: AgentSettings, spec: wire.WorkflowSpec, name: str
) -> dict[str, Any]:
    """See `Agent.submit_subgraph`."""
    workflow = f"local-{name or spec.name}"
    if not re.fullmatch(wire.NAME, workflow):
        raise Refused(422, "Not a name", f"submission {name!r}")
    digest = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
    ranks, after = _checked(spec, tuple(life.nodes.values()))
    answer = {"workflow": workflow, "tasks": [f"{workflow}/{task.name}" for task in spec.tasks]}
    async with ledger.turn():
        known = await _known_digest(ledger, workflow)
        if known is not None:
            if known != digest:
                raise Refused(409, "Already there", f"{workflow} was submitted with other content")
            return answer
        if len(ledger.tasks) + len(spec.tasks) > settings.max_tasks:
            detail = f"{len(ledger.tasks)} tasks held, at most {settings.max_tasks}"
            raise Refused(429, "Full", detail, retry_after_s=_RETRY_S)
        assignment = Assignment(
            workflow, ledger.number(), 1, 0, workflow, spec.name, priority=spec.priority,
            arrived_s=ledger.clock.monotonic_s(), local=True, digest=digest,
        )  # fmt: skip
        tasks = [
            HeldTask(
                f"{workflow}/{task.name}", ledger.number(), workflow, 1, task, ranks[task.name],
                tuple(f"{workflow}/{before}" for before in after[task.name]),
                waits_for={f"{workflow}/{before}" for before in after[task.name]},
            )
            for task in spec.tasks
        ]  # fmt: skip
        life.hold(assignment, tasks)
        life.confirm(assignment)
    return answer


async def _known_digest(ledger: Ledger, workflow: str) -> str | None:
    query = select(schema.assignments.c.digest).where(schema.assignments.c.id == workflow)
    return await ledger.store.read(lambda conn: conn.execute(query).scalar())


def _checked(
    spec: wire.WorkflowSpec, nodes: Sequence[Node]
) -> tuple[Mapping[str, float], Mapping[str, list[str]]]:
    """Upward ranks and predecessors by task name. Raises `Refused` for what makes no sense."""
    for task in spec.tasks:
        problem = unfit(task, nodes)
        if problem:
            raise Refused(422, "Cannot run here", f"{task.name}: {problem}")
    try:
        workflow = Workflow.from_tasks(
            spec.name,
            [
                Task(task.name, TaskClass(task.resources), duration_s=task.duration_s)
                for task in spec.tasks
            ],
            [Dependency(edge.before, edge.after, edge.volume_mb) for edge in spec.dependencies],
        )
    except InputError as problem:
        raise Refused(422, "Not a workflow", str(problem)) from problem
    names: list[str] = list(workflow.tasks.names)
    after: dict[str, list[str]] = {name: [] for name in names}
    for before, behind in zip(workflow.before, workflow.after, strict=True):
        after[names[int(behind)]].append(names[int(before)])
    return dict(zip(names, _ranks(workflow), strict=True)), after


def _ranks(workflow: Workflow) -> list[float]:
    """HEFT's upward rank within one cluster: the longest chain of durations from each task on."""
    moves = np.zeros(len(workflow.before))
    rank_s = longest_way(workflow, workflow.tasks.duration_s, moves)
    return np.minimum(rank_s, 3.2e9).tolist()
