"""What agents say of what they hold: acks (rule 3), results (rules 6 and 8), syncs (rule 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update

from cerebrum.services.controller._change import Change, TaskRow
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._specs import Shape
from cerebrum.services.controller._transitions import (
    fall,
    forget_dispatched_behind,
    offered_under,
    recount,
    stray,
    succeed,
    take_back,
    withdraw,
)
from cerebrum.services.controller.registration import contact
from cerebrum.services.store import schema as db
from cerebrum.services.wire import (
    TERMINAL,
    Ack,
    Acked,
    Report,
    Reported,
    Sync,
    Synced,
    TaskReport,
)

_LARGEST_EXIT_CODE = 2**31


def _agent(cluster: str, identity: str) -> ColumnElement[bool]:
    return (db.agents.c.cluster == cluster) & (db.agents.c.identity == identity)


# -- acks ------------------------------------------------------------------------------------


async def ack(context: Context, message: Ack) -> Acked:
    """Offers become held. What was withdrawn meanwhile is dropped."""
    session = await contact(context, message.cluster, message.identity, message.epoch)

    def work(change: Change) -> tuple[list[str], list[str], set[str]]:
        change.connection.execute(
            update(db.agents)
            .where(
                _agent(message.cluster, message.identity), db.agents.c.ack_number < message.number
            )
            .values(ack_number=message.number)
        )
        confirmed: list[str] = []
        dropped: list[str] = []
        rows = _assignments(change, [a for a, _ in message.stored] + list(message.refused))
        for name, generation in message.stored:
            row = rows.get(name)
            mine = row is not None and _theirs(row, message) and row.generation == generation
            if mine and _hold(change, row):
                confirmed.append(name)
            else:
                dropped.append(name)
        refusing = {
            row.workflow_id
            for name, reason in message.refused.items()
            if (row := rows.get(name)) is not None
            and _theirs(row, message)
            and _refuse(change, row, reason)
        }
        return confirmed, dropped, refusing

    confirmed, dropped, refusing = await context.write(work)
    session.acked_s = context.clock.monotonic_s()
    for workflow_id in refusing:
        context.avoided.setdefault(workflow_id, set()).add(session.cluster)
    return Acked(epoch=context.leadership.require(), confirmed=confirmed, dropped=dropped)


def _assignments(change: Change, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at in range(0, len(names), 5000):
        query = select(db.assignments).where(db.assignments.c.id.in_(names[at : at + 5000]))
        found |= {row.id: row for row in change.connection.execute(query)}
    return found


def _theirs(row: Any, message: Ack) -> bool:
    return row.cluster == message.cluster and row.identity == message.identity


def _hold(change: Change, row: Any) -> bool:
    """Mark an offer held; True also when it was already: the first answer may have been lost. But
    not when all of it was taken back since."""
    ids = sorted(
        change.connection.scalars(
            select(db.tasks.c.idx).where(db.tasks.c.assignment == row.id, db.IS_OUT)
        )
    )
    if row.state != "offered":
        return row.state == "held" and bool(ids)
    table = db.assignments
    change.connection.execute(
        update(table).where(table.c.id == row.id).values(state="held", held_unix_s=change.unix_s)
    )
    for task in change.tasks(row.workflow_id, ids).values():
        if task.state == "offered":
            task.set(state="held", reason="")
            change.log("held", row.workflow_id, task.name, row.cluster,
                       assignment=row.id, generation=row.generation)  # fmt: skip
    change.woken.add(row.cluster)  # room for further offers
    return True


def _refuse(change: Change, row: Any, reason: str) -> bool:
    """An agent cannot store an offer: its tasks need another cluster."""
    if row.state != "offered":
        return False
    shape = change.shape(row.workflow_id)
    text = f"{row.cluster} refused it: {_clean(reason)}"
    take_back(change, shape, offered_under(change, shape, row.id), text, stay=False)
    return True


# -- reports ---------------------------------------------------------------------------------


async def report(context: Context, message: Report) -> Reported:
    """Apply reports in order, each once; what does not follow on is left for the next time."""
    await contact(context, message.cluster, message.identity, message.epoch)
    uids = [db.split_uid(one.uid) for one in message.reports]
    shapes = await context.shapes_of(workflow_id for workflow_id, _ in uids)

    def work(change: Change) -> int:
        mine = _agent(message.cluster, message.identity)
        applied = change.connection.scalar(select(db.agents.c.report_seq).where(mine)) or 0
        first = applied
        for one in sorted(message.reports, key=lambda one: one.seq):
            if one.seq <= applied:
                continue
            if one.seq != applied + 1:
                break  # one is missing: to confirm this one would lose that one
            _apply(change, shapes, message.cluster, one)
            applied = one.seq
        if applied != first:
            change.connection.execute(update(db.agents).where(mine).values(report_seq=applied))
        return applied

    applied = await context.write(work, shapes.values())
    return Reported(epoch=context.leadership.require(), seq=applied)


def _apply(change: Change, shapes: dict[str, Shape], cluster: str, one: TaskReport) -> None:
    """One report. An agent that speaks of what is not its own is recorded, and changes nothing."""
    workflow_id, name = db.split_uid(one.uid)
    shape = shapes.get(workflow_id)
    idx = shape.index.get(name) if shape is not None else None
    if shape is None or idx is None:
        change.log("report_ignored", cluster=cluster, uid=one.uid, change=one.change)
        return
    task = change.task(shape.id, idx)
    final = one.change in TERMINAL
    if final:
        _stray_ended(change, shape, task, cluster, one.generation)
    current = task.generation == one.generation and task.cluster == cluster
    if not (current and task.out) and not (final and _had(change, shape, task, cluster, one)):
        if not (task.ended and not final):
            change.log(
                "report_ignored", shape.id, name, cluster,
                generation=one.generation, change=one.change, state=task.state,
            )  # fmt: skip
        return
    if not final:
        _progress(change, shape, task, cluster, one)
    else:
        _finish(change, shape, task, cluster, one, current=current and task.out)


def _had(change: Change, shape: Shape, task: TaskRow, cluster: str, one: TaskReport) -> bool:
    """Whether the cluster held an assignment of the task's part under that generation."""
    table = db.assignments
    return (
        change.connection.execute(
            select(table.c.id).where(
                table.c.workflow_id == shape.id,
                table.c.part == task.part,
                table.c.cluster == cluster,
                table.c.generation == one.generation,
                table.c.state == "held",
            )
        ).first()
        is not None
    )


def _progress(change: Change, shape: Shape, task: TaskRow, cluster: str, one: TaskReport) -> None:
    if one.change == "waiting":
        task.set(state="held", reason=_clean(one.reason))
        return
    task.set(
        state="running",
        node=_clean(one.node),
        run_id=_clean(one.run_id),
        attempt=one.attempt,
        started_unix_s=one.started_unix_s or one.unix_s or change.unix_s,
        reason=task.reason if task.cancel_requested else _clean(one.reason),
    )
    change.log("running", shape.id, task.name, cluster,
               node=task.node, generation=one.generation, attempt=one.attempt)  # fmt: skip


def _finish(
    change: Change,
    shape: Shape,
    task: TaskRow,
    cluster: str,
    one: TaskReport,
    *,
    current: bool,
) -> None:
    """A run ended. Only one end is the task's (rule 6)."""
    if one.change == "cancelled" and not current:
        return  # the end of a run that was to end; its task goes on elsewhere, or has its result
    if task.ended:
        change.log("duplicate_result", shape.id, task.name, cluster,
                   generation=one.generation, change=one.change)  # fmt: skip
        return
    if one.change == "cancelled" and not task.cancel_requested:
        # Nobody asked for that end: it is proof that nobody runs the task, not a result.
        why = _clean(one.reason) or "without a reason"
        take_back(change, shape, [task], f"ended by its agent: {why}", stay=False)
        return
    holder = task.cluster
    assignment = task.assignment if task.state == "offered" else None
    was_out = task.out
    if not current and assignment is not None:
        withdraw(change, shape, assignment, "its result came from elsewhere", [task.idx])
    task.set(
        node=_clean(one.node) or (task.node if current else ""),
        run_id=_clean(one.run_id) or (task.run_id if current else ""),
        attempt=one.attempt or task.attempt,
        exit_code=_exit_code(one.exit_code),
        energy_j=one.energy_j,
        started_unix_s=one.started_unix_s or (task.started_unix_s if current else None),
        ended_unix_s=one.unix_s or change.unix_s,
    )
    # Of a task that went well there is to say why it ran where it did.
    kept = task.reason if current and one.change != "failed" and was_out else ""
    reason = _clean(one.reason) or kept
    change.end(shape.id, task, one.change, reason, cluster, generation=one.generation,
               exit_code=task.exit_code, energy_j=one.energy_j)  # fmt: skip
    if not current and was_out and holder is not None:
        stray(change, shape, task, holder)
    _follow(change, shape, task, holder, current=current)


def _follow(
    change: Change, shape: Shape, task: TaskRow, holder: str | None, *, current: bool
) -> None:
    """What the end of a task does to those behind it."""
    if task.state != "succeeded":
        fall(change, shape, task)
    elif current:
        succeed(change, shape, task)
    else:
        if holder is not None:
            forget_dispatched_behind(change, shape, task, holder)
        recount(change, shape)


def _stray_ended(
    change: Change, shape: Shape, task: TaskRow, cluster: str, generation: int
) -> None:
    table = db.strays
    gone = change.connection.execute(
        delete(table).where(
            table.c.cluster == cluster,
            table.c.workflow_id == shape.id,
            table.c.idx == task.idx,
            table.c.generation <= generation,
        )
    ).rowcount
    if gone:
        change.woken.add(cluster)


def _clean(text: str) -> str:
    """As both databases can store it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _exit_code(code: int | None) -> int | None:
    if code is None:
        return None
    return max(-_LARGEST_EXIT_CODE, min(code, _LARGEST_EXIT_CODE - 1))


# -- syncs -----------------------------------------------------------------------------------


async def sync(context: Context, message: Sync) -> Synced:
    """Compare what an agent holds with what we believe."""
    session = await contact(context, message.cluster, message.identity, message.epoch)
    wanted = await context.store.read(
        lambda connection: set(
            connection.scalars(
                select(db.tasks.c.workflow_id)
                .where(db.tasks.c.cluster == message.cluster, db.IS_OUT)
                .distinct()
            )
        )
    )
    named = {db.split_uid(uid)[0] for uid in message.tasks}
    shapes = await context.shapes_of(wanted | named)
    settled = context.clock.monotonic_s() - session.acked_s > context.settings.lease_s

    def work(change: Change) -> list[str]:
        number = change.connection.scalar(
            select(db.agents.c.ack_number).where(_agent(message.cluster, message.identity))
        )
        if message.acks < (number or 0) or (not message.acks and not settled):
            return []  # a later ack has overtaken this list: the next one will do
        drop = _not_theirs(change, shapes, message)
        _forget_strays(change, message)
        _take_back_missing(change, shapes, message)
        return drop

    drop = await context.write(work, shapes.values())
    session.resync = False
    return Synced(epoch=context.leadership.require(), drop=drop)


def _not_theirs(change: Change, shapes: dict[str, Shape], message: Sync) -> list[str]:
    """Uids the agent holds under no assignment that is still its own."""
    drop: list[str] = []
    by_workflow: dict[str, dict[int, str]] = defaultdict(dict)
    for uid, state in message.tasks.items():
        if state == "ended":
            continue  # its report is on the way
        workflow_id, name = db.split_uid(uid)
        idx = shapes[workflow_id].index.get(name) if workflow_id in shapes else None
        if idx is None:
            drop.append(uid)
        else:
            by_workflow[workflow_id][idx] = uid
    for workflow_id, uids in by_workflow.items():
        rows = change.tasks(workflow_id, uids)
        for idx, uid in uids.items():
            task = rows[idx]
            theirs = (
                task.cluster == message.cluster
                and task.state in ("offered", "held", "running")
                and task.assignment in message.held
                and message.held[task.assignment] == task.generation
            )
            if not theirs:
                drop.append(uid)
    return drop


def _forget_strays(change: Change, message: Sync) -> None:
    """A run the agent does not name has ended."""
    table = db.strays
    query = select(table).where(table.c.cluster == message.cluster)
    for row in change.connection.execute(query).all():
        if db.uid(row.workflow_id, row.name) not in message.tasks:
            change.connection.execute(
                delete(table).where(
                    table.c.cluster == row.cluster,
                    table.c.workflow_id == row.workflow_id,
                    table.c.idx == row.idx,
                )
            )
            change.woken.add(row.cluster)


def _take_back_missing(change: Change, shapes: dict[str, Shape], message: Sync) -> None:
    """What we believe held and the agent does not have is assigned to it anew."""
    tasks, assignments = db.tasks, db.assignments
    query = (
        select(tasks.c.workflow_id, tasks.c.idx, tasks.c.name)
        .join(assignments, assignments.c.id == tasks.c.assignment)
        .where(
            tasks.c.cluster == message.cluster,
            db.IS_OUT,
            assignments.c.state == "held",
            assignments.c.identity == message.identity,
        )
    )
    missing: dict[str, list[int]] = defaultdict(list)
    for row in change.connection.execute(query):
        if db.uid(row.workflow_id, row.name) not in message.tasks:
            missing[row.workflow_id].append(row.idx)
    for workflow_id, members in missing.items():
        rows: Iterable[TaskRow] = change.tasks(workflow_id, members).values()
        why = "its agent does not have it any more"
        take_back(change, change.shape(workflow_id), rows, why, stay=True)
