"""Rule 1: a submission is stored with everything that follows from it, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from cerebrum.model.errors import InputError
from cerebrum.services.controller._change import Change
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._prepared import Prepared
from cerebrum.services.controller._specs import Shape, core_s, packed, workflow_of
from cerebrum.services.controller.policies import check_names
from cerebrum.services.errors import Refused
from cerebrum.services.store import schema as db
from cerebrum.services.wire import WorkflowSpec

RETRY_AFTER_S = 5.0
LARGE_TASKS = 1000
"""Above this, what is made of a submission (about 20 us a task) would hold up the event loop."""
_BEFORE = Prepared(
    select(db.idempotency.c.body_hash, db.idempotency.c.workflow_id, db.workflows.c.state)
    .join(db.workflows, db.workflows.c.id == db.idempotency.c.workflow_id)
    .where(db.idempotency.c.tenant == bindparam("of"), db.idempotency.c.key == bindparam("named"))
)
_QUOTAS = Prepared(select(db.quotas))
_FIRST_OF_TENANT = Prepared(insert(db.quotas), ["tenant", "tasks"])
_MORE_OF_TENANT = Prepared(
    update(db.quotas)
    .where(db.quotas.c.tenant == bindparam("of"))
    .values(tasks=db.quotas.c.tasks + bindparam("more"))
)
_KEY = Prepared(insert(db.idempotency), db.idempotency.c.keys())
_WORKFLOW = Prepared(
    insert(db.workflows),
    [c.name for c in db.workflows.columns if c.name not in ("started_unix_s", "ended_unix_s")],
)
_TASKS = Prepared(
    insert(db.tasks),
    [
        "workflow_id", "idx", "name", "state", "priority", "position", "generation",
        "waits_remote", "cancel_requested", "cpu_milli", "core_s", "rank_s", "node", "run_id",
        "attempt", "reason", "energy_j",
    ],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Submitted:
    """`created` False: the same submission was accepted before, and this is its answer."""

    workflow_id: str
    state: str
    created: bool


async def submit(
    context: Context, spec: WorkflowSpec, tenant: str, key: str | None, body_hash: str
) -> Submitted:
    """Accept a workflow. Raises `Refused`: 422 invalid, 409 the key was used for another body,
    429 too many tasks."""
    context.leadership.require()
    try:
        check_names(spec)
    except InputError as error:
        raise Refused(422, "Invalid workflow", str(error)) from None
    workflow_id = context.new_id("w")
    if len(spec.tasks) > LARGE_TASKS:
        shape, blob = await context.compute(lambda: _compiled(workflow_id, spec))
    else:
        shape, blob = _compiled(workflow_id, spec)

    def work(change: Change) -> Submitted:
        if key is not None:
            before = _before(change, tenant, key, body_hash)
            if before is not None:
                return before
        _take_quota(change, tenant, len(shape), context)
        _store(change, shape, blob, tenant)
        if key is not None:
            row = {
                "tenant": tenant,
                "key": key,
                "body_hash": body_hash,
                "workflow_id": shape.id,
                "unix_s": change.unix_s,
            }
            _KEY.run(change.connection, row)
        change.to_plan[shape.id] = spec.priority
        return Submitted(shape.id, "pending", created=True)

    submitted = await context.write(work, [shape])
    if submitted.created:
        context.shapes.put(shape)
    return submitted


def _compiled(workflow_id: str, spec: WorkflowSpec) -> tuple[Shape, bytes]:
    """The workflow in memory, and as it is stored."""
    return Shape(workflow_id, spec, workflow_of(spec)), packed(spec)


def _before(change: Change, tenant: str, key: str, body_hash: str) -> Submitted | None:
    """What this key was answered before, if it was."""
    row = _BEFORE.run(change.connection, {"of": tenant, "named": key}).first()
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise Refused(
            409,
            "Idempotency key used before",
            f"the key {key!r} belongs to another submission, {row.workflow_id}",
        )
    return Submitted(row.workflow_id, row.state, created=False)


def _take_quota(change: Change, tenant: str, tasks: int, context: Context) -> None:
    """Count the tasks in, or refuse them."""
    settings = context.settings
    rows = {row.tenant: row for row in _QUOTAS.run(change.connection)}
    mine = rows.get(tenant)
    limit = mine.max_tasks if mine is not None and mine.max_tasks is not None else None
    limit = settings.tenant_tasks if limit is None else limit
    used = mine.tasks if mine is not None else 0
    everyone = sum(row.tasks for row in rows.values())
    for limited, present, whose in (
        (limit, used, f"tenant {tenant!r}"),
        (settings.max_tasks, everyone, "the controller"),
    ):
        if present + tasks > limited:
            raise Refused(
                429,
                "Too many tasks",
                f"{whose} has {present} unended tasks and may have {limited}; {tasks} more asked",
                retry_after_s=RETRY_AFTER_S,
            )
    if mine is None:
        _FIRST_OF_TENANT.run(change.connection, {"tenant": tenant, "tasks": tasks})
    else:
        _MORE_OF_TENANT.run(change.connection, {"of": tenant, "more": tasks})


def _store(change: Change, shape: Shape, blob: bytes, tenant: str) -> None:
    spec = shape.spec
    _WORKFLOW.run(
        change.connection,
        {
            "id": shape.id,
            "tenant": tenant,
            "name": spec.name,
            "kind": spec.kind,
            "priority": spec.priority,
            "on_cluster_lost": spec.on_cluster_lost,
            "decomposition": spec.decomposition,
            "assignment": spec.assignment,
            "state": "pending",
            "reason": "",
            "to_plan": 1,
            "cancel_requested": 0,
            "tasks": len(shape),
            "unended": len(shape),
            "succeeded": 0,
            "failed": 0,
            "cancelled": 0,
            "rejected": 0,
            "submitted_unix_s": change.unix_s,
            "spec": blob,
        },
    )
    fresh = {
        "workflow_id": shape.id,
        "state": "pending",
        "priority": spec.priority,
        "generation": 0,
        "waits_remote": 0,
        "cancel_requested": 0,
        "rank_s": 0.0,
        "node": "",
        "run_id": "",
        "attempt": 0,
        "reason": "",
        "energy_j": 0.0,
    }
    rows = [
        {
            **fresh,
            "idx": i,
            "name": task.name,
            "position": i,
            "cpu_milli": task.cpu_milli,
            "core_s": core_s(task),
        }
        for i, task in enumerate(spec.tasks)
    ]
    _TASKS.run(change.connection, *rows)
    edges = len(shape.workflow.before)
    change.log("submitted", shape.id, tasks=len(shape), edges=edges, tenant=tenant)
