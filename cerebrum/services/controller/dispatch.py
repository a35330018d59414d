"""Polls: what an agent says of itself, and what it is given (rules 3, 11 and 12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, insert, select

from cerebrum.services.controller._change import Change
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._sessions import Session
from cerebrum.services.controller._specs import Shape
from cerebrum.services.controller._waiting import wait_for
from cerebrum.services.controller.auction import Auctions
from cerebrum.services.controller.registration import contact
from cerebrum.services.errors import Refused
from cerebrum.services.store import schema as db
from cerebrum.services.wire import Offer, OfferedTask, Offers, Poll


async def poll(context: Context, auctions: Auctions, message: Poll) -> Offers:
    """Answer when there is something to say, or after `wait_s`."""
    session = await contact(context, message.cluster, message.identity, message.epoch)
    session.take_status(message)
    auctions.bid(session.cluster, message.bids)
    # Never so long that the answer finds the lease half over.
    until_s = context.clock.monotonic_s() + min(message.wait_s, context.settings.lease_s / 3)
    while True:
        session.news.clear()
        answer = await _answer(context, auctions, session)
        left_s = until_s - context.clock.monotonic_s()
        told = _content(answer)
        # What was said before is said again, but not at once: its answer may be on its way.
        if told - session.told or left_s <= 0 or context.sessions.get(session.cluster) != session:
            session.told = told
            break
        await wait_for(session.news, context.clock, left_s)
    if context.sessions.get(session.cluster) is not session:
        raise Refused(409, "Registered anew", "poll again")
    context.leadership.require()
    return answer


def _content(answer: Offers) -> frozenset[str]:
    """Names of all that an answer says."""
    said = {f"offer {offer.assignment}" for offer in answer.offers}
    said |= {f"cancel {uid}" for uid in answer.cancel}
    said |= {f"auction {auction.auction}" for auction in answer.auctions}
    said |= {"resync"} if answer.resync else set()
    return frozenset(said | ({"cordon"} if answer.cordon else set()))


async def _answer(context: Context, auctions: Auctions, session: Session) -> Offers:
    offers, cancel = [], []
    if session.dirty:
        session.dirty = False
        try:
            if not session.cordoned:
                await _dispatch(context, session)
            told = await context.store.read(lambda connection: _outgoing(connection, session))
            offers = await _offers(context, told)
            cancel = told.cancel
        except BaseException:
            session.dirty = True
            raise
        session.dirty = session.dirty or bool(offers or cancel)  # said again until it is done
    return Offers(
        epoch=context.leadership.epoch,
        offers=offers,
        cancel=cancel,
        cordon=session.cordoned,
        auctions=auctions.open_for(session.cluster),
        resync=session.resync,
    )


# -- new offers ------------------------------------------------------------------------------


async def _dispatch(context: Context, session: Session) -> None:
    """Offer what may be offered, within the window."""
    if not await context.store.read(lambda connection: _room(connection, context, session)):
        return
    ids = iter([context.new_id("a") for _ in range(context.settings.max_unacked)])
    identity = session.identity
    await context.write(lambda change: _offer_more(change, context, session, identity, ids))


def _room(connection: Connection, context: Context, session: Session) -> int:
    """How many tasks may be offered now; 0 when none waits."""
    settings, table = context.settings, db.tasks
    mine = table.c.cluster == session.cluster
    if (
        connection.execute(select(table.c.idx).where(mine, db.DISPATCHABLE).limit(1)).first()
        is None
    ):
        return 0
    if _unacked(connection, session.cluster) >= settings.max_unacked:
        return 0
    return max(0, min(settings.offer_tasks, settings.window_tasks - _out(connection, session)))


def _out(connection: Connection, session: Session) -> int:
    """Tasks that its agent has or is offered. What an earlier agent of the cluster had, and may
    never give back (`never`), takes no place of this one's."""
    tasks, assignments = db.tasks, db.assignments
    query = select(func.count()).select_from(tasks)
    if session.others:
        query = query.join(assignments, assignments.c.id == tasks.c.assignment).where(
            assignments.c.identity == session.identity
        )
    return connection.scalar(query.where(tasks.c.cluster == session.cluster, db.IS_OUT)) or 0


def _unacked(connection: Connection, cluster: str) -> int:
    query = select(func.count()).select_from(db.assignments)
    found = connection.scalar(query.where(db.assignments.c.cluster == cluster, db.OPEN_OFFER))
    return found or 0


def _offer_more(
    change: Change, context: Context, session: Session, identity: str, ids: Iterator[str]
) -> None:
    cluster, connection = session.cluster, change.connection
    room = _room(connection, context, session)
    current = connection.execute(
        select(db.clusters.c.identity, db.clusters.c.cordoned).where(db.clusters.c.id == cluster)
    ).first()
    if not room or current is None or current.cordoned or current.identity != identity:
        return
    groups: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    places = context.settings.max_unacked - _unacked(connection, cluster)
    for row in connection.execute(_dispatchable(cluster).limit(room)):
        key = (row.workflow_id, row.part, row.generation)
        if key in groups or len(groups) < places:
            groups[key].append(row.idx)
        else:
            break  # a later task may come after this one: nothing is skipped
    lost = _on_lost(connection, {workflow_id for workflow_id, _, _ in groups})
    for (workflow_id, part, generation), members in groups.items():
        assignment = next(ids)
        connection.execute(
            insert(db.assignments),
            {
                "id": assignment,
                "workflow_id": workflow_id,
                "part": part,
                "cluster": cluster,
                "identity": identity,
                "generation": generation,
                "state": "offered",
                "tasks": len(members),
                "fence_after_s": context.settings.fence_after_s(lost[workflow_id]),
                "offered_unix_s": change.unix_s,
            },
        )
        for task in change.tasks(workflow_id, members).values():
            task.set(state="offered", assignment=assignment)
            change.log("offered", workflow_id, task.name, cluster,
                       assignment=assignment, generation=generation)  # fmt: skip


def _dispatchable(cluster: str) -> Any:
    table, strays = db.tasks, db.strays
    # While the cluster has a run of a workflow to end, it gets nothing more of it: an offer names
    # tasks by uid, and so does the request to end the old run.
    ending = select(strays.c.workflow_id).where(strays.c.cluster == cluster)
    return (
        select(table.c.workflow_id, table.c.idx, table.c.part, table.c.generation)
        .where(table.c.cluster == cluster, db.DISPATCHABLE, table.c.workflow_id.not_in(ending))
        .order_by(table.c.priority.desc(), table.c.workflow_id, table.c.position)
    )


def _on_lost(connection: Connection, workflow_ids: set[str]) -> dict[str, str]:
    table = db.workflows
    query = select(table.c.id, table.c.on_cluster_lost).where(table.c.id.in_(workflow_ids))
    return {row.id: row.on_cluster_lost for row in connection.execute(query)}


# -- what is said ----------------------------------------------------------------------------


@dataclass(eq=False)
class _Outgoing:
    """Open offers with their tasks, and what is to be cancelled."""

    offers: list[Any] = field(default_factory=list[Any])
    tasks: dict[str, list[Any]] = field(default_factory=lambda: defaultdict[str, list[Any]](list))
    cancel: list[str] = field(default_factory=list[str])


def _outgoing(connection: Connection, session: Session) -> _Outgoing:
    table, cluster, found = db.tasks, session.cluster, _Outgoing()
    uid_of = select(table.c.workflow_id, table.c.name)
    found.cancel = [
        db.uid(row.workflow_id, row.name)
        for query in (
            uid_of.where(table.c.cluster == cluster, db.CANCELLING),
            select(db.strays.c.workflow_id, db.strays.c.name).where(db.strays.c.cluster == cluster),
        )
        for row in connection.execute(query)
    ]
    found.offers = list(
        connection.execute(
            select(db.assignments)
            .where(
                db.assignments.c.cluster == cluster,
                db.OPEN_OFFER,
                db.assignments.c.identity == session.identity,
            )
            .order_by(db.assignments.c.id)
        )
    )
    wanted = [offer.id for offer in found.offers]
    for row in connection.execute(
        select(table.c.assignment, table.c.idx, table.c.rank_s, table.c.priority)
        .where(table.c.assignment.in_(wanted), db.IS_OUT)
        .order_by(table.c.position)
    ):
        found.tasks[row.assignment].append(row)
    return found


async def _offers(context: Context, told: _Outgoing) -> list[Offer]:
    shapes = await context.shapes_of(offer.workflow_id for offer in told.offers)
    wanted: dict[str, set[int]] = defaultdict(set)
    for offer in told.offers:
        shape = shapes[offer.workflow_id]
        for row in told.tasks[offer.id]:
            wanted[shape.id].update(shape.predecessors(row.idx))
    before = await context.store.read(lambda connection: _states(connection, wanted))
    return [
        _offer(context, shapes[offer.workflow_id], offer, told.tasks[offer.id], before)
        for offer in told.offers
        if told.tasks[offer.id]
    ]


_States = dict[tuple[str, int], tuple[str, str | None]]


def _states(connection: Connection, wanted: dict[str, set[int]]) -> _States:
    """(state, cluster) of tasks."""
    change = Change(connection, 0, 0.0)
    return {
        (workflow_id, idx): (row.state, row.cluster)
        for workflow_id, members in wanted.items()
        for idx, row in change.tasks(workflow_id, members).items()
    }


def _offer(context: Context, shape: Shape, row: Any, tasks: list[Any], before: _States) -> Offer:
    spec = shape.spec
    return Offer(
        assignment=row.id,
        generation=row.generation,
        epoch=context.leadership.epoch,
        workflow=shape.id,
        workflow_name=spec.name,
        part=row.part,
        priority=spec.priority,
        fence_after_s=row.fence_after_s,
        tasks=[_offered(shape, row.cluster, task, before) for task in tasks],
    )


def _offered(shape: Shape, cluster: str, task: Any, before: _States) -> OfferedTask:
    names = shape.workflow.tasks.names
    after: list[str] = []
    inputs: dict[str, float] = defaultdict(float)
    edges = zip(shape.predecessors(task.idx), shape.volumes_mb(task.idx), strict=True)
    for idx, volume_mb in edges:
        state, where = before[shape.id, idx]
        if where == cluster:
            if state != "succeeded":
                after.append(db.uid(shape.id, names[idx]))
        elif where is not None and volume_mb > 0:
            inputs[where] += volume_mb
    return OfferedTask(
        uid=db.uid(shape.id, names[int(task.idx)]),
        spec=shape.spec.tasks[int(task.idx)],
        rank_s=min(task.rank_s, 3.2e9),
        after=after,
        inputs=dict(inputs),
    )
