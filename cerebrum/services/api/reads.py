"""What the API reads of the controller's database: plain queries, each on one connection."""

from __future__ import annotations

import json
import zlib
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, Select, func, select

from cerebrum.model.errors import NotFound
from cerebrum.services import wire
from cerebrum.services.api import views
from cerebrum.services.api.auth import Caller
from cerebrum.services.api.logs import LogSource
from cerebrum.services.api.pages import page
from cerebrum.services.store.schema import (
    IS_ACTIVE,
    assignments,
    clusters,
    events,
    parts,
    quotas,
    split_uid,
    tasks,
    uid,
    workflows,
)

HISTORY = 500
"""Events shown of one task: the latest."""

_NODES = TypeAdapter(list[wire.NodeSpec])
# The compressed specification is large and rarely wanted.
_WORKFLOW = [column for column in workflows.c if column.name not in ("spec", "to_plan")]


def workflow_page(
    connection: Connection,
    caller: Caller,
    *,
    state: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    tenant: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> views.Workflows:
    """Newest first."""
    query = _of_tenant(select(*_WORKFLOW), caller)
    for column, wanted in (("state", state), ("kind", kind), ("name", name), ("tenant", tenant)):
        if wanted is not None:
            query = query.where(workflows.c[column] == wanted)
    items, following = page(
        connection, query, [workflows.c.id], [str], views.WorkflowView.model_validate,
        cursor=cursor, limit=limit, newest_first=True,
    )  # fmt: skip
    return views.Workflows(items=items, next=following)


def workflow(connection: Connection, caller: Caller, id: str) -> views.WorkflowDetail:
    """One workflow with its parts. Raises `NotFound`, also for another tenant's."""
    row = _workflow_row(connection, caller, id)
    found = connection.execute(
        select(parts).where(parts.c.workflow_id == id).order_by(parts.c.part)
    )
    per_cluster = connection.execute(
        select(tasks.c.cluster, func.count(), func.sum(tasks.c.energy_j))
        .where(tasks.c.workflow_id == id)
        .group_by(tasks.c.cluster)
    ).all()
    return views.WorkflowDetail(
        **views.WorkflowView.model_validate(row).model_dump(),
        parts=[views.PartView.model_validate(part) for part in found],
        clusters={cluster: count for cluster, count, _ in per_cluster if cluster is not None},
        energy_j=sum(energy or 0.0 for _, _, energy in per_cluster),
    )


def visible(connection: Connection, caller: Caller, id: str) -> str:
    """The workflow's tenant. Raises `NotFound` when there is none that the caller may see."""
    query = _of_tenant(select(workflows.c.tenant).where(workflows.c.id == id), caller)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no workflow {id!r}")
    return found


def specification(connection: Connection, caller: Caller, id: str) -> bytes:
    """The submission as JSON of `wire.WorkflowSpec`."""
    visible(connection, caller, id)
    query = select(workflows.c.spec).where(workflows.c.id == id)
    return zlib.decompress(connection.execute(query).scalar_one())


def task_page(
    connection: Connection,
    caller: Caller,
    *,
    workflow_id: str | None = None,
    state: str | None = None,
    cluster: str | None = None,
    node: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> views.Tasks:
    """By workflow and place in it."""
    if workflow_id is not None:
        visible(connection, caller, workflow_id)
    query = select(tasks)
    if workflow_id is None and caller.tenant:
        query = _of_tenant(query.join(workflows), caller)
    wanted = (("workflow_id", workflow_id), ("state", state), ("cluster", cluster), ("node", node))
    for column, value in wanted:
        if value is not None:
            query = query.where(tasks.c[column] == value)
    items, following = page(
        connection, query, [tasks.c.workflow_id, tasks.c.idx], [str, int], _task_view,
        cursor=cursor, limit=limit,
    )  # fmt: skip
    return views.Tasks(items=items, next=following)


def task(connection: Connection, caller: Caller, task_uid: str) -> views.TaskDetail:
    """One task with its specification and its history. Raises `NotFound`."""
    row = task_row(connection, caller, task_uid)
    submitted: bytes = specification(connection, caller, row.workflow_id)
    spec = wire.WorkflowSpec.model_validate_json(submitted)
    happened = connection.execute(
        select(events)
        .where(events.c.workflow_id == row.workflow_id, events.c.task == row.name)
        .order_by(events.c.seq.desc())
        .limit(HISTORY)
    ).all()
    return views.TaskDetail(
        **_task_view(row).model_dump(),
        spec=spec.tasks[int(row.idx)].model_dump(exclude_defaults=True),
        after=[
            uid(row.workflow_id, edge.before)
            for edge in spec.dependencies
            if edge.after == row.name
        ],
        events=[event_view(event) for event in reversed(happened)],
    )


def task_row(connection: Connection, caller: Caller, task_uid: str) -> Row[Any]:
    """The task's row. Raises `NotFound`, also for another tenant's."""
    workflow_id, name = split_uid(task_uid)
    query = select(tasks).where(tasks.c.workflow_id == workflow_id, tasks.c.name == name)
    if caller.tenant:
        query = _of_tenant(query.join(workflows), caller)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"there is no task {task_uid!r}")
    return row


def cluster_page(
    connection: Connection, *, cursor: str | None = None, limit: int = 100, id: str | None = None
) -> views.Clusters:
    """By id, with the number of active tasks in each state."""
    query = select(clusters) if id is None else select(clusters).where(clusters.c.id == id)
    active = _active(connection)
    items, following = page(
        connection, query, [clusters.c.id], [str],
        lambda row: _cluster_view(row, active.get(row.id, {})), cursor=cursor, limit=limit,
    )  # fmt: skip
    return views.Clusters(items=items, next=following)


def cluster_nodes(connection: Connection, cluster: str | None) -> list[views.NodeView]:
    """Nodes of one cluster, or of all, by cluster and name."""
    query = select(clusters.c.id, clusters.c.nodes).order_by(clusters.c.id)
    if cluster is not None:
        query = query.where(clusters.c.id == cluster)
    return [
        views.NodeView(
            cluster=row.id, **node.model_dump(exclude={"labels"})
        )
        for row in connection.execute(query)
        for node in sorted(_nodes(row.nodes), key=lambda node: node.name)
    ]  # fmt: skip


def quota_page(
    connection: Connection,
    caller: Caller,
    default: int,
    *,
    cursor: str | None = None,
    limit: int = 100,
) -> views.Quotas:
    """By tenant; who is bound to one sees that one. `default`: the limit without a quota."""
    query = select(quotas)
    if caller.tenant:
        query = query.where(quotas.c.tenant == caller.tenant)
    items, following = page(
        connection, query, [quotas.c.tenant], [str], partial(_quota_view, default=default),
        cursor=cursor, limit=limit,
    )  # fmt: skip
    return views.Quotas(items=items, next=following)


def quota(connection: Connection, tenant: str, default: int) -> views.QuotaView:
    """One tenant's; without a row it has nothing, and may have `default` tasks."""
    row = connection.execute(select(quotas).where(quotas.c.tenant == tenant)).first()
    if row is None:
        return views.QuotaView(tenant=tenant, tasks=0, limit=default, max_tasks=None)
    return _quota_view(row, default)


def _quota_view(row: Row[Any], default: int) -> views.QuotaView:
    limit = default if row.max_tasks is None else row.max_tasks
    return views.QuotaView(tenant=row.tenant, tasks=row.tasks, limit=limit, max_tasks=row.max_tasks)


def assignment_page(
    connection: Connection,
    caller: Caller,
    *,
    workflow_id: str | None = None,
    cluster: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> views.Assignments:
    """Newest first, as far as ids grow."""
    query = select(assignments)
    if caller.tenant:
        query = _of_tenant(query.join(workflows), caller)
    if workflow_id is not None:
        query = query.where(assignments.c.workflow_id == workflow_id)
    if cluster is not None:
        query = query.where(assignments.c.cluster == cluster)
    items, following = page(
        connection, query, [assignments.c.id], [str], _assignment_view,
        cursor=cursor, limit=limit, newest_first=True,
    )  # fmt: skip
    return views.Assignments(items=items, next=following)


def events_after(
    connection: Connection,
    caller: Caller,
    after: int,
    *,
    workflow_id: str | None = None,
    kind: str | None = None,
    limit: int = 100,
) -> list[views.EventView]:
    """Events with a `seq` above `after`; a tenant sees those of its own workflows only."""
    query = select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    if caller.tenant:
        query = _of_tenant(query.join(workflows, events.c.workflow_id == workflows.c.id), caller)
    if workflow_id is not None:
        query = query.where(events.c.workflow_id == workflow_id)
    if kind is not None:
        query = query.where(events.c.kind == kind)
    return [event_view(row) for row in connection.execute(query)]


def last_seq(connection: Connection) -> int:
    """The newest event's number, 0 when there is none."""
    return connection.execute(select(func.max(events.c.seq))).scalar_one() or 0


def event_view(row: Row[Any]) -> views.EventView:
    """One event."""
    return views.EventView(
        seq=row.seq, unix_s=row.unix_s, kind=row.kind, workflow=row.workflow_id, task=row.task,
        cluster=row.cluster, data=json.loads(row.data),
    )  # fmt: skip


def _of_tenant(query: Select[Any], caller: Caller) -> Select[Any]:
    return query.where(workflows.c.tenant == caller.tenant) if caller.tenant else query


def _workflow_row(connection: Connection, caller: Caller, id: str) -> Row[Any]:
    query = _of_tenant(select(*_WORKFLOW).where(workflows.c.id == id), caller)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"there is no workflow {id!r}")
    return row


def _task_view(row: Row[Any]) -> views.TaskView:
    values = dict(row._mapping)
    workflow_id = values.pop("workflow_id")
    return views.TaskView(
        **{k: v for k, v in values.items() if k in views.TaskView.model_fields},
        uid=uid(workflow_id, row.name),
        workflow=workflow_id,
    )


def _assignment_view(row: Row[Any]) -> views.AssignmentView:
    values = dict(row._mapping)
    workflow_id = values.pop("workflow_id")
    values.pop("identity")
    return views.AssignmentView(**values, workflow=workflow_id)


def _active(connection: Connection) -> dict[str, dict[str, int]]:
    """cluster -> state -> tasks, from the index over active tasks."""
    found: dict[str, dict[str, int]] = {}
    query = (
        select(tasks.c.cluster, tasks.c.state, func.count())
        .where(IS_ACTIVE)
        .group_by(tasks.c.cluster, tasks.c.state)
    )
    for cluster, state, count in connection.execute(query):
        found.setdefault(cluster, {})[state] = count
    return found


def _cluster_view(row: Row[Any], active: dict[str, int]) -> views.ClusterView:
    nodes = _nodes(row.nodes)
    return views.ClusterView(
        id=row.id, state=row.state, cordoned=bool(row.cordoned), zone=row.zone, url=row.url,
        version=row.version, nodes=len(nodes), cpu_milli=sum(node.cpu_milli for node in nodes),
        memory_mib=sum(node.memory_mib for node in nodes),
        gpu_count=sum(node.gpu_count for node in nodes),
        registered_unix_s=row.registered_unix_s, tasks=active,
    )  # fmt: skip


def _nodes(text: str) -> list[wire.NodeSpec]:
    return _NODES.validate_json(text)


def log_source(
    connection: Connection, caller: Caller, task_uid: str, run_id: str | None = None
) -> LogSource:
    """Who keeps the logs of a task's run, the latest one unless said. Raises `NotFound`."""
    row = task_row(connection, caller, task_uid)
    cluster, wanted = row.cluster, run_id or row.run_id
    if run_id is not None and run_id != row.run_id:
        cluster = _cluster_of_run(connection, row, run_id)
    if not wanted:
        raise NotFound(f"task {task_uid!r} has not been started yet")
    found = connection.execute(
        select(clusters.c.url, clusters.c.identity).where(clusters.c.id == cluster)
    ).first()
    if found is None or not found.url:
        raise NotFound(f"the agent of cluster {cluster!r} has no address that could be asked")
    return LogSource(wanted, found.url, found.identity)


def _cluster_of_run(connection: Connection, row: Row[Any], run_id: str) -> str:
    query = select(events.c.cluster, events.c.data).where(
        events.c.workflow_id == row.workflow_id, events.c.task == row.name
    )
    for cluster, data in connection.execute(query):
        if cluster is not None and json.loads(data).get("run_id") == run_id:
            return cluster
    raise NotFound(f"the task has no run {run_id!r}")
