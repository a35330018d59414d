"""Silent clusters: when they count as lost, and when their tasks may run elsewhere (rules 4, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from cerebrum.services.controller._change import Change
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._sessions import Session
from cerebrum.services.controller._transitions import take_back
from cerebrum.services.store import schema as db

STAMPEDE = 0.55
"""Share of the clusters beyond which a common silence is taken for our own fault."""


async def watch(context: Context) -> None:
    """Look at all leases once."""
    now_s = context.clock.monotonic_s()
    await _note_lost(context, now_s)
    context.halted = stampede(
        [(s.seen_s, s.lost) for s in context.sessions.values()], context.settings.lease_s
    )
    if context.halted:
        context.halted_s = now_s
    # When a common silence ends, clusters come back one after the other: each has a lease's time.
    if now_s - context.halted_s <= context.settings.lease_s:
        return
    for session in sorted(context.sessions.values(), key=lambda one: one.cluster):
        if session.lost or session.others:
            await _take_back_due(context, session, now_s)


def stampede(clusters: Sequence[tuple[float, bool]], lease_s: float) -> bool:
    """Rule 5, from (last heard, lost) of each cluster: whether some that fell silent within one
    lease are at least two and more than 55 % of those that were not lost before them."""
    silent = sorted(seen_s for seen_s, lost in clusters if lost)
    for first, began_s in enumerate(silent):
        together = sum(seen_s <= began_s + lease_s for seen_s in silent[first:])
        if together >= 2 and together > STAMPEDE * (len(clusters) - first):
            return True
    return False


async def _note_lost(context: Context, now_s: float) -> None:
    fresh = [
        session
        for session in context.sessions.values()
        if not session.lost and now_s - session.seen_s > context.settings.lease_s
    ]
    for session in fresh:
        await context.write(lambda change, s=session: _lost(change, s))
        # It may have spoken up, or registered, while we wrote: then it is lost for a moment, and
        # back with its next contact, which will say so.
        context.sessions[session.cluster].lost = True


def _lost(change: Change, session: Session) -> None:
    table = db.clusters
    change.connection.execute(
        update(table).where(table.c.id == session.cluster).values(state="lost")
    )
    change.log("cluster_lost", cluster=session.cluster)


async def _take_back_due(context: Context, session: Session, now_s: float) -> None:
    """Take back what is past its fence and our margin, workflow by workflow."""
    rows = await context.store.read(lambda connection: _active(connection, session.cluster))
    due: dict[str, list[int]] = {}
    others: set[str] = set()
    for row in rows:
        if row.identity not in (None, session.identity):
            others.add(row.identity)
        if _is_due(context, session, row, now_s):
            due.setdefault(row.workflow_id, []).append(row.idx)
    session.others = {i: seen for i, seen in session.others.items() if i in others}
    for workflow_id, members in sorted(due.items()):
        shape = await context.shape(workflow_id)
        if shape is None or not _still_silent(context, session):
            return
        await context.write(
            lambda change, s=shape, m=members: _take_back(change, s, m, session.cluster), [shape]
        )


def _active(connection: Connection, cluster: str) -> Sequence[Any]:
    tasks, assignments = db.tasks, db.assignments
    query = (
        select(
            tasks.c.workflow_id,
            tasks.c.idx,
            tasks.c.state,
            assignments.c.identity,
            assignments.c.fence_after_s,
            db.workflows.c.on_cluster_lost,
        )
        .join(db.workflows, db.workflows.c.id == tasks.c.workflow_id)
        .outerjoin(assignments, assignments.c.id == tasks.c.assignment)
        .where(tasks.c.cluster == cluster, db.IS_ACTIVE)
    )
    return connection.execute(query).all()


def _is_due(context: Context, session: Session, row: Any, now_s: float) -> bool:
    """Whether the agent that has this task must have ended it, by its own count and our margin."""
    settings = context.settings
    if row.identity in (None, session.identity):
        if not session.lost:
            return False
        seen_s = session.seen_s
    else:
        seen_s = session.others.get(row.identity, now_s)
    fence_s = row.fence_after_s
    if row.identity is None:
        fence_s = settings.fence_after_s(row.on_cluster_lost)
    return fence_s is not None and now_s - seen_s > fence_s + settings.margin_s


def _still_silent(context: Context, session: Session) -> bool:
    current = context.sessions.get(session.cluster)
    return current is session and (session.lost or bool(session.others))


def _take_back(change: Change, shape: Any, members: Sequence[int], cluster: str) -> None:
    rows = [row for row in change.tasks(shape.id, members).values() if row.cluster == cluster]
    take_back(change, shape, rows, f"cluster {cluster} is lost", stay=False)
