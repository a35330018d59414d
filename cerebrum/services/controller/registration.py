"""Agents make themselves known (rules 9 and 13), and every contact renews their leases (rule 4)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import delete, insert, select, update

from cerebrum.services.controller._change import Change
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._sessions import Session
from cerebrum.services.errors import Refused
from cerebrum.services.store import schema as db
from cerebrum.services.wire import Register, Registered


async def register(context: Context, message: Register) -> Registered:
    """A cluster and what it has. Raises `Refused` (409) while another agent speaks for it."""
    epoch = context.leadership.require()
    now_s = context.clock.monotonic_s()
    _check_nodes(message)
    check_epoch_seen(context, message.epoch)
    old = context.sessions.get(message.cluster)
    replaces = old is not None and old.identity != message.identity
    if old is not None and replaces:
        _check_silent(context, old, now_s)

    def work(change: Change) -> tuple[int, int]:
        report_seq = _store(change, message, replaces, old is not None and old.lost)
        # The row of the cluster is ours until we commit: numbers rise as what is stored does.
        return report_seq, next(context.numbers)

    report_seq, number = await context.write(work)
    _remember(context, message, number, now_s)
    context.leadership.require()
    return Registered(
        epoch=epoch,
        lease_s=context.settings.lease_s,
        poll_s=context.settings.poll_s,
        report_seq=report_seq,
    )


async def contact(context: Context, cluster: str, identity: str, epoch: int) -> Session:
    """A request of a cluster's own agent: its lease begins anew with it.

    Raises `Refused`: 404 register first, 409 another agent speaks for the cluster.
    """
    context.leadership.require()
    session = context.sessions.get(cluster)
    if session is None:
        raise Refused(404, "Unknown cluster", f"cluster {cluster!r} has to register first")
    if session.identity != identity:
        raise Refused(409, "Another agent", f"another agent speaks for cluster {cluster!r}")
    # Also when the request is refused below: counting later than the agent does is safe.
    session.seen_s = context.clock.monotonic_s()
    check_epoch_seen(context, epoch)
    if session.lost:
        session.lost = False
        try:
            await context.write(lambda change: _back(change, cluster))
        except BaseException:
            session.lost = True
            raise
        session.wake()
        context.queue.news.set()
    return session


def check_epoch_seen(context: Context, epoch: int) -> None:
    """An agent that has heard of a later leader does not listen to us; or it lies. We only say so:
    whether we still lead is for the database to tell."""
    if epoch > context.leadership.epoch:
        raise Refused(
            421,
            "Not the latest leader",
            f"this controller's epoch is {context.leadership.epoch}, yours {epoch}",
            retry_after_s=1.0,
        )


def _check_nodes(message: Register) -> None:
    twice = [n for n, count in Counter(node.name for node in message.nodes).items() if count > 1]
    if twice:
        raise Refused(422, "Invalid nodes", f"node {twice[0]!r} is named twice")


def _check_silent(context: Context, old: Session, now_s: float) -> None:
    left_s = old.seen_s + context.settings.lease_s + context.settings.margin_s - now_s
    if left_s > 0:
        raise Refused(
            409,
            "Another agent",
            f"another agent speaks for cluster {old.cluster!r}; it was heard "
            f"{now_s - old.seen_s:.1f} s ago",
            retry_after_s=left_s,
        )


def _store(change: Change, message: Register, replaces: bool, lost: bool) -> int:
    """Write cluster and agent; the number of the last report applied of this agent."""
    row: dict[str, Any] = {
        "identity": message.identity,
        "state": "live",
        "zone": message.zone,
        "url": message.url,
        "version": message.version,
        "nodes": json.dumps([node.model_dump(exclude_defaults=True) for node in message.nodes]),
        "registered_unix_s": change.unix_s,
    }
    table, connection = db.clusters, change.connection
    if not connection.execute(
        update(table).where(table.c.id == message.cluster).values(row)
    ).rowcount:
        connection.execute(insert(table), {"id": message.cluster, "cordoned": 0, **row})
    if replaces:
        # What the old agent had to end is past its fence, or nobody can reach it.
        connection.execute(delete(db.strays).where(db.strays.c.cluster == message.cluster))
    change.log("registered", cluster=message.cluster, nodes=len(message.nodes), replaces=replaces)
    if lost:
        change.log("cluster_back", cluster=message.cluster)
    change.woken.add(message.cluster)
    agents = db.agents
    mine = (agents.c.cluster == message.cluster) & (agents.c.identity == message.identity)
    found = connection.scalar(select(agents.c.report_seq).where(mine))
    if found is None:
        fresh = {"cluster": message.cluster, "identity": message.identity}
        connection.execute(insert(agents), {**fresh, "report_seq": 0, "ack_number": 0})
    return found or 0


def _remember(context: Context, message: Register, number: int, now_s: float) -> None:
    """What was stored as registration `number`, received at `now_s`.

    The database may have answered late: the agent was heard since, or registered once more.
    """
    old = context.sessions.get(message.cluster)
    if old is not None and old.registration > number:
        return
    session = Session(
        message.cluster, message.identity, tuple(message.nodes), message.zone, message.url,
        message.version, now_s, now_s, registration=number,
    )  # fmt: skip
    if old is not None:
        session.backlog, session.cordoned = old.backlog, old.cordoned
        session.cordoning = old.cordoning
        session.others = dict(old.others)
        if old.identity == message.identity:
            session.since_s, session.seen_s = old.since_s, max(old.seen_s, now_s)
        else:
            session.others[old.identity] = old.seen_s
        session.others.pop(message.identity, None)
        old.news.set()  # whoever waits there looks up the session again
    context.sessions[message.cluster] = session
    context.capacity_version += 1
    context.avoided.clear()
    context.queue.news.set()


def _back(change: Change, cluster: str) -> None:
    change.connection.execute(
        update(db.clusters).where(db.clusters.c.id == cluster).values(state="live")
    )
    change.log("cluster_back", cluster=cluster)
