"""What the modules of the controller share: ports, settings, and what is held in memory.

Nothing here is the truth: all of it is made from the database by `load`, at an election and
whenever the outcome of a write is unknown.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Integer, func, literal_column, select

from cerebrum.services.controller import rollouts
from cerebrum.services.controller._change import Change
from cerebrum.services.controller._ids import new_id
from cerebrum.services.controller._sessions import Backlog, Session
from cerebrum.services.controller._specs import Shape, ShapeCache, unpacked
from cerebrum.services.controller.election import Leadership, check_epoch
from cerebrum.services.controller.settings import ControllerSettings
from cerebrum.services.errors import Refused
from cerebrum.services.ports import Clock, Compute, Store, at_once
from cerebrum.services.rollouts import Desk
from cerebrum.services.store import schema as db

T = TypeVar("T")
LARGE_BYTES = 10_000
"""Of a stored workflow: a thousand tasks or so. Above this, unpacking would hold up the event loop.
"""

# Literal, not bound: PostgreSQL must see the same expression in SELECT and in GROUP BY.
_WAITING = literal_column(
    "CASE WHEN tasks.state IN ('assigned', 'offered') THEN 1 ELSE 0 END", Integer
).label("waiting")


class Queue:
    """Workflows that wait for a decision, by priority, then age."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._known: set[str] = set()
        self.news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._known)

    def push(self, workflow_id: str, priority: int) -> None:
        """Add it, if it is not here."""
        if workflow_id not in self._known:
            self._known.add(workflow_id)
            heapq.heappush(self._heap, (-priority, workflow_id))
        self.news.set()

    def pop(self) -> tuple[str, int]:
        """The next one and its priority. Raises `IndexError`."""
        negative, workflow_id = heapq.heappop(self._heap)
        self._known.discard(workflow_id)
        return workflow_id, -negative

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self._known.clear()


class Context:
    """Shared state of one controller."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: ControllerSettings,
        rng: np.random.Generator,
        name: str,
        url: str,
        compute: Compute = at_once,
        rollout: Desk | None = None,
    ) -> None:
        self.rollout = rollout
        self.store, self.clock, self.settings, self.compute = store, clock, settings, compute
        self._rng = rng
        self.leadership = Leadership(store, clock, name, url, settings.leader_ttl_s)
        self.sessions: dict[str, Session] = {}
        self.numbers = itertools.count(1)  # of what is stored of clusters, in that order
        self.queue = Queue()
        self.shapes = ShapeCache()
        self.halted = False
        self.halted_s = -math.inf  # when it was so last
        self.capacity_version = 0
        self.avoided: dict[str, set[str]] = {}
        self._unsure = True
        self._changed = asyncio.Event()

    def new_id(self, letter: str) -> str:
        """A fresh identifier."""
        return new_id(letter, self.clock.unix_s(), self._rng)

    # -- the database -------------------------------------------------------------------------

    async def write(
        self, work: Callable[[Change], T], shapes: Iterable[Shape] = (), *, epoch: int | None = None
    ) -> T:
        """Run `work` in a transaction that holds only under our epoch; then wake whom it concerns.

        Raises what `work` raises, `LeadershipLost`, `Refused` on a standby, `StoreUnavailable`.
        """
        mine = self.leadership.require() if epoch is None else epoch
        known: Mapping[str, Shape] = {shape.id: shape for shape in shapes}
        unix_s = self.clock.unix_s()
        changes: list[Change] = []

        def fenced(connection: Connection) -> T:
            check_epoch(connection, mine)
            change = Change(connection, mine, unix_s, known)
            result = work(change)
            change.flush()
            changes.append(change)
            return result

        try:
            result = await self.store.write(fenced)
        except Refused:
            raise
        except BaseException:
            # Stored or not, nobody knows: what is in memory is made anew from the database.
            self.unsure()
            raise
        self._applied(changes[-1])
        return result

    def _applied(self, change: Change) -> None:
        for cluster in change.woken:
            session = self.sessions.get(cluster)
            if session is not None:
                session.wake()
        for workflow_id, priority in change.to_plan.items():
            self.queue.push(workflow_id, priority)
        if change.slots_freed:
            self.queue.news.set()
        if change.news:
            self.notify()

    async def shape(self, workflow_id: str) -> Shape | None:
        """The workflow's tasks and dependencies; None when there is no such workflow."""
        found = self.shapes.get(workflow_id)
        if found is None:
            query = select(db.workflows.c.spec).where(db.workflows.c.id == workflow_id)
            blob = await self.store.read(lambda connection: connection.scalar(query))
            if blob is None:
                return None
            if len(blob) > LARGE_BYTES:
                found = await self.compute(lambda: unpacked(workflow_id, blob))
            else:
                found = unpacked(workflow_id, blob)
            self.shapes.put(found)
        return found

    async def shapes_of(self, workflow_ids: Iterable[str]) -> dict[str, Shape]:
        """Those of them that exist."""
        found = {w: await self.shape(w) for w in sorted(set(workflow_ids))}
        return {w: shape for w, shape in found.items() if shape is not None}

    # -- what is held in memory ---------------------------------------------------------------

    def unsure(self) -> None:
        """What is in memory may differ from the database."""
        self._unsure = True
        self.queue.news.set()
        for session in self.sessions.values():
            session.wake()

    async def load(self) -> None:
        """Make everything in memory from the database; leases start now."""
        now_s = self.clock.monotonic_s()
        sessions, others = await self.store.read(_sessions)
        self.sessions = {row.id: Session.of_row(row, now_s) for row in sessions}
        for cluster, identity in others:
            self.sessions[cluster].others[identity] = now_s
        if self.rollout is not None:
            self.rollout.restore(await self.store.read(rollouts.stored))
        self._unsure = True
        await self.load_queue()

    async def load_queue(self) -> None:
        """Make the planner's queue anew, if it may be wrong."""
        if not self._unsure:
            return
        self._unsure = False
        table = db.workflows
        query = select(table.c.id, table.c.priority).where(db.TO_PLAN)
        try:
            rows = await self.store.read(lambda connection: connection.execute(query).all())
        except BaseException:
            self._unsure = True
            raise
        for row in rows:
            self.queue.push(row.id, row.priority)

    async def read_backlogs(self) -> None:
        """What each cluster has to do, from the database."""
        replaced = any(session.others for session in self.sessions.values())
        rows, gone = await self.store.read(lambda connection: _work(connection, replaced))
        fresh = {name: Backlog() for name in self.sessions}
        for cluster, waits, count, work_core_s, cpu_milli in rows:
            backlog = fresh.get(cluster)
            if backlog is not None:
                backlog.tasks += count
                if waits:
                    backlog.waiting_core_s, backlog.waiting_cpu_milli = work_core_s, int(cpu_milli)
                else:
                    backlog.held_core_s = work_core_s
        for cluster, count, work_core_s in gone:
            backlog = fresh.get(cluster)
            if backlog is not None:
                backlog.tasks -= count
                backlog.held_core_s = max(0.0, backlog.held_core_s - work_core_s)
        for name, backlog in fresh.items():
            if name in self.sessions:
                self.sessions[name].backlog = backlog

    # -- those who watch ----------------------------------------------------------------------

    def notify(self) -> None:
        """There are new events."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def changed(self) -> asyncio.Event:
        """Set with the next events."""
        return self._changed


def _work(connection: Connection, replaced: bool) -> tuple[Sequence[Any], Sequence[Any]]:
    """(cluster, whether it waits, tasks, core-seconds, mCPU) of all there is to do, and what of it
    earlier agents have; the latter only if agents were `replaced`."""
    table, waiting = db.tasks, _WAITING
    query = (
        select(
            table.c.cluster,
            waiting,
            func.count(),
            func.sum(table.c.core_s),
            func.sum(table.c.cpu_milli),
        )
        .where(db.IS_ACTIVE)
        .group_by(table.c.cluster, waiting)
    )
    rows = connection.execute(query).all()
    return rows, _held_by_others(connection) if replaced else ()


def _held_by_others(connection: Connection) -> Sequence[Any]:
    """(cluster, tasks, core-seconds) that earlier agents of a cluster have: nothing that its agent
    of now has to do."""
    tasks, assignments, clusters = db.tasks, db.assignments, db.clusters
    query = (
        select(tasks.c.cluster, func.count(), func.sum(tasks.c.core_s))
        .join(clusters, clusters.c.id == tasks.c.cluster)
        .join(assignments, assignments.c.id == tasks.c.assignment)
        .where(db.IS_OUT, assignments.c.identity != clusters.c.identity)
        .group_by(tasks.c.cluster)
    )
    return connection.execute(query).all()


def _sessions(connection: Connection) -> tuple[list[Any], list[tuple[str, str]]]:
    """Clusters, and (cluster, identity) of earlier agents that still hold something."""
    sessions = connection.execute(select(db.clusters)).all()
    tasks, assignments, clusters = db.tasks, db.assignments, db.clusters
    others = connection.execute(
        select(clusters.c.id, assignments.c.identity)
        .join(tasks, tasks.c.cluster == clusters.c.id)
        .join(assignments, assignments.c.id == tasks.c.assignment)
        .where(db.IS_OUT, assignments.c.identity != clusters.c.identity)
        .distinct()
    ).all()
    return list(sessions), [(row[0], row[1]) for row in others]
