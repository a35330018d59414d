"""The engine: `apply(event)` is the only writer, `snapshot()` the only view.

It owns no clock, no I/O, no threads and no randomness. Task events are applied by one compiled
function (`transitions`); node events, which carry objects, are applied here. `admit` and `retire`
say which tasks there are: told again in the same order, with the same events between them, they
give the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine import transitions
from cerebrum.engine.fleet import Fleet
from cerebrum.engine.log import EventLog
from cerebrum.engine.peer_views import admitted, refusals_of
from cerebrum.engine.records import Records
from cerebrum.engine.roster import Roster
from cerebrum.engine.typical import has_gpus, typical_classes
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.snapshot import Snapshot, TaskColumns
from cerebrum.model.tasks import TaskClass, TaskTable

TOPOLOGY = {"zone": "topology.kubernetes.io/zone", "rack": "rack", "server": "server"}
_NODE_KINDS = (EventKind.NODE_ADDED, EventKind.NODE_CHANGED, EventKind.NODE_REMOVED)
_LOG_START = 1024


class Engine:
    """One cluster's state. Build it from a scenario, feed it events, decide on its snapshots.

    `key` seeds the random draws of policies (from the caller's `numpy.random.Generator`).
    `reuse_rows` gives rows of removed nodes to nodes that join, so that nodes can come and go for
    months; without it a row belongs to one node for good, which metrics of the log rely on.
    """

    def __init__(self, scenario: Scenario, key: int = 0, reuse_rows: bool = False) -> None:
        self.key = key
        self.node_events: list[NodeEvent] = list(scenario.node_events)
        self.signals: dict[str, float] = {}
        self.forecasts: dict[str, NDArray[np.float64]] = {}
        self._leaving: set[int] = set()
        self._scenario = self._first = scenario
        self._joined = True  # whether `_scenario` holds every task
        self.table = at.Table(counts=at.N_COUNTS, clock=1)
        self._records = Records()
        self.fleet = Fleet(self.table, self._records, scenario.cluster.nodes, reuse_rows)
        self.roster = Roster(self.table, self._records, scenario.tasks, self.fleet.peers)
        self.table.grow("log", max(_LOG_START, 4 * len(scenario.tasks) + 16))
        self.table.state.counts[at.MAX_ATTEMPTS] = scenario.max_attempts
        self.table.state.clock[at.NOW] = -np.inf
        self._count_against(self._first_typical())
        self.fleet.masks.judge_new_sets(len(self.fleet.nodes))
        self._views: dict[str, Any] = {}

    def _first_typical(self) -> Sequence[tuple[TaskClass, float]]:
        tasks = self._first.tasks
        if self._first.typical is not None:
            return self._first.typical
        return typical_classes(tasks) if has_gpus(tasks.classes) else ()

    def measure_against(self, typical: Sequence[tuple[TaskClass, float]]) -> None:
        """Fragmentation counts these (class, weight) pairs from now on.

        A living cluster learns what is typical there. Like `admit`, a replay needs it at the same
        place among the events.
        """
        self._count_against(typical)
        for row in range(int(self.table.state.counts[at.ROWS])):
            transitions.touch_row(self.table.handle, row)  # scores of every node are stale
        self._views.clear()

    def _count_against(self, typical: Sequence[tuple[TaskClass, float]]) -> None:
        records = self._records.classes([c for c, _ in typical])
        if len(records):
            records["popularity"] = _whole(np.array([weight for _, weight in typical], np.float64))
            records["popularity_total"] = records["popularity"].sum()
        records["reserved"] = np.arange(len(records))  # the order given, before sorting
        order = np.argsort(records["gpu_milli"], kind="stable")
        self.table.replace(typical=records[order])
        self.table.state.counts[at.TYPICAL] = int(len(records) > 0)
        transitions.renew_rows(self.table.handle)

    # -- who is there -------------------------------------------------------------------------

    def admit(self, tasks: TaskTable) -> NDArray[np.int64]:
        """New tasks for a living engine; their ids, ascending. They are unknown until SUBMITTED.

        Ids of retired tasks are given again, the lowest first. Classes, label sets and jobs seen
        before are recognised: a job of a known name goes on, and its gang is as large as was said
        last. Takes time for the new tasks only. Raises `InputError`, changing nothing, when a name
        is taken by a task that has not been retired.
        """
        ids = self.roster.admit(tasks)
        self.fleet.masks.judge_new_sets(len(self.fleet.nodes))
        self._joined = False
        return ids

    def retire(self, ids: Sequence[int] | NDArray[np.integer]) -> None:
        """Give up tasks in a terminal state, or never submitted: names and ids are free again.

        A job all of whose members are retired is given up with them. Raises `InvalidEvent`,
        changing nothing, for a task that can still run.
        """
        self.roster.retire(ids)
        self._joined = False

    # -- writing ----------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Change the state by one event and log it. Raises `InvalidEvent`, changing nothing."""
        if event.kind in _NODE_KINDS:
            self._apply_node(event)
            return
        if event.kind == EventKind.SIGNAL_CHANGED:
            self._log(event)
            return
        if not self.roster.holds(event.subject):
            raise InvalidEvent(f"{event}: there is no task {event.subject}")
        self.make_room(1)
        error = transitions.apply_one(
            self.table.handle, event.time_s, int(event.kind), event.subject, event.row,
            event.gpus, event.reason, event.cache_ways, event.value,
        )  # fmt: skip
        if error:
            name = self.roster.names[event.subject]
            raise InvalidEvent(
                f"{event.kind.name.lower()} of task {name!r} at {event.time_s} s is refused: "
                f"{transitions.ERRORS[error]}"
            )
        if self._leaving:
            self._see_off()

    def replay(self, log: EventLog) -> None:
        """Apply a whole log. Raises `InvalidEvent` at the first row that does not follow."""
        rows, done = log.rows, 0
        self.make_room(len(rows))
        while done < len(rows):
            if not self._leaving:  # nodes that leave are watched here, event by event
                done += transitions.apply_many(self.table.handle, rows[done:])
            if done < len(rows):
                r = rows[done]
                self.apply(
                    Event(
                        float(r["time_s"]), EventKind(int(r["kind"])), int(r["subject"]),
                        int(r["row"]), int(r["gpus"]), int(r["reason"]), int(r["cache_ways"]),
                        float(r["value"]),
                    )
                )  # fmt: skip
                done += 1

    def change_node(self, change: NodeEvent) -> None:
        """A node event that the scenario did not foresee, at its time. Raises like `apply`."""
        kinds = {NodeChange.JOIN: EventKind.NODE_ADDED, NodeChange.FAIL: EventKind.NODE_REMOVED}
        kind = kinds.get(change.change, EventKind.NODE_CHANGED)
        self.node_events.append(change)
        try:
            self.apply(Event(change.time_s, kind, -1, value=float(len(self.node_events) - 1)))
        except (InvalidEvent, InputError):
            self.node_events.pop()
            raise

    def _apply_node(self, event: Event) -> None:
        if not 0 <= int(event.value) < len(self.node_events):
            raise InvalidEvent(f"{event}: the scenario has no such node event")
        self._check_time(event)
        change = self.node_events[int(event.value)]
        adds = event.kind == EventKind.NODE_ADDED
        row = self._join(change) if adds else self._change(event, change)
        transitions.touch_row(self.table.handle, row)
        self._log(event, subject=row)
        if self._leaving:
            self._see_off()

    def _join(self, change: NodeEvent) -> int:
        node = change.node
        if node is None or node.name in self.fleet.rows:
            raise InvalidEvent(f"node {change.name!r} cannot join: it is there, or not described")
        row = self.fleet.join(node)
        self.table.state.counts[at.FREED] += 1
        return row

    def _change(self, event: Event, change: NodeEvent) -> int:
        row, s = self.row_of(change.name), self.table.state
        if change.change == NodeChange.UPDATE:
            self._update(row, change)
        elif change.change == NodeChange.UNCORDON:
            s.cordoned[row] = 0
            self._leaving.discard(row)
            s.counts[at.FREED] += 1
        elif event.kind == EventKind.NODE_REMOVED:
            if (s.t_row == row).any():
                raise InvalidEvent(f"node {change.name!r} cannot go: tasks run on it")
            self._leaving.discard(row)
            self.fleet.remove(row)
        else:
            s.cordoned[row] = 1
            if change.change == NodeChange.LEAVE:
                self._leaving.add(row)
        return row

    def _update(self, row: int, change: NodeEvent) -> None:
        """The node is what is described now; one that leaves still leaves."""
        if change.node is None or change.node.name != change.name:
            raise InvalidEvent(f"node {change.name!r} cannot change: expected its new description")
        self.fleet.update(row, change.node)
        if row in self._leaving:
            self.table.state.cordoned[row] = 1
        self.table.state.counts[at.FREED] += 1

    def _see_off(self) -> None:
        """Remove nodes that wanted to leave and are empty now."""
        s = self.table.state
        for row in sorted(self._leaving):
            if not (s.t_row == row).any():
                self.fleet.remove(row)
                self._leaving.discard(row)
                transitions.touch_row(self.table.handle, row)

    def _check_time(self, event: Event) -> None:
        if not event.time_s >= self.now_s:
            raise InvalidEvent(f"{event}: {transitions.ERRORS[transitions.PAST]}")

    def _log(self, event: Event, subject: int | None = None) -> None:
        self._check_time(event)
        self.make_room(1)
        s = self.table.state
        s.clock[at.NOW] = event.time_s
        row = s.log[s.counts[at.LOGGED]]
        row["time_s"], row["value"], row["kind"] = event.time_s, event.value, int(event.kind)
        row["subject"] = event.subject if subject is None else subject
        row["row"], row["gpus"], row["reason"], row["cache_ways"] = -1, 0, event.reason, 0
        s.counts[at.LOGGED] += 1

    def drain_log(self) -> tuple[EventLog, tuple[NodeEvent, ...]]:
        """The log since the last call, with the node events its values index; both start anew.

        For an engine that lives for months, and to which nothing is foretold.
        """
        log, events = EventLog(self.log.rows.copy()), tuple(self.node_events)
        self.table.state.counts[at.LOGGED] = 0
        self.node_events.clear()
        return log, events

    def make_room(self, rows: int) -> None:
        """Have space for that many more rows of the log."""
        if self.table.state.counts[at.LOGGED] + rows > len(self.table.state.log):
            self.table.grow("log", 2 * len(self.table.state.log) + rows)

    # -- reading ----------------------------------------------------------------------------

    @property
    def scenario(self) -> Scenario:
        """Where it began, with all tasks and node events of now; put together when asked for."""
        if not self._joined or len(self._scenario.node_events) != len(self.node_events):
            tasks = self._scenario.tasks if self._joined else self.roster.tasks()
            events = tuple(self.node_events)
            self._scenario = replace(self._first, tasks=tasks, node_events=events)
            self._joined = True
        return self._scenario

    @property
    def nodes(self) -> Sequence[Node]:
        """Descriptions by row; a row without a node keeps that of its last one."""
        return self.fleet.nodes

    @property
    def node_names(self) -> Sequence[str]:
        """Names by row; a row without a node keeps the name of its last one."""
        return self.fleet.names

    @property
    def now_s(self) -> float:
        """Time of the last event; -inf before the first."""
        return float(self.table.state.clock[at.NOW])

    @property
    def version(self) -> int:
        """Changes of node rows so far."""
        return int(self.table.state.counts[at.VERSION])

    @property
    def done(self) -> bool:
        """Whether every task that has not been retired is in a terminal state."""
        return int(self.table.state.counts[at.TERMINAL]) == self.roster.living

    @property
    def log(self) -> EventLog:
        """The log so far, a read-only view."""
        return EventLog(self.table.state.log[: self.table.state.counts[at.LOGGED]])

    def row_of(self, name: str) -> int:
        """The row of a node by name. Raises `InvalidEvent` for one that is not there."""
        row = self.fleet.rows.get(name, -1)
        if row < 0:
            raise InvalidEvent(f"there is no node {name!r}")
        return row

    def snapshot(self) -> Snapshot:
        """What a policy may see now. Valid until the next `apply`, `admit` or `retire`."""
        self.fleet.rank()
        s = self.table.state
        used = tuple(s.counts[[at.ROWS, at.TASKS, at.CLASSES]])
        if not self._views or self._views["of"] is not s or self._views["used"] != used:
            self._views = {"of": s, "used": used, **self._make_views()}
        usable = (s.present[: used[0]] & (s.cordoned[: used[0]] == 0)) != 0
        return Snapshot(
            time_s=self.now_s,
            version=self.version,
            key=self.key,
            nodes=self._views["nodes"],
            node_names=self.fleet.names,
            usable=usable,
            rank=self._views["rank"],
            tasks=self._views["tasks"],
            task_names=self.roster.names,
            classes=self._views["classes"],
            typical=self._views["typical"],
            topology=self._views["topology"],
            signals=self.signals,
            forecasts=self.forecasts,
            state=self.table,
            queue=self._queue,
            active=self._active,
            allowed=self._allowed,
            admitted=self._admitted,
            refusals=self._refusals,
            gang=self._gang,
            changed_since=self._changed_since,
        )

    def _make_views(self) -> dict[str, Any]:
        s, own, tasks = self.table.state, self.roster.own, len(self.roster)
        columns = {
            "class_id": s.t_class, "state": s.t_state, "row": s.t_row, "gpus": s.t_gpus,
            "priority": s.t_priority, "job_id": s.t_job, "submit_s": s.t_submit,
            "requested_s": own["requested_s"], "started_s": s.t_started,
            "not_before_s": s.t_not_before, "attempts": s.t_attempts,
            "preemptible": own["preemptible"], "refused": s.t_refused,
        }  # fmt: skip
        return {
            "nodes": _frozen(s.nodes[: s.counts[at.ROWS]]),
            "rank": _frozen(s.rank[: s.counts[at.ROWS]]),
            "tasks": TaskColumns(**{name: _frozen(a[:tasks]) for name, a in columns.items()}),
            "classes": _frozen(s.classes[: s.counts[at.CLASSES]]),
            "typical": _frozen(s.typical),
            "topology": {name: _frozen(self.fleet.domains(key)) for name, key in TOPOLOGY.items()},
        }

    def _queue(self) -> NDArray[np.int32]:
        s = self.table.state
        queued = s.pending[: s.counts[at.PENDING]]
        ready = (s.t_state[queued] == TaskState.PENDING) & (s.t_not_before[queued] <= self.now_s)
        # A task that came back stands beside the entry it left: its place in the order is the same.
        ready[1:] &= queued[1:] != queued[:-1]
        return queued[ready]

    def _active(self) -> NDArray[np.int32]:
        return np.flatnonzero(self.table.state.t_row >= 0).astype(np.int32)  # unused ids: -1

    def _allowed(self, class_id: int) -> NDArray[np.bool_]:
        s = self.table.state
        first = int(s.classes[class_id]["constraints"]) * int(s.counts[at.STRIDE])
        return s.forbidden[first : first + int(s.counts[at.ROWS])] == 0

    def _admitted(self, task: int) -> NDArray[np.bool_]:
        return self._allowed(int(self.table.state.t_class[task])) & admitted(self.table, task)

    def _refusals(self, task: int) -> NDArray[np.int32]:
        return refusals_of(self.table, task)

    def _gang(self, job: int) -> tuple[int, NDArray[np.int32]]:
        s = self.table.state
        first = int(s.j_first[job])
        return int(s.j_gang[job]), s.members[first : first + int(s.j_size[job])]

    def _changed_since(self, version: int) -> NDArray[np.int32] | None:
        s = self.table.state
        if self.version - version > len(s.changed):
            return None
        ring = np.arange(version, self.version) & (len(s.changed) - 1)
        return np.unique(s.changed[ring])


def _whole(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Weights as whole numbers: counts stay as they are, fractions keep nine digits."""
    if (weights == np.rint(weights)).all():
        return weights.astype(np.int64)
    return np.rint(weights / weights.sum() * 1e9).astype(np.int64)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
