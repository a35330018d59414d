"""The tasks of an engine by id: names, classes and columns, while tasks come and go for months.

`admit` costs what the new tasks cost: columns grow by doubling, and ids that were given up are used
again, the lowest first. So the same admissions and retirements in the same order give the same ids.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine import transitions
from cerebrum.engine._peer_tables import PeerTables
from cerebrum.engine.jobs import Jobs
from cerebrum.engine.records import Records
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import TaskState
from cerebrum.model.tasks import TaskClass, TaskLabels, TaskTable

_START = {
    "t_state": 0, "t_row": -1, "t_gpus": 0, "t_ways": 0, "t_attempts": 0, "t_refused": 0,
    "t_started": np.nan, "t_not_before": -np.inf,
}  # fmt: skip
_OWN = {"requested_s": np.float64, "preemptible": np.bool_, "labels_id": np.int32}
VACANT = transitions.VACANT


class Roster:
    """Tasks by id, over the `t_*` columns of the table.

    `names[id]` is the task that holds the id, or held it last; `own` columns that no kernel reads:
    `requested_s` (what a policy may know), `preemptible`, `labels_id` into `label_sets`.
    """

    def __init__(
        self, table: at.Table, records: Records, tasks: TaskTable, peers: PeerTables
    ) -> None:
        self._table, self._records, self._peers = table, records, peers
        self.names: Sequence[str] = tasks.names  # a list once there is `_ids`
        self._ids: dict[str, int] | None = None  # made once somebody is admitted
        self._vacant: list[int] = []  # a heap of ids
        self._classes: dict[TaskClass, int] = {}
        for class_id, task_class in enumerate(tasks.classes):
            self._classes.setdefault(task_class, class_id)
        self.classes: list[TaskClass] = list(tasks.classes)
        self.label_sets: list[TaskLabels] = list(tasks.label_sets)
        self._label_ids = {labels: i for i, labels in reversed(list(enumerate(self.label_sets)))}
        self.jobs = Jobs(table, tasks)
        self.own: dict[str, NDArray[Any]] = {n: np.zeros(0, dtype) for n, dtype in _OWN.items()}
        table.replace(classes=records.classes(tasks.classes))
        peers.add_classes(tasks.classes)
        table.state.counts[at.CLASSES] = len(tasks.classes)
        self._widen(len(tasks))
        self._write(slice(0, len(tasks)), tasks, tasks.class_id, tasks.job_id, tasks.labels_id)
        table.state.counts[at.TASKS] = len(tasks)

    def __len__(self) -> int:
        """Ids in use, including those that no task holds now."""
        return int(self._table.state.counts[at.TASKS])

    @property
    def living(self) -> int:
        """Tasks that have not been retired."""
        return len(self) - len(self._vacant)

    def holds(self, task: int) -> bool:
        """Whether a task holds this id."""
        return 0 <= task < len(self) and self._table.state.t_state[task] != VACANT

    def id_of(self, name: str) -> int:
        """The id of a task that has not been retired; -1 if there is none of that name."""
        return self._by_name().get(name, -1)

    # -- coming -------------------------------------------------------------------------------

    def admit(self, tasks: TaskTable) -> NDArray[np.int64]:
        """Ids for new tasks, ascending. Raises `InputError`, changing nothing."""
        by_name = self._by_name()
        for name in tasks.names:
            if name in by_name:
                raise InputError(f"task {name!r} is named twice").at(field="name")
        classes = self._class_ids(tasks.classes)
        ids = self._take_ids(len(tasks))
        label_ids = np.array([self._label_id(labels) for labels in tasks.label_sets], np.int32)
        job_id = self.jobs.admit(tasks.jobs, tasks.job_id)
        self._write(ids, tasks, classes[tasks.class_id], job_id, label_ids[tasks.labels_id])
        assert isinstance(self.names, list)
        for task, name, job in zip(ids.tolist(), tasks.names, job_id.tolist(), strict=True):
            self.names[task] = name
            by_name[name] = task
            if job >= 0:
                self.jobs.add(job, task)
        return ids

    def _take_ids(self, count: int) -> NDArray[np.int64]:
        again = [heapq.heappop(self._vacant) for _ in range(min(count, len(self._vacant)))]
        first, end = len(self), len(self) + count - len(again)
        self._widen(end)
        assert isinstance(self.names, list)
        self.names.extend([""] * (end - first))
        self._table.state.counts[at.TASKS] = end
        return np.array([*again, *range(first, end)], np.int64)

    def _class_ids(self, classes: Sequence[TaskClass]) -> NDArray[np.int32]:
        new = [c for c in dict.fromkeys(classes) if c not in self._classes]
        if new:
            records = self._records.classes(new)
            first = len(self.classes)
            self._table.grow("classes", first + len(new))
            self._table.state.classes[first : first + len(new)] = records
            for task_class in new:
                self._classes[task_class] = len(self.classes)
                self.classes.append(task_class)
            self._table.state.counts[at.CLASSES] = len(self.classes)
            self._peers.add_classes(new)
        return np.array([self._classes[c] for c in classes], np.int32)

    def _label_id(self, labels: TaskLabels) -> int:
        found = self._label_ids.setdefault(labels, len(self.label_sets))
        if found == len(self.label_sets):
            self.label_sets.append(labels)
        return found

    def _by_name(self) -> dict[str, int]:
        if self._ids is None:
            self.names = list(self.names)
            self._ids = {name: task for task, name in enumerate(self.names)}
        return self._ids

    def _widen(self, size: int) -> None:
        if size > len(self._table.state.t_row):
            exact = not len(self._table.state.t_row)
            for name in self._table.state._fields:
                if name.startswith("t_"):
                    self._table.grow(name, size, -1 if name == "t_row" else 0, exact)
            self._table.grow("pending", max(64, size))
            for name, old in self.own.items():
                self.own[name] = np.zeros(len(self._table.state.t_row), old.dtype)
                self.own[name][: len(old)] = old

    def _write(
        self,
        where: slice | NDArray[np.int64],
        tasks: TaskTable,
        class_id: NDArray[np.int32],
        job_id: NDArray[np.int32],
        labels_id: NDArray[np.int32],
    ) -> None:
        s = self._table.state
        for name, value in _START.items():
            getattr(s, name)[where] = value
        s.t_class[where], s.t_job[where] = class_id, job_id
        s.t_priority[where], s.t_submit[where] = tasks.priority, tasks.submit_s
        s.t_duration[where] = tasks.duration_s
        unsaid = np.isnan(tasks.requested_s)
        self.own["requested_s"][where] = np.where(unsaid, tasks.duration_s, tasks.requested_s)
        self.own["preemptible"][where] = tasks.preemptible
        self.own["labels_id"][where] = labels_id
        labels = self._peers.add_labels(tasks.label_sets)[tasks.labels_id]
        self._table.state.t_labels[where] = labels

    # -- going --------------------------------------------------------------------------------

    def retire(self, ids: Sequence[int] | NDArray[np.integer]) -> None:
        """Give up tasks that ended or never came. Raises `InvalidEvent`, changing nothing."""
        by_name, s = self._by_name(), self._table.state
        gone = np.unique(np.asarray(ids, np.int64))
        self._check_ended(gone)
        s.counts[at.TERMINAL] -= np.count_nonzero(s.t_state[gone] != TaskState.UNKNOWN)
        transitions.forget_ended(self._table.handle)
        for task in map(int, gone):
            job = int(s.t_job[task])
            if job >= 0:
                self.jobs.remove(job, task)
            del by_name[self.names[task]]
            heapq.heappush(self._vacant, task)
        s.t_state[gone], s.t_job[gone] = VACANT, -1

    def _check_ended(self, gone: NDArray[np.int64]) -> None:
        if not len(gone):
            return
        if gone[0] < 0 or gone[-1] >= len(self):
            raise InvalidEvent(f"there is no task {gone[0] if gone[0] < 0 else gone[-1]}")
        state = self._table.state.t_state[gone]
        open_ = (state > TaskState.UNKNOWN) & (state < TaskState.SUCCEEDED)
        for wrong, why in ((open_, "has not ended"), (state == VACANT, "was retired before")):
            if wrong.any():
                name = self.names[int(gone[np.argmax(wrong)])]
                raise InvalidEvent(f"task {name!r} cannot be retired: it {why}")

    # -- as a table ---------------------------------------------------------------------------

    def tasks(self) -> TaskTable:
        """Everything by id. An id that no task holds now shows the last holder, renamed."""
        s, n = self._table.state, len(self)
        names = [
            name if self.holds(task) else f"{name} (retired, {task})"
            for task, name in enumerate(self.names)
        ]
        return TaskTable.build(
            names=names,
            classes=self.classes,
            class_id=s.t_class[:n],
            submit_s=s.t_submit[:n],
            duration_s=s.t_duration[:n],
            requested_s=self.own["requested_s"][:n],
            priority=s.t_priority[:n],
            job_id=s.t_job[:n],
            jobs=self.jobs.table(),
            preemptible=self.own["preemptible"][:n],
            labels_id=self.own["labels_id"][:n],
            label_sets=self.label_sets,
        )
