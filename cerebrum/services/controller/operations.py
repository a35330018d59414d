"""What people ask for: to cancel, to drain, to forget a cluster, to limit a tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cerebrum.services.controller._change import Change
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._specs import Shape
from cerebrum.services.controller._transitions import cancel, take_back
from cerebrum.services.errors import Refused
from cerebrum.services.store import schema as db
from cerebrum.services.wire import TERMINAL


async def cancel_workflow(context: Context, workflow_id: str, tenant: str | None) -> str:
    """Ask for the end of all its tasks (rule 12); its state then. Again: nothing changes."""
    shape = await _shape(context, workflow_id, tenant)

    def work(change: Change) -> str:
        if _state(change, workflow_id) not in TERMINAL:
            change.connection.execute(
                update(db.workflows)
                .where(db.workflows.c.id == workflow_id)
                .values(cancel_requested=1, to_plan=0)
            )
            cancel(change, shape, range(len(shape)), "cancelled on request")
            change.flush()
        return _state(change, workflow_id)

    return await context.write(work, [shape])


async def cancel_task(context: Context, uid: str, tenant: str | None) -> str:
    """Ask for the end of a task and of all behind it; its state then."""
    workflow_id, name = db.split_uid(uid)
    shape = await _shape(context, workflow_id, tenant)
    idx = shape.index.get(name)
    if idx is None:
        raise Refused(404, "Unknown task", f"workflow {workflow_id} has no task {name!r}")

    def work(change: Change) -> str:
        task = change.task(workflow_id, idx)
        if not task.ended:
            wanted = [idx, *shape.descendants(idx)]
            cancel(change, shape, wanted, f"{name!r} was cancelled on request")
        return task.state

    return await context.write(work, [shape])


async def drain_cluster(context: Context, cluster: str) -> None:
    """Give it nothing new, and what it does not hold to others. What it holds goes on there."""
    await _cordon(context, cluster, cordoned=True)
    await _move_all(context, cluster, ("assigned", "offered"), f"cluster {cluster} is drained")


async def uncordon_cluster(context: Context, cluster: str) -> None:
    """Take it into use again."""
    await _cordon(context, cluster, cordoned=False)
    context.capacity_version += 1
    context.queue.news.set()


async def forget_cluster(context: Context, cluster: str) -> None:
    """The operator vouches that nothing of ours runs there any more: all is taken back at once."""
    if cluster not in context.sessions:
        raise _unknown(context, cluster)

    def gone(change: Change) -> None:
        for table, column in (
            (db.clusters, db.clusters.c.id),
            (db.agents, db.agents.c.cluster),
            (db.strays, db.strays.c.cluster),
        ):
            change.connection.execute(delete(table).where(column == cluster))
        change.log("cluster_lost", cluster=cluster, forgotten=True)

    await context.write(gone)
    session = context.sessions.pop(cluster, None)
    if session is not None:
        session.news.set()
    context.capacity_version += 1
    await _move_all(context, cluster, db.ACTIVE, f"cluster {cluster} was forgotten")


async def set_quota(context: Context, tenant: str, max_tasks: int | None) -> None:
    """How many unended tasks a tenant may have; None: the default."""

    def work(change: Change) -> None:
        dialect: Any = sqlite if change.connection.dialect.name == "sqlite" else postgresql
        row = {"tenant": tenant, "max_tasks": max_tasks, "tasks": 0}
        statement = dialect.insert(db.quotas).values(row)
        change.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant"], set_={"max_tasks": max_tasks}
            )
        )

    await context.write(work)


async def _shape(context: Context, workflow_id: str, tenant: str | None) -> Shape:
    """A workflow of this tenant (None: of any). Another's is as unknown as one there is not."""
    context.leadership.require()
    query = select(db.workflows.c.tenant).where(db.workflows.c.id == workflow_id)
    owner = await context.store.read(lambda connection: connection.scalar(query))
    shape = None if owner is None else await context.shape(workflow_id)
    if shape is None or tenant not in (None, owner):
        raise Refused(404, "Unknown workflow", f"there is no workflow {workflow_id!r}")
    return shape


def _state(change: Change, workflow_id: str) -> str:
    query = select(db.workflows.c.state).where(db.workflows.c.id == workflow_id)
    return change.connection.execute(query).scalar_one()


def _unknown(context: Context, cluster: str) -> Refused:
    context.leadership.require()
    return Refused(404, "Unknown cluster", f"there is no cluster {cluster!r}")


async def _cordon(context: Context, cluster: str, *, cordoned: bool) -> None:
    session = context.sessions.get(cluster)
    if session is None:
        raise _unknown(context, cluster)

    def work(change: Change) -> int:
        table = db.clusters
        change.connection.execute(
            update(table).where(table.c.id == cluster).values(cordoned=int(cordoned))
        )
        change.log("drained" if cordoned else "uncordoned", cluster=cluster)
        change.woken.add(cluster)
        return next(context.numbers)

    number = await context.write(work)
    session = context.sessions.get(cluster, session)
    # The database may have answered late: what was stored last counts, not what was heard of last.
    if session.cordoning < number:
        session.cordoned, session.cordoning = cordoned, number


async def _move_all(context: Context, cluster: str, states: Iterable[str], reason: str) -> None:
    """Take back every task of a cluster in these states, one transaction a workflow."""
    wanted = tuple(states)
    tasks = db.tasks
    query = (
        select(tasks.c.workflow_id)
        .where(tasks.c.cluster == cluster, db.IS_ACTIVE, tasks.c.state.in_(wanted))
        .distinct()
    )
    found = await context.store.read(lambda connection: list(connection.scalars(query)))
    for workflow_id in found:
        shape = await context.shape(workflow_id)
        if shape is not None:
            await context.write(_mover(shape, cluster, wanted, reason), [shape])


def _mover(
    shape: Shape, cluster: str, states: tuple[str, ...], reason: str
) -> Callable[[Change], None]:
    def work(change: Change) -> None:
        rows = change.tasks(shape.id).values()
        members = [row for row in rows if row.cluster == cluster and row.state in states]
        take_back(change, shape, members, reason, stay=False)

    return work
