"""Mistakes planted in the controller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from cerebrum.services.controller import (
    _change,
    _context,
    _transitions,
    dispatch,
    election,
    leases,
    plan,
    registration,
    reports,
    submit,
)
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.store import schema as db
from tests.faults.planted import Patch, bug


def everywhere(patch: Patch, name: str, wrong: Any) -> None:
    """Replace a function of `_transitions` also where it was imported by name."""
    for module in (_transitions, plan, reports, leases):
        if hasattr(module, name):
            patch(module, name, wrong)


# -- accepting ------------------------------------------------------------------------------------


@bug
def key_not_stored(patch: Patch) -> None:
    """A submission is stored without its idempotency key."""
    right = submit.submit

    async def wrong(context: Any, spec: Any, tenant: str, key: Any, body_hash: str) -> Any:
        return await right(context, spec, tenant, None, body_hash)

    patch(submit, "submit", wrong)


@bug
def accepted_but_not_stored(patch: Patch) -> None:
    """A submission that the database did not take is answered as accepted."""
    right = submit.submit

    async def wrong(context: Any, *rest: Any) -> Any:
        try:
            return await right(context, *rest)
        except StoreUnavailable:
            return submit.Submitted(context.new_id("w"), "pending", created=True)

    patch(submit, "submit", wrong)


@bug
def end_not_in_the_outbox(patch: Patch) -> None:
    """The end of a workflow is stored without its event."""
    _leave_out(patch, "workflow_ended")


@bug
def held_not_in_the_outbox(patch: Patch) -> None:
    """That an agent holds a task is stored without its event."""
    _leave_out(patch, "held")


def _leave_out(patch: Patch, left_out: str) -> None:
    right = _change.Change.log

    def wrong(self: Any, kind: str, *rest: Any, **data: Any) -> None:
        if kind != left_out:
            right(self, kind, *rest, **data)

    patch(_change.Change, "log", wrong)


# -- one step after the other ---------------------------------------------------------------------


@bug
def generation_not_raised(patch: Patch) -> None:
    """A task that is assigned again keeps its generation."""
    right = _transitions.assign

    def wrong(change: Any, shape: Any, task: Any, *rest: Any) -> None:
        if task.generation:
            task.set(generation=task.generation - 1)
        right(change, shape, task, *rest)

    everywhere(patch, "assign", wrong)


@bug
def waits_decremented_twice(patch: Patch) -> None:
    """A finished predecessor is counted off twice."""
    right = _transitions._one_less

    def wrong(task: Any, freed: list[Any]) -> None:
        right(task, freed)
        right(task, freed)

    patch(_transitions, "_one_less", wrong)


@bug
def running_counts_as_done(patch: Patch) -> None:
    """Counting anew what a task waits for, a predecessor that runs elsewhere is taken as done."""
    right = _transitions._holds_up

    def wrong(before: Any, task: Any) -> bool:
        return before.state not in ("held", "running") and right(before, task)

    patch(_transitions, "_holds_up", wrong)


@bug
def heirs_of_failed_tasks_wait_for_ever(patch: Patch) -> None:
    """What waits for a failed task is not cancelled."""
    everywhere(patch, "fall", lambda *_: None)


@bug
def cancel_forgets_what_is_held(patch: Patch) -> None:
    """A cancel ends what waits; what an agent holds is taken back later and given out again."""
    right = _transitions.cancel

    def wrong(change: Any, shape: Any, wanted: Any, reason: str) -> None:
        rows = change.tasks(shape.id, wanted)
        right(change, shape, [idx for idx, row in rows.items() if not row.out], reason)

    from cerebrum.services.controller import operations

    everywhere(patch, "cancel", wrong)
    patch(operations, "cancel", wrong)


@bug
def later_results_overwrite(patch: Patch) -> None:
    """A second result of a task replaces the first."""
    right = reports._finish

    def wrong(change: Any, shape: Any, task: Any, *rest: Any, **more: Any) -> None:
        if task.ended:
            task.set(state="running", ended_unix_s=None)
        right(change, shape, task, *rest, **more)

    patch(reports, "_finish", wrong)


@bug
def fenced_is_the_end(patch: Patch) -> None:
    """A task that its agent had to end since it was cut off counts as cancelled."""
    right = reports._finish

    def wrong(change: Any, shape: Any, task: Any, cluster: str, one: Any, *, current: bool) -> None:
        if one.change == "cancelled" and current and not task.ended:
            task.set(cancel_requested=1)
        right(change, shape, task, cluster, one, current=current)

    patch(reports, "_finish", wrong)


@bug
def withdrawn_offers_are_confirmed(patch: Patch) -> None:
    """An ack confirms an offer that was taken back meanwhile."""
    right = reports._hold

    def wrong(change: Any, row: Any) -> bool:
        right(change, row)
        return True

    patch(reports, "_hold", wrong)


@bug
def sync_forgets_what_is_running(patch: Patch) -> None:
    """Of what an agent says it holds, only what waits is believed."""
    right = reports._take_back_missing

    def wrong(change: Any, shapes: Any, message: Any, *rest: Any) -> None:
        kept = {uid: state for uid, state in message.tasks.items() if state != "running"}
        right(change, shapes, message.model_copy(update={"tasks": kept}), *rest)

    patch(reports, "_take_back_missing", wrong)


# -- leases, windows, identities ------------------------------------------------------------------


@bug
def no_margin(patch: Patch) -> None:
    """Tasks are taken back when the fence closes by our clock, without a margin."""
    right = leases._is_due

    def wrong(context: Any, session: Any, row: Any, now_s: float) -> bool:
        return right(context, session, row, now_s + context.settings.margin_s)

    patch(leases, "_is_due", wrong)


@bug
def patience_forgotten(patch: Patch) -> None:
    """Tasks that may wait are taken back after a lease, as those that are to be replaced."""
    right = leases._is_due

    def wrong(context: Any, session: Any, row: Any, now_s: float) -> bool:
        return right(context, session, row, now_s + context.settings.patience_s)

    patch(leases, "_is_due", wrong)


@bug
def never_means_at_once(patch: Patch) -> None:
    """Tasks that are never to be taken back are, after a lease."""
    right = leases._is_due

    def wrong(context: Any, session: Any, row: Any, now_s: float) -> bool:
        settings = context.settings
        late = session.lost and now_s - session.seen_s > settings.lease_s + settings.margin_s
        return right(context, session, row, now_s) or (row.fence_after_s is None and late)

    patch(leases, "_is_due", wrong)


@bug
def stampede(patch: Patch) -> None:
    """When most clusters fall silent at once, all their tasks are taken back."""
    patch(leases, "stampede", lambda *_: False)


@bug
def any_agent_may_speak(patch: Patch) -> None:
    """A second agent with a cluster's id is let in at once."""
    patch(registration, "_check_silent", lambda *_: None)


@bug
def window_ignored(patch: Patch) -> None:
    """Offers go out whatever the cluster holds already."""
    right = dispatch._room

    def wrong(connection: Any, context: Any, session: Any) -> int:
        mine = db.tasks.c.cluster == session.cluster
        query = select(db.tasks.c.idx).where(mine, db.DISPATCHABLE).limit(1)
        waits = connection.execute(query).first() is not None
        room = right(connection, context, session)
        return max(room, context.settings.offer_tasks if waits else 0)

    patch(dispatch, "_room", wrong)


# -- leaders --------------------------------------------------------------------------------------


@bug
def stale_epoch_may_write(patch: Patch) -> None:
    """A leader that was stopped for a while writes on, whoever leads now."""
    patch(_context, "check_epoch", lambda *_: None)
    patch(election, "check_epoch", lambda *_: None)
    patch(election.Leadership, "_in_time", lambda _: True)


@bug
def epoch_not_raised(patch: Patch) -> None:
    """A takeover keeps the old leader's epoch."""
    right = election.Leadership._take

    async def wrong(self: Any, seen: Any, *rest: Any) -> bool:
        taken = await right(self, seen, *rest)
        if taken and seen is not None:
            work = update(db.leader).values(epoch=seen.epoch)
            await self._store.write(lambda connection: connection.execute(work))
            self.epoch = seen.epoch
        return taken

    patch(election.Leadership, "_take", wrong)
