"""What the agent holds, in memory and in its database, changed together.

A change happens inside `turn()`: the objects here are changed, and all of it is committed in one
transaction when the block ends. If the commit fails, its outcome is unknown; then memory is
thrown away and read again before the next turn, exactly as after a restart. So there is one way of
coming back, and it is used often.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from cerebrum.services import wire
from cerebrum.services.agent import schema
from cerebrum.services.agent.records import Assignment, HeldRun, HeldTask
from cerebrum.services.ports import Clock, Store

_CHUNK = 500  # parameters in one IN list


class Ledger:
    """Live assignments, tasks and runs by id; `values` are single ones (`schema.meta`).

    `on_load` is called after each reading of the database, inside the turn that needed it, and
    `on_commit` at the end of each turn, to add what is to be stored with it. `on_done` hears after
    each turn whether it changed anything.
    """

    def __init__(self, store: Store, clock: Clock, cluster: str) -> None:
        self.store, self.clock, self.cluster = store, clock, cluster
        self.on_load: Callable[[], None] = _nothing
        self.on_commit: Callable[[], None] = _nothing
        self.on_done: Callable[[bool], None] = _ignored
        self.assignments: dict[str, Assignment] = {}
        self.tasks: dict[str, HeldTask] = {}
        self.runs: dict[str, HeldRun] = {}
        self.values: dict[str, Any] = {}
        self.energy: dict[str, tuple[int, int, int]] = {}
        self.loads = 0
        self._lock = asyncio.Lock()
        self._current = False
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._new: dict[str, list[dict[str, Any]]] = {}
        self._changed: dict[tuple[str, str], HeldTask | HeldRun | Assignment] = {}
        self._gone: dict[str, list[str]] = {}
        self._values: dict[str, Any] = {}
        self._confirmed_seq = 0

    # -- turns ------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One change at a time. Raises `StoreUnavailable`; none of the change is relied on then."""
        async with self._lock:
            try:
                if not self._current:
                    await self._load()
                yield
                changed = await self._commit()
            except BaseException:
                self._current = False
                raise
        self.on_done(changed)

    @asynccontextmanager
    async def held_up(self) -> AsyncGenerator[None]:
        """Until it is left there are no turns."""
        async with self._lock:
            yield

    # -- changing ---------------------------------------------------------------------------

    def add(self, thing: Assignment | HeldTask | HeldRun) -> None:
        """Hold something new; it replaces what had its id."""
        table, key = _place(thing)
        self._of(table)[key] = thing
        self._gone.setdefault(table, []).append(key)
        self._new.setdefault(table, []).append(thing.row())

    def touch(self, thing: Assignment | HeldTask | HeldRun) -> None:
        """Note that something held has changed."""
        self._changed[_place(thing)] = thing

    def let_go(self, thing: Assignment | HeldTask) -> None:
        """Something has ended: keep its row, not the object."""
        table, key = _place(thing)
        self._changed[(table, key)] = thing
        self._of(table).pop(key, None)

    def remove(self, thing: Assignment | HeldTask | HeldRun) -> None:
        """Forget something altogether."""
        table, key = _place(thing)
        self._of(table).pop(key, None)
        self._changed.pop((table, key), None)
        self._new[table] = [r for r in self._new.get(table, []) if r[_KEYS[table]] != key]
        self._gone.setdefault(table, []).append(key)

    def set(self, key: str, value: Any) -> None:
        """Set a single value."""
        self.values[key] = self._values[key] = value

    def number(self) -> int:
        """The next place in the order in which things came."""
        number = int(self.values.get("number", 0)) + 1
        self.set("number", number)
        return number

    def event(self, kind: str, task: HeldTask | None = None, **data: Any) -> None:
        """Append to the history."""
        held = self.assignments.get(task.assignment) if task is not None else None
        self.event_of(
            kind, held.workflow if held else "", task.uid if task is not None else "", **data
        )

    def event_of(self, kind: str, workflow: str, task: str, **data: Any) -> None:
        """Append to the history about something that may not be held."""
        row = {
            "unix_s": self.clock.unix_s(), "kind": kind, "workflow": workflow,
            "task": task, "cluster": self.cluster, "data": data,
        }  # fmt: skip
        self._new.setdefault("events", []).append(row)

    def report(self, task: HeldTask, change: wire.Change, **more: Any) -> None:
        """Put a report in the outbox, unless nobody waits for one."""
        held = self.assignments.get(task.assignment)
        if held is None or held.local:
            return
        seq = int(self.values.get("report_seq", 0)) + 1
        self.set("report_seq", seq)
        body = wire.TaskReport(
            seq=seq, uid=task.uid, generation=task.generation, change=change,
            attempt=task.attempts, unix_s=max(0.0, self.clock.unix_s()), **more,
        )  # fmt: skip
        final = change in ("succeeded", "failed", "cancelled")
        row = {"seq": seq, "uid": task.uid, "final": final, "body": body.model_dump(mode="json")}
        self._new.setdefault("reports", []).append(row)

    def confirmed(self, seq: int) -> None:
        """The controller has everything up to `seq`."""
        self._confirmed_seq = max(self._confirmed_seq, seq)

    def journal(self, session: int, entries: list[list[Any]]) -> None:
        """Keep what the engine was told and the policy answered."""
        row = {"session": session, "entries": json.dumps(entries, separators=(",", ":"))}
        self._new.setdefault("journal", []).append(row)

    def meter(self, node: str, totals: tuple[int, int, int]) -> None:
        """Keep a node's energy: idle pJ, runs pJ, until us."""
        self.energy[node] = totals
        idle, runs, until = (str(amount) for amount in totals)
        self._gone.setdefault("energy", []).append(node)
        rows = self._new.setdefault("energy", [])
        rows[:] = [row for row in rows if row["node"] != node]
        rows.append({"node": node, "idle_pj": idle, "runs_pj": runs, "until_us": until})

    # -- reading ----------------------------------------------------------------------------

    async def ended(self, uids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """State and generation of those of `uids` that ended here and are still on disk."""
        found: dict[str, tuple[str, int]] = {}

        def look(conn: Connection) -> None:
            for start in range(0, len(uids), _CHUNK):
                t = schema.tasks
                query = select(t.c.uid, t.c.state, t.c.generation)
                wanted = t.c.uid.in_(uids[start : start + _CHUNK])
                for uid, state, generation in conn.execute(query.where(wanted)):
                    found[uid] = (state, generation)

        if uids:
            await self.store.read(look)
        return found

    async def outbox(self, limit: int) -> list[wire.TaskReport]:
        """The oldest reports that are not confirmed."""
        query = select(schema.reports.c.body).order_by(schema.reports.c.seq).limit(limit)
        bodies = await self.store.read(lambda conn: list(conn.execute(query).scalars()))
        return [wire.TaskReport.model_validate(body) for body in bodies]

    async def unreported(self) -> list[str]:
        """Uids whose end the controller has not confirmed."""
        query = select(schema.reports.c.uid).where(schema.reports.c.final).distinct()
        return await self.store.read(lambda conn: list(conn.execute(query).scalars()))

    # -- the database -----------------------------------------------------------------------

    async def _load(self) -> None:
        self._forget_changes()
        rows = await self.store.read(_read_all)
        self.values = {row["key"]: row["value"] for row in rows["meta"]}
        self.assignments = {row["id"]: Assignment.of_row(row) for row in rows["assignments"]}
        self.tasks = {row["uid"]: HeldTask.of_row(row) for row in rows["tasks"]}
        self.runs = {row["run_id"]: HeldRun.of_row(row) for row in rows["runs"]}
        self.energy = {
            row["node"]: (int(row["idle_pj"]), int(row["runs_pj"]), int(row["until_us"]))
            for row in rows["energy"]
        }
        for task in self.tasks.values():
            if task.assignment in self.assignments:
                self.assignments[task.assignment].tasks.add(task.uid)
            task.waits_for = {uid for uid in task.after if rows["before"].get(uid) != "succeeded"}
        self._current = True
        self.loads += 1
        self.on_load()

    async def _commit(self) -> bool:
        self.on_commit()
        anything = self._new or self._changed or self._gone or self._values or self._confirmed_seq
        if anything:
            await self.store.write(self._write)
        self._forget_changes()
        return bool(anything)

    def _write(self, conn: Connection) -> None:
        for name, keys in self._gone.items():
            table = schema.metadata.tables[name]
            named = delete(table).where(table.c[_KEYS[name]] == bindparam("gone"))
            conn.execute(named, [{"gone": key} for key in dict.fromkeys(keys)])
        for name, rows in self._new.items():
            if rows:
                conn.execute(insert(schema.metadata.tables[name]), rows)
        self._write_changes(conn)
        if self._values:
            m = schema.meta
            conn.execute(delete(m).where(m.c.key.in_(list(self._values))))
            conn.execute(insert(m), [{"key": k, "value": v} for k, v in self._values.items()])
        if self._confirmed_seq:
            r = schema.reports
            conn.execute(delete(r).where(r.c.seq <= self._confirmed_seq))

    def _write_changes(self, conn: Connection) -> None:
        """Changed rows of a table all have the same columns: one statement, many parameters."""
        by_table: dict[str, list[dict[str, Any]]] = {}
        for (name, key), thing in self._changed.items():
            row = thing.row() if isinstance(thing, Assignment) else thing.changing()
            row.pop(_KEYS[name], None)
            by_table.setdefault(name, []).append({"which": key, **row})
        for name, rows in by_table.items():
            table = schema.metadata.tables[name]
            one = update(table).where(table.c[_KEYS[name]] == bindparam("which"))
            conn.execute(one, rows)

    async def prune(self, keep_ended: int, keep_events: int, keep_journal: int) -> None:
        """Drop the oldest rows beyond what is to be kept.

        The running session's journal stays, and what live tasks wait for or have waited for.
        """
        session = int(self.values.get("session", 0))
        needed = {uid for task in self.tasks.values() for uid in task.after}

        def work(conn: Connection) -> None:
            for table, keep in ((schema.events, keep_events), (schema.journal, keep_journal)):
                newest = conn.execute(select(func.max(table.c.seq))).scalar() or 0
                old = table.c.seq <= newest - keep
                if table is schema.journal:
                    old &= table.c.session < session
                conn.execute(delete(table).where(old))
            t, a = schema.tasks, schema.assignments
            ended = select(t.c.number).where(t.c.live.is_(False)).order_by(t.c.number.desc())
            oldest = conn.execute(ended.offset(keep_ended).limit(1)).scalar()
            if oldest is not None:
                old = select(t.c.uid).where(t.c.live.is_(False), t.c.number <= oldest)
                drop = [{"gone": uid} for uid in conn.execute(old).scalars() if uid not in needed]
                if drop:
                    conn.execute(delete(t).where(t.c.uid == bindparam("gone")), drop)
                left = select(t.c.assignment)
                conn.execute(delete(a).where(a.c.live.is_(False), a.c.id.not_in(left)))

        async with self.turn():
            await self.store.write(work)

    def _of(self, table: str) -> dict[str, Any]:
        held: dict[str, dict[str, Any]] = {
            "assignments": self.assignments, "tasks": self.tasks, "runs": self.runs,
        }  # fmt: skip
        return held[table]


def _nothing() -> None:
    """No one listens."""


def _ignored(changed: bool) -> None:
    """No one listens."""


_KEYS = {"assignments": "id", "tasks": "uid", "runs": "run_id", "energy": "node"}


def _place(thing: Assignment | HeldTask | HeldRun) -> tuple[str, str]:
    match thing:
        case Assignment():
            return "assignments", thing.id
        case HeldTask():
            return "tasks", thing.uid
        case HeldRun():
            return "runs", thing.run_id


def _read_all(conn: Connection) -> dict[str, Any]:
    """Everything live, and the state of what live tasks wait for (`before`)."""
    rows: dict[str, Any] = {}
    for table in (schema.meta, schema.assignments, schema.tasks, schema.runs, schema.energy):
        query = select(table)
        if "live" in table.c:
            query = query.where(table.c.live).order_by(table.c.number)
        rows[table.name] = [dict(row) for row in conn.execute(query).mappings()]
    wanted = sorted({uid for row in rows["tasks"] for uid in row["after"]})
    before: dict[str, str] = {}
    for start in range(0, len(wanted), _CHUNK):
        t = schema.tasks
        some = t.c.uid.in_(wanted[start : start + _CHUNK])
        query = select(t.c.uid, t.c.state).where(some)
        before.update((uid, state) for uid, state in conn.execute(query))
    rows["before"] = before
    return rows
