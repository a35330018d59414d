"""A candidate assigner in a controller: where its standing is stored, and how it is moved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select

from cerebrum.policies.learned.ladder import Standing
from cerebrum.services.errors import Refused
from cerebrum.services.rollouts import KEY, Desk
from cerebrum.services.store.schema import meta

if TYPE_CHECKING:
    from cerebrum.services.controller._change import Change
    from cerebrum.services.controller._context import Context


def stored(connection: Connection) -> dict[str, Any] | None:
    """What the last leader stored of its rollout; None: nothing."""
    text = connection.execute(select(meta.c.value).where(meta.c.key == KEY)).scalar_one_or_none()
    return None if text is None else json.loads(text)


def keep(change: Change, desk: Desk | None) -> None:
    """Store with this change what is not stored yet."""
    if desk is None or not desk.unstored:
        return
    for moved in desk.take_changes():
        change.log("rollout_changed", **moved)
    change.connection.execute(delete(meta).where(meta.c.key == KEY))
    change.connection.execute(insert(meta).values(key=KEY, value=json.dumps(desk.record())))


async def report(context: Context) -> dict[str, Any]:
    """The leader's standing; elsewhere what it stored last. Raises `Refused` 404."""
    desk = _desk(context)
    if not context.leadership.is_leader:
        desk.restore(await context.store.read(stored))
    return desk.report(context.settings.assignment)


async def move(context: Context, to: str, by: str, reason: str) -> dict[str, Any]:
    """Durable when this returns; when it cannot be stored nothing has changed."""
    desk = _desk(context)
    context.leadership.require()
    before = Standing.of_record(desk.standing.record())
    desk.move(to, by, reason)
    try:
        await context.write(lambda change: keep(change, desk))
    except BaseException:
        desk.take_changes()
        desk.standing.take_over(before)
        raise
    return desk.report(context.settings.assignment)


def _desk(context: Context) -> Desk:
    if context.rollout is None:
        raise Refused(404, "no candidate", "this controller was started without --candidate")
    return context.rollout
