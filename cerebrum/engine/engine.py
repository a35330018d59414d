"""The engine: `apply(event)` is the only writer, `snapshot()` the only view.

It owns no clock, no I/O, no threads and no randomness. Task events are applied by one compiled
function (`transitions`); node events, which carry objects, are applied here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine import transitions
from cerebrum.engine.log import EventLog
from cerebrum.engine.records import Records
from cerebrum.engine.typical import has_gpus, typical_classes
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.scenario import NodeChange, NodeEvent, Scenario
from cerebrum.model.snapshot import Snapshot, TaskColumns
from cerebrum.model.tasks import TaskTable

TOPOLOGY = {"zone": "topology.kubernetes.io/zone", "rack": "rack", "server": "server"}
_NODE_KINDS = (EventKind.NODE_ADDED, EventKind.NODE_CHANGED, EventKind.NODE_REMOVED)
_LOG_START = 1024


class Engine:
    """One cluster's state. Build it from a scenario, feed it events, decide on its snapshots.

    `key` seeds the random draws of policies (from the caller's `numpy.random.Generator`).
    """

    def __init__(self, scenario: Scenario, key: int = 0) -> None:
        self.scenario = scenario
        self.key = key
        self.nodes: list[Node] = list(scenario.cluster.nodes)
        self.node_names: list[str] = [node.name for node in self.nodes]
        self.node_events: list[NodeEvent] = list(scenario.node_events)
        self.signals: dict[str, float] = {}
        self.forecasts: dict[str, NDArray[np.float64]] = {}
        self._leaving: set[int] = set()
        self._rows = {name: row for row, name in enumerate(self.node_names)}
        self._records = Records()
        self.table = at.Table(counts=at.N_COUNTS, clock=1, changed=_ring(len(self.nodes)))
        self._load_nodes()
        self._load_tasks()
        self._views: dict[str, Any] = {}

    # -- building ---------------------------------------------------------------------------

    def _load_nodes(self) -> None:
        n = len(self.nodes)
        for name in ("nodes", "present", "cordoned", "changed_at"):
            self.table.grow(name, n)
        self.table.state.present[:n] = 1
        counts = self.table.state.counts
        counts[at.ROWS] = n
        counts[at.MAX_ATTEMPTS] = self.scenario.max_attempts
        for row, node in enumerate(self.nodes):
            self._records.write_node(self.table.state.nodes[row], node)
            self.table.state.cordoned[row] = not node.schedulable
        self._rank_rows()
        self.table.state.clock[at.NOW] = -np.inf

    def _rank_rows(self) -> None:
        order = sorted(range(len(self.nodes)), key=self.node_names.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        self.table.replace(rank=rank)
        self.table.state.counts[at.SORTED_RANK] = int(np.all(np.diff(rank) > 0))

    def _load_tasks(self) -> None:
        n = len(self.scenario.tasks)
        self.table.replace(classes=self._records.classes(self.scenario.tasks.classes))
        self._append_tasks(0)
        self.table.grow("log", max(_LOG_START, 4 * n + 16))
        self._judge()
        self._load_typical()

    def _append_tasks(self, first: int) -> None:
        """Columns for the tasks of the scenario from index `first` on."""
        tasks, n = self.scenario.tasks, len(self.scenario.tasks)
        new = {
            "t_class": tasks.class_id, "t_state": 0, "t_row": -1, "t_gpus": 0, "t_ways": 0,
            "t_priority": tasks.priority, "t_job": tasks.job_id, "t_attempts": 0, "t_refused": 0,
            "t_submit": tasks.submit_s, "t_duration": tasks.duration_s, "t_started": np.nan,
            "t_not_before": -np.inf,
        }  # fmt: skip
        old = self.table.state
        self.table.replace(
            **{
                name: np.concatenate(
                    [getattr(old, name)[:first], np.broadcast_to(values, (n,))[first:]]
                )
                for name, values in new.items()
            },
            **self._jobs(),
        )
        self.table.grow("pending", max(64, n))

    def admit(self, tasks: TaskTable) -> range:
        """New tasks for a living engine; the ids they get. They are unknown until SUBMITTED.

        Classes seen before are recognised. Raises `InputError` when a name is taken.
        """
        first, known = len(self.scenario.tasks), len(self.scenario.tasks.classes)
        joined = self.scenario.tasks.joined(tasks)
        added = self._records.classes(joined.classes[known:])
        self.scenario = replace(self.scenario, tasks=joined)
        if len(added):
            self.table.replace(classes=np.concatenate([self.table.state.classes, added]))
            self._judge()
        self._append_tasks(first)
        self._views.clear()
        return range(first, len(joined))

    def _jobs(self) -> dict[str, NDArray[Any]]:
        jobs, job_id = self.scenario.tasks.jobs, self.scenario.tasks.job_id
        order = np.argsort(job_id, kind="stable")
        members = order[job_id[order] >= 0]
        size = np.bincount(job_id[job_id >= 0], minlength=len(jobs))
        return {
            "j_gang": np.array([job.gang for job in jobs], np.int32),
            "j_first": np.concatenate([[0], np.cumsum(size)[:-1]])[: len(jobs)],
            "j_size": size,
            "members": members,
        }

    def _judge(self) -> None:
        forbidden, preference, disliked = self._records.constraints.judge(self.nodes)
        labelled = self._records.constraints.labelled or bool(disliked.any())
        empty = np.zeros(0)
        self.table.replace(
            forbidden=forbidden.ravel(),
            preference=preference.ravel() if labelled else empty,
            disliked=disliked.ravel() if labelled else empty,
        )
        self.table.state.counts[at.LABELLED] = int(labelled)

    def _load_typical(self) -> None:
        tasks = self.scenario.tasks
        typical = self.scenario.typical
        if typical is None:
            typical = typical_classes(tasks) if has_gpus(tasks.classes) else ()
        records = self._records.classes([c for c, _ in typical])
        if len(records):
            records["popularity"] = _whole(np.array([weight for _, weight in typical], np.float64))
            records["popularity_total"] = records["popularity"].sum()
        records["reserved"] = np.arange(len(records))  # the order given, before sorting
        order = np.argsort(records["gpu_milli"], kind="stable")
        self.table.replace(typical=records[order])
        self.table.state.counts[at.TYPICAL] = int(len(records) > 0)
        transitions.renew_rows(self.table.handle)

    # -- writing ----------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Change the state by one event and log it. Raises `InvalidEvent`, changing nothing."""
        if event.kind in _NODE_KINDS:
            self._apply_node(event)
            return
        if event.kind == EventKind.SIGNAL_CHANGED:
            self._log(event)
            return
        if not 0 <= event.subject < len(self.scenario.tasks):
            raise InvalidEvent(f"{event}: there is no task {event.subject}")
        self.make_room(1)
        error = transitions.apply_one(
            self.table.handle, event.time_s, int(event.kind), event.subject, event.row,
            event.gpus, event.reason, event.cache_ways, event.value,
        )  # fmt: skip
        if error:
            name = self.scenario.tasks.names[event.subject]
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

    def _apply_node(self, event: Event) -> None:
        if not 0 <= int(event.value) < len(self.node_events):
            raise InvalidEvent(f"{event}: the scenario has no such node event")
        change = self.node_events[int(event.value)]
        if event.kind == EventKind.NODE_ADDED:
            self._join(event, change)
            return
        row = self.row_of(change.name)
        s = self.table.state
        if change.change == NodeChange.UNCORDON:
            s.cordoned[row] = 0
            self._leaving.discard(row)
            s.counts[at.FREED] += 1
        elif event.kind == EventKind.NODE_REMOVED:
            if (s.t_row == row).any():
                raise InvalidEvent(f"node {change.name!r} cannot go: tasks run on it")
            s.present[row] = 0
        else:
            s.cordoned[row] = 1
            if change.change == NodeChange.LEAVE:
                self._leaving.add(row)
        transitions.touch_row(self.table.handle, row)
        self._log(event, subject=row)
        if self._leaving:
            self._see_off()

    def _join(self, event: Event, change: NodeEvent) -> None:
        node = change.node
        if node is None or node.name in self._rows:
            raise InvalidEvent(f"node {change.name!r} cannot join: it is there, or not described")
        row = len(self.nodes)
        self.nodes.append(node)
        self.node_names.append(node.name)
        self._rows[node.name] = row
        for name in ("nodes", "present", "cordoned", "changed_at"):
            self.table.grow(name, row + 1)
        self.table.grow("changed", _ring(row + 1))
        s = self.table.state
        s.counts[at.ROWS] = row + 1
        s.present[row] = 1
        self._records.write_node(s.nodes[row], node)
        s.cordoned[row] = not node.schedulable
        self._rank_rows()
        self._judge()
        self.table.state.counts[at.FREED] += 1
        transitions.touch_row(self.table.handle, row)
        self._views.clear()
        self._log(event, subject=row)

    def _see_off(self) -> None:
        """Remove nodes that wanted to leave and are empty now."""
        s = self.table.state
        for row in sorted(self._leaving):
            if not (s.t_row == row).any():
                s.present[row] = 0
                self._leaving.discard(row)
                transitions.touch_row(self.table.handle, row)

    def _log(self, event: Event, subject: int | None = None) -> None:
        s = self.table.state
        if not event.time_s >= s.clock[at.NOW]:
            raise InvalidEvent(f"{event}: {transitions.ERRORS[transitions.PAST]}")
        self.make_room(1)
        s = self.table.state
        s.clock[at.NOW] = event.time_s
        row = s.log[s.counts[at.LOGGED]]
        row["time_s"], row["value"], row["kind"] = event.time_s, event.value, int(event.kind)
        row["subject"] = event.subject if subject is None else subject
        row["row"], row["gpus"], row["reason"], row["cache_ways"] = -1, 0, event.reason, 0
        s.counts[at.LOGGED] += 1

    def make_room(self, rows: int) -> None:
        """Have space for that many more rows of the log."""
        if self.table.state.counts[at.LOGGED] + rows > len(self.table.state.log):
            self.table.grow("log", 2 * len(self.table.state.log) + rows)

    # -- reading ----------------------------------------------------------------------------

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
        """Whether every task is in a terminal state."""
        return int(self.table.state.counts[at.TERMINAL]) == len(self.scenario.tasks)

    @property
    def log(self) -> EventLog:
        """The log so far, a read-only view."""
        return EventLog(self.table.state.log[: self.table.state.counts[at.LOGGED]])

    def row_of(self, name: str) -> int:
        """The row of a node by name. Raises `InvalidEvent` for one that is not there."""
        row = self._rows.get(name, -1)
        if row < 0 or not self.table.state.present[row]:
            raise InvalidEvent(f"there is no node {name!r}")
        return row

    def snapshot(self) -> Snapshot:
        """What a policy may see now. Valid until the next `apply`."""
        s = self.table.state
        if not self._views or self._views["of"] is not s:
            self._views = self._make_views()
        usable = (s.present[: s.counts[at.ROWS]] & (s.cordoned[: s.counts[at.ROWS]] == 0)) != 0
        return Snapshot(
            time_s=self.now_s,
            version=self.version,
            key=self.key,
            nodes=self._views["nodes"],
            node_names=self.node_names,
            usable=usable,
            rank=self._views["rank"],
            tasks=self._views["tasks"],
            task_names=self.scenario.tasks.names,
            classes=self._views["classes"],
            typical=self._views["typical"],
            topology=self._views["topology"],
            signals=self.signals,
            forecasts=self.forecasts,
            state=self.table,
            queue=self._queue,
            active=self._active,
            allowed=self._allowed,
            gang=self._gang,
            changed_since=self._changed_since,
        )

    def _make_views(self) -> dict[str, Any]:
        s, tasks = self.table.state, self.scenario.tasks
        n = int(s.counts[at.ROWS])
        requested = np.where(np.isnan(tasks.requested_s), tasks.duration_s, tasks.requested_s)
        columns = {
            "class_id": s.t_class, "state": s.t_state, "row": s.t_row, "gpus": s.t_gpus,
            "priority": s.t_priority, "job_id": s.t_job, "submit_s": s.t_submit,
            "requested_s": requested, "started_s": s.t_started,
            "not_before_s": s.t_not_before, "attempts": s.t_attempts,
            "preemptible": tasks.preemptible, "refused": s.t_refused,
        }  # fmt: skip
        return {
            "of": s,
            "nodes": _frozen(s.nodes[:n]),
            "rank": _frozen(s.rank[:n]),
            "tasks": TaskColumns(**{name: _frozen(a) for name, a in columns.items()}),
            "classes": _frozen(s.classes),
            "typical": _frozen(s.typical),
            "topology": {name: self._label_ids(key) for name, key in TOPOLOGY.items()},
        }

    def _label_ids(self, key: str) -> NDArray[np.int32]:
        ids: dict[str, int] = {}
        values = (node.labels.get(key) for node in self.nodes)
        return np.array(
            [-1 if v is None else ids.setdefault(v, len(ids)) for v in values], np.int32
        )

    def _queue(self) -> NDArray[np.int32]:
        s = self.table.state
        queued = s.pending[: s.counts[at.PENDING]]
        ready = (s.t_state[queued] == TaskState.PENDING) & (s.t_not_before[queued] <= self.now_s)
        # A task that came back stands beside the entry it left: its place in the order is the same.
        ready[1:] &= queued[1:] != queued[:-1]
        return queued[ready]

    def _active(self) -> NDArray[np.int32]:
        return np.flatnonzero(self.table.state.t_row >= 0).astype(np.int32)

    def _allowed(self, class_id: int) -> NDArray[np.bool_]:
        s = self.table.state
        n, k = int(s.counts[at.ROWS]), int(s.classes[class_id]["constraints"])
        return s.forbidden[k * n : (k + 1) * n] == 0

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


def _ring(nodes: int) -> int:
    """Length of the change ring: a power of two, long enough to beat rescoring every node."""
    return max(4096, 1 << (2 * max(1, nodes) - 1).bit_length())
