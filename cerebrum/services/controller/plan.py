"""Planning: pending workflows are cut into parts, and each part gets a cluster (rule 2).

Only as many workflows are planned as clusters can soon take (`ahead_tasks`): the rest stays
undecided, since a decision made later knows more. One planner runs at a time; what it decides is
reserved in the backlogs before the next decision, and in the database with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from cerebrum.model.federation import ClusterView, Decomposition
from cerebrum.policies.assignment.auction import summaries
from cerebrum.policies.learned.sides import CANDIDATE
from cerebrum.services.controller import policies, rollouts
from cerebrum.services.controller._change import Change, TaskRow
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._decision import (
    Decision,
    nothing_to_plan,
    rejecter,
    set_reason,
    store,
    tenant_of,
)
from cerebrum.services.controller._reasons import reasons
from cerebrum.services.controller._sessions import Session
from cerebrum.services.controller._specs import Shape, core_s
from cerebrum.services.controller._waiting import wait_for
from cerebrum.services.controller.auction import Auctions
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.store import schema as db

MAX_AUCTIONS = 16
"""Workflows whose parts are auctioned at one time."""


class Planner:
    """Decides on pending workflows, highest priority first, then oldest."""

    def __init__(self, context: Context, auctions: Auctions) -> None:
        self._context, self._auctions = context, auctions
        # Set aside: no room until another cluster opens; no node until capacity changes.
        self._no_room: dict[str, int] = {}
        self._unfit: dict[str, tuple[int, float]] = {}
        self._open: frozenset[str] = frozenset()
        self._capacity = -1
        self._auctioned: dict[str, asyncio.Future[int]] = {}

    @property
    def waiting(self) -> int:
        """Workflows without a decision."""
        return len(self._context.queue) + len(self._no_room.keys() | self._unfit.keys())

    async def run(self) -> None:
        """Plan whenever there is something to plan and somewhere to put it."""
        try:
            while True:
                await self._step()
        finally:
            for auction in list(self._auctioned.values()):
                auction.cancel()

    async def _step(self) -> None:
        context, share = self._context, self._context.settings.plan_share
        context.queue.news.clear()
        began_s = context.clock.monotonic_s()
        try:
            decided = await self.plan_once()
        except StoreUnavailable:
            decided = 0  # all is made anew from the database when it answers again
        took_s = context.clock.monotonic_s() - began_s
        if decided:
            await context.clock.sleep(took_s * (1 - share) / share)
        else:
            await wait_for(context.queue.news, context.clock, 1.0)

    async def plan_once(self) -> int:
        """One pass over at most `plan_batch` workflows; how many were decided."""
        context = self._context
        await context.load_queue()
        self._return_aside()
        await self._reject_hopeless()
        if not (context.queue or self._no_room) or not self._live():
            return 0
        await context.read_backlogs()
        self._note_open()
        decided = 0
        for _ in range(min(context.settings.plan_batch, len(context.queue))):
            if not self._open_sessions():
                break
            workflow_id, priority = context.queue.pop()
            try:
                decided += await self._plan(workflow_id, priority)
            except BaseException:
                context.queue.push(workflow_id, priority)
                raise
            await asyncio.sleep(0)  # submissions and polls come first
        return decided

    # -- which clusters -----------------------------------------------------------------------

    def _live(self) -> list[Session]:
        sessions = self._context.sessions.values()
        return sorted(
            (s for s in sessions if not s.lost and not s.cordoned and s.usable),
            key=lambda session: session.cluster,
        )

    def _open_sessions(self) -> list[Session]:
        ahead = self._context.settings.ahead_tasks
        return [session for session in self._live() if session.backlog.tasks < ahead]

    def _names_open(self) -> frozenset[str]:
        return frozenset(session.cluster for session in self._open_sessions())

    def _note_open(self) -> None:
        """Who waits for room is looked at again when a cluster opened that was not open before."""
        now_open = self._names_open()
        if now_open - self._open:
            for workflow_id, priority in self._no_room.items():
                self._context.queue.push(workflow_id, priority)
            self._no_room.clear()
        self._open = now_open

    def _return_aside(self) -> None:
        """What fitted nowhere may fit since clusters changed."""
        if self._capacity != self._context.capacity_version:
            self._capacity = self._context.capacity_version
            for workflow_id, (priority, _) in self._unfit.items():
                self._context.queue.push(workflow_id, priority)

    # -- one workflow -------------------------------------------------------------------------

    async def _plan(self, workflow_id: str, priority: int) -> int:
        """Decide on one workflow; an auction takes time, so it goes on beside the others."""
        context = self._context
        shape = await context.shape(workflow_id)
        if shape is None or workflow_id in self._auctioned:
            return 0
        asked = shape.spec.assignment or context.settings.assignment
        if asked != policies.AUCTION:
            return await self._place(shape, priority)
        if len(self._auctioned) >= MAX_AUCTIONS:
            self._no_room[workflow_id] = priority
            return 0
        task = asyncio.ensure_future(self._place(shape, priority))
        self._auctioned[workflow_id] = task
        task.add_done_callback(lambda done: self._auction_over(workflow_id, priority, done))
        return 1

    def _auction_over(self, workflow_id: str, priority: int, done: asyncio.Future[int]) -> None:
        self._auctioned.pop(workflow_id, None)
        self._open = frozenset()  # those that waited for a place among the auctions
        if not done.cancelled() and done.exception() is not None:
            self._context.queue.push(workflow_id, priority)
        self._context.queue.news.set()

    async def _place(self, shape: Shape, priority: int) -> int:
        """Give what is pending of a workflow to clusters; 1 when that is done, else 0."""
        context, workflow_id = self._context, shape.id
        rows = await context.store.read(
            lambda connection: Change(connection, 0, 0.0, {shape.id: shape}).tasks(shape.id)
        )
        pending = [row.idx for row in rows.values() if row.state == "pending"]
        if not pending:
            await context.write(lambda change: nothing_to_plan(change, shape), [shape])
            return 1
        avoided = context.avoided.get(workflow_id, set())
        sessions = [s for s in self._open_sessions() if s.cluster not in avoided]
        decision = await self._decide(shape, rows, pending, sessions) if sessions else None
        if decision is None:
            await self._set_aside(shape, priority, pending, avoided)
            return 0
        if not await context.write(lambda change: self._store(change, decision), [shape]):
            await self._take_as_stored()
            context.queue.push(workflow_id, priority)
            return 0
        self._unfit.pop(workflow_id, None)
        self._reserve(decision, pending)
        return 1

    async def _take_as_stored(self) -> None:
        """A plan was refused. Where a cluster left meanwhile we know it already; where what we
        remember and what is stored have parted, every plan would be refused from now on.

        What was heard of a drain while the database answered is newer than its answer."""
        table, sessions = db.clusters, self._context.sessions
        query = select(table.c.id, table.c.state, table.c.cordoned)
        known = {cluster: session.cordoning for cluster, session in sessions.items()}
        for row in await self._context.store.read(lambda conn: conn.execute(query).all()):
            session = sessions.get(row.id)
            if session is not None:
                session.lost |= row.state == "lost"  # its next contact stores that it is back
                if session.cordoning == known.get(row.id):
                    session.cordoned = bool(row.cordoned)

    def _store(self, change: Change, decision: Decision) -> bool:
        rollouts.keep(change, self._context.rollout)
        return store(change, decision)

    async def _decide(
        self, shape: Shape, rows: dict[int, TaskRow], pending: list[int], sessions: list[Session]
    ) -> Decision | None:
        settings, spec = self._context.settings, shape.spec
        views = [session.view() for session in sessions]
        known = [rows[i].part for i in range(len(shape))]
        if any(part is None for part in known):
            cut = await self._context.compute(
                lambda: policies.decompose(settings, spec, shape.workflow, views)
            )
            cut = policies.divisible(shape, cut, sessions)
        else:
            cut = Decomposition(shape.workflow, np.asarray(known, np.int32))
        wanted = sorted({int(cut.part[task]) for task in pending})
        placed = _placed(cut, rows, wanted, [session.cluster for session in sessions])
        name = spec.assignment or settings.assignment
        if name == policies.AUCTION:
            chosen = await self._auction(shape, cut, wanted, placed, sessions)
        else:
            chosen, name = await self._assign(shape, name, cut, views, placed)
        clusters = _by_node(shape, cut, pending, chosen, sessions)
        if clusters is None:
            return None
        network = policies.network_of(settings, len(views))
        speed = sum(view.speed for view in views) / len(views)
        rank_s = shape.upward_rank_s(speed, network)
        decomposition = spec.decomposition or settings.decomposition
        why = reasons(
            name, cut, {row.idx: row.cluster for row in rows.values() if row.cluster},
            clusters, views, policies.holders_by_part(shape, cut, wanted, sessions),
        )  # fmt: skip
        return Decision(shape, cut, clusters, rank_s, decomposition, name, why)

    async def _assign(
        self,
        shape: Shape,
        name: str,
        cut: Decomposition,
        views: list[ClusterView],
        placed: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], str]:
        """By the policy asked for; by the candidate's side of the default, where that one is its
        key's. Also the name of the policy that decided."""
        context, desk = self._context, self._context.rollout
        if desk is None or shape.spec.assignment:
            made = lambda: policies.assign(context.settings, name, cut, views, placed)  # noqa: E731
            return await context.compute(made), name
        tenant = await context.store.read(lambda connection: tenant_of(connection, shape.id))
        key = f"{tenant}/{shape.spec.name}"
        chosen, side = await context.compute(
            lambda: policies.assign_beside(context.settings, desk, key, cut, views, placed)
        )
        return chosen, desk.settings.candidate if side == CANDIDATE else name

    async def _auction(
        self,
        shape: Shape,
        cut: Decomposition,
        wanted: Sequence[int],
        placed: NDArray[np.int32],
        sessions: list[Session],
    ) -> NDArray[np.int32]:
        """Part after part: bidders know where the data will lie. Nobody bids: the default."""
        chosen, names = placed.copy(), [session.cluster for session in sessions]
        every, reserved = summaries(cut), [_load(session) for session in sessions]
        for part in wanted:
            data = _data_mb(cut, part, chosen, names)
            summary = replace(every[part], data_mb=data)
            winner = await self._auctions.hold(shape, cut, part, summary, names, reserved)
            chosen[part] = winner
            if winner >= 0:
                reserved[winner] += summary.core_s / _rate(sessions[winner])
        if (chosen[list(wanted)] < 0).any():
            settings = self._context.settings
            default = settings.assignment if settings.assignment != policies.AUCTION else "cerebrum"
            views = [session.view() for session in sessions]
            chosen = policies.assign(settings, default, cut, views, chosen)
        return chosen

    def _reserve(self, decision: Decision, pending: Sequence[int]) -> None:
        for task in pending:
            session = self._context.sessions.get(decision.clusters[task])
            if session is not None:
                spec = decision.shape.spec.tasks[task]
                session.backlog.reserve(1, core_s(spec), spec.cpu_milli)

    # -- what cannot be planned ---------------------------------------------------------------

    async def _set_aside(
        self, shape: Shape, priority: int, pending: Sequence[int], avoided: set[str]
    ) -> None:
        """Fits a cluster that is full: wait for room. Fits none: wait for capacity, and say why."""
        live = [session for session in self._live() if session.cluster not in avoided]
        unfit = policies.misfits(shape, pending, live)
        if not unfit:
            self._no_room[shape.id] = priority
            # One that was open when this pass began may be full by now: it is to open again.
            self._open &= self._names_open()
            return
        now_s = self._context.clock.monotonic_s()
        first = self._unfit.get(shape.id)
        self._unfit[shape.id] = (priority, first[1] if first else now_s)
        if first is None:
            task, why = next(iter(unfit.items()))
            reason = f"task {shape.spec.tasks[task].name!r}: {why}"
            await self._context.write(lambda change: set_reason(change, shape.id, reason))

    async def _reject_hopeless(self) -> None:
        """Reject what has fitted nowhere for long enough, if clusters were there all the time."""
        context = self._context
        now_s, patience_s = context.clock.monotonic_s(), context.settings.infeasible_after_s
        if not any(now_s - session.since_s >= patience_s for session in self._live()):
            return
        due = [w for w, (_, since_s) in self._unfit.items() if now_s - since_s >= patience_s]
        for workflow_id in due:
            shape = await context.shape(workflow_id)
            if shape is not None:
                avoided = context.avoided.get(workflow_id, set())
                live = [s for s in self._live() if s.cluster not in avoided]
                await context.write(rejecter(shape, live), [shape])
            self._unfit.pop(workflow_id, None)


def _by_node(
    shape: Shape,
    cut: Decomposition,
    pending: Sequence[int],
    chosen: NDArray[np.int32],
    sessions: Sequence[Session],
) -> dict[int, str] | None:
    """The cluster of each pending task; None when one fits nowhere.

    Policies see clusters, not nodes. Where that misled them, the least loaded cluster that can hold
    the part is taken; where none can any more, one for each of its tasks.
    """
    members: dict[int, list[int]] = {}
    for task in pending:
        members.setdefault(int(cut.part[task]), []).append(task)
    found: dict[int, str] = {}
    for part, tasks in members.items():
        groups = [tasks] if policies.holders(shape, tasks, sessions) else [[t] for t in tasks]
        for group in groups:
            can = policies.holders(shape, group, sessions)
            if not can:
                return None
            best = int(chosen[part])
            if best not in can:
                best = min(can, key=lambda c: (_load(sessions[c]), c))
            found |= dict.fromkeys(group, sessions[best].cluster)
    return found


def _load(session: Session) -> float:
    """Seconds of work reserved for a cluster that its agent does not know of."""
    return session.backlog.waiting_core_s / _rate(session)


def _rate(session: Session) -> float:
    view = session.view()
    return max(1e-9, view.cpu_milli / 1000 * view.speed)


def _placed(
    cut: Decomposition, rows: dict[int, TaskRow], wanted: Sequence[int], names: Sequence[str]
) -> NDArray[np.int32]:
    """int32[parts]: clusters of the parts that stay where they are, -1 for the others."""
    placed = np.full(cut.parts, -1, np.int32)
    index = {name: i for i, name in enumerate(names)}
    for row in rows.values():
        part = int(cut.part[row.idx])
        if row.cluster in index and part not in wanted:
            placed[part] = index[row.cluster]
    return placed


def _data_mb(
    cut: Decomposition, part: int, chosen: NDArray[np.int32], names: Sequence[str]
) -> dict[str, float]:
    """Megabytes a part reads from parts that have a cluster, by cluster."""
    w = cut.workflow
    edges = (cut.part[w.after] == part) & (cut.part[w.before] != part)
    where = chosen[cut.part[w.before[edges]]]
    total = np.bincount(where[where >= 0], w.volume_mb[edges][where >= 0], minlength=len(names))
    return {name: float(mb) for name, mb in zip(names, total, strict=True) if mb > 0}
