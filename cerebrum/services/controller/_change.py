"""One transaction of the leader: rows it loaded, what it changed, the events that say so.

A `Change` is made inside the transaction, on the store's thread, and touches nothing but its own
connection. What has to happen in memory once it is durable (whom to wake, what to plan) is noted
here and done by the context afterwards.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from cerebrum.services.controller._prepared import Prepared
from cerebrum.services.controller._specs import Shape, unpacked
from cerebrum.services.store import schema as db
from cerebrum.services.wire import TERMINAL

_CHUNK = 5000  # numbers in one IN (...): below what either database takes
_MUTABLE = (
    "state", "priority", "position", "part", "cluster", "assignment", "generation",
    "waits_remote", "cancel_requested", "rank_s", "node", "run_id", "attempt", "exit_code",
    "reason", "energy_j", "started_unix_s", "ended_unix_s",
)  # fmt: skip
_COLUMNS = [db.tasks.c.idx, db.tasks.c.name, *(db.tasks.c[name] for name in _MUTABLE)]
_UPDATE = Prepared(
    update(db.tasks)
    .where(db.tasks.c.workflow_id == bindparam("_workflow"), db.tasks.c.idx == bindparam("_idx"))
    .values({name: bindparam(f"_{name}") for name in _MUTABLE})
)
_EVENTS = Prepared(insert(db.events), ["unix_s", "kind", "workflow_id", "task", "cluster", "data"])


@dataclass(slots=True, eq=False)
class TaskRow:
    """A row of `tasks`; written back when the change ends, if `dirty`."""

    idx: int
    name: str
    state: str
    priority: int
    position: int
    part: int | None
    cluster: str | None
    assignment: str | None
    generation: int
    waits_remote: int
    cancel_requested: int
    rank_s: float
    node: str
    run_id: str
    attempt: int
    exit_code: int | None
    reason: str
    energy_j: float
    started_unix_s: float | None
    ended_unix_s: float | None
    dirty: bool = False

    @property
    def ended(self) -> bool:
        """Whether it has its result."""
        return self.state in TERMINAL

    @property
    def out(self) -> bool:
        """Whether an agent may run it now."""
        return self.state in ("held", "running")

    def set(self, **values: Any) -> None:
        """Change columns."""
        for name, value in values.items():
            setattr(self, name, value)
        self.dirty = True


@dataclass(eq=False)
class Change:
    """A transaction under way. `shapes` are workflows that were unpacked before it began."""

    connection: Connection
    epoch: int
    unix_s: float
    shapes: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    woken: set[str] = field(default_factory=set[str])
    to_plan: dict[str, int] = field(default_factory=dict[str, int])
    slots_freed: bool = False
    _news: bool = False
    _events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _rows: dict[str, dict[int, TaskRow]] = field(
        default_factory=lambda: defaultdict[str, dict[int, TaskRow]](dict)
    )
    _ends: dict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict[str, Counter[str]](Counter)
    )

    # -- what is known ------------------------------------------------------------------------

    def shape(self, workflow_id: str) -> Shape:
        """The workflow's tasks and dependencies."""
        found = self.shapes.get(workflow_id)
        if found is None:
            query = select(db.workflows.c.spec).where(db.workflows.c.id == workflow_id)
            found = unpacked(workflow_id, self.connection.execute(query).scalar_one())
            self.shapes = {**self.shapes, workflow_id: found}
        return found

    def tasks(self, workflow_id: str, wanted: Iterable[int] | None = None) -> dict[int, TaskRow]:
        """Rows by idx, all or the `wanted` ones; the same objects within one change."""
        known = self._rows[workflow_id]
        base = select(*_COLUMNS).where(db.tasks.c.workflow_id == workflow_id)
        if wanted is None:
            self._load(known, base)
            return known
        wanted = list(wanted)
        missing = [idx for idx in wanted if idx not in known]
        for at in range(0, len(missing), _CHUNK):
            self._load(known, base.where(db.tasks.c.idx.in_(missing[at : at + _CHUNK])))
        return {idx: known[idx] for idx in wanted if idx in known}

    def task(self, workflow_id: str, idx: int) -> TaskRow:
        """One row."""
        return self.tasks(workflow_id, [idx])[idx]

    def _load(self, known: dict[int, TaskRow], query: Any) -> None:
        for row in self.connection.execute(query):
            if row.idx not in known:
                known[row.idx] = TaskRow(*row)

    # -- what changes -------------------------------------------------------------------------

    def log(
        self,
        kind: str,
        workflow_id: str | None = None,
        task: str | None = None,
        at: str | None = None,
        /,
        **data: Any,
    ) -> None:
        """Note an event, under our epoch; `at` is the cluster, if `data` does not name one."""
        self._events.append(
            {
                "unix_s": self.unix_s,
                "kind": kind,
                "workflow_id": workflow_id,
                "task": task,
                "cluster": at or data.get("cluster"),
                "data": json.dumps({**data, "epoch": self.epoch}, separators=(",", ":")),
            }
        )

    def end(
        self,
        workflow_id: str,
        task: TaskRow,
        state: str,
        reason: str = "",
        cluster: str | None = None,
        **data: Any,
    ) -> None:
        """Give a task its one terminal state. `data` goes into the event."""
        assert not task.ended, f"{workflow_id}/{task.name} has ended {task.state}"
        where = cluster or task.cluster
        if task.cluster is not None:
            self.woken.add(task.cluster)  # a place in its window is free
            self.slots_freed = True
        task.set(
            state=state,
            reason=reason,
            cluster=where,
            ended_unix_s=task.ended_unix_s or self.unix_s,
        )
        self._ends[workflow_id][state] += 1
        described = {
            "generation": task.generation,
            "attempt": task.attempt,
            "node": task.node,
            "run_id": task.run_id,
            "reason": reason,
        }
        self.log(state, workflow_id, task.name, where, **(described | data))

    def flush(self) -> None:
        """Write what was noted since the last time; at the latest when the transaction ends."""
        self._write_tasks()
        ends, self._ends = self._ends, defaultdict[str, Counter[str]](Counter)
        for workflow_id, counts in ends.items():
            self._count(workflow_id, counts)
        events, self._events = self._events, []
        if events:
            _EVENTS.run(self.connection, *events)
            self._news = True

    @property
    def news(self) -> bool:
        """Whether there are events for those who watch."""
        return self._news or bool(self._events)

    def _write_tasks(self) -> None:
        rows = [
            {"_workflow": workflow_id, "_idx": row.idx}
            | {f"_{name}": getattr(row, name) for name in _MUTABLE}
            for workflow_id, rows in self._rows.items()
            for row in rows.values()
            if row.dirty
        ]
        if rows:
            _UPDATE.run(self.connection, *rows)
        for changed in self._rows.values():
            for row in changed.values():
                row.dirty = False

    def _count(self, workflow_id: str, ends: Counter[str]) -> None:
        """Move the counters, and end the workflow with its last task."""
        table, total = db.workflows, sum(ends.values())
        counts = {state: table.c[state] + ends[state] for state in ends}
        here = table.c.id == workflow_id
        self.connection.execute(
            update(table).where(here).values(unended=table.c.unended - total, **counts)
        )
        row = self.connection.execute(select(*_RESULT).where(here)).one()
        self.connection.execute(
            update(db.quotas)
            .where(db.quotas.c.tenant == row.tenant)
            .values(tasks=db.quotas.c.tasks - total)
        )
        if row.unended == 0:
            state = result_of(row)
            self.connection.execute(
                update(table).where(here).values(state=state, to_plan=0, ended_unix_s=self.unix_s)
            )
            self.log("workflow_ended", workflow_id, state=state)


_RESULT = [
    db.workflows.c[name]
    for name in ("tenant", "unended", "failed", "cancelled", "rejected", "cancel_requested")
]


def result_of(row: Any) -> str:
    """How a workflow ended, by the worst end of its tasks."""
    if row.cancel_requested and row.cancelled:
        return "cancelled"
    for state in ("failed", "rejected", "cancelled"):
        if getattr(row, state):
            return state
    return "succeeded"
