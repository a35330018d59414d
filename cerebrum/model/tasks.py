"""Tasks, jobs and the columnar table that holds a million of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.constraints import UNCONSTRAINED, Constraints
from cerebrum.model.errors import InputError
from cerebrum.model.peers import NO_RULES, UNLABELLED, PeerRules, TaskLabels
from cerebrum.model.resources import Resources

MAX_TASKS = 50_000_000


@dataclass(frozen=True, slots=True)
class TaskClass:
    """What filters and scorers may look at; tasks of one class are interchangeable to them.

    `gpu_models` lists the GPU models a task accepts; empty accepts any. `constraints` select nodes
    by what they are, `peers` by what runs there.
    """

    resources: Resources = field(default_factory=Resources)
    gpu_models: tuple[str, ...] = ()
    constraints: Constraints = UNCONSTRAINED
    peers: PeerRules = NO_RULES


@dataclass(frozen=True, slots=True)
class Task:
    """One schedulable unit.

    `submit_s` seconds from the scenario's start; `duration_s` run time at speed 1 (inf: runs until
    the scenario ends); `requested_s` the user's own estimate of it, what backfilling may see (NaN:
    the true duration); higher `priority` goes first; tasks of one `job` that is a gang start
    together or not at all; `preemptible` tasks may be stopped for a higher priority; `labels` are
    what rules of other tasks see of it.
    """

    name: str
    task_class: TaskClass = field(default_factory=TaskClass)
    submit_s: float = 0.0
    duration_s: float = math.inf
    requested_s: float = math.nan
    priority: int = 0
    job: str = ""
    preemptible: bool = True
    labels: TaskLabels = UNLABELLED


@dataclass(frozen=True, slots=True)
class Job:
    """Tasks submitted together. `gang` tasks start in one decision, at least this many (0: any)."""

    name: str
    gang: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TaskTable(Sequence[Task]):
    """Tasks by column: row i of every array is task i. Behaves as a sequence of `Task`.

    `class_id` indexes `classes`, `job_id` indexes `jobs` (-1: none), `labels_id` indexes
    `label_sets`. Built by `build`, which validates, or `from_tasks`.
    """

    names: Sequence[str]
    classes: tuple[TaskClass, ...]
    class_id: NDArray[np.int32]
    submit_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    requested_s: NDArray[np.float64]
    priority: NDArray[np.int32]
    job_id: NDArray[np.int32]
    jobs: tuple[Job, ...]
    preemptible: NDArray[np.bool_]
    labels_id: NDArray[np.int32]
    label_sets: tuple[TaskLabels, ...] = (UNLABELLED,)

    @classmethod
    def build(
        cls,
        names: Sequence[str],
        classes: Sequence[TaskClass],
        class_id: Sequence[int] | NDArray[np.integer],
        submit_s: Sequence[float] | NDArray[np.floating],
        duration_s: Sequence[float] | NDArray[np.floating] | float = math.inf,
        requested_s: Sequence[float] | NDArray[np.floating] | float = math.nan,
        priority: Sequence[int] | NDArray[np.integer] | int = 0,
        job_id: Sequence[int] | NDArray[np.integer] | int = -1,
        jobs: Sequence[Job] = (),
        preemptible: Sequence[bool] | NDArray[np.bool_] | bool = True,
        labels_id: Sequence[int] | NDArray[np.integer] | int = 0,
        label_sets: Sequence[TaskLabels] = (UNLABELLED,),
    ) -> TaskTable:
        """A validated table; scalars apply to every task. Raises `InputError` naming the task."""
        n = len(names)
        if n > MAX_TASKS:
            raise InputError(f"expected at most {MAX_TASKS:,} tasks, got {n:,}")

        def column(values: Any, dtype: type[Any]) -> NDArray[Any]:
            return np.ascontiguousarray(np.broadcast_to(np.array(values, dtype), (n,)))

        table = cls(
            names=names,
            classes=tuple(classes),
            class_id=column(class_id, np.int32),
            submit_s=column(submit_s, np.float64),
            duration_s=column(duration_s, np.float64),
            requested_s=column(requested_s, np.float64),
            priority=column(priority, np.int32),
            job_id=column(job_id, np.int32),
            jobs=tuple(jobs),
            preemptible=column(preemptible, np.bool_),
            labels_id=column(labels_id, np.int32),
            label_sets=tuple(label_sets),
        )
        table._validate()
        return table

    @classmethod
    def from_tasks(cls, tasks: Sequence[Task], gangs: Mapping[str, int] | None = None) -> TaskTable:
        """A table of `tasks`; `gangs` maps a job's name to how many must start together."""
        classes: dict[TaskClass, int] = {}
        jobs: dict[str, int] = {}
        label_sets = {UNLABELLED: 0}
        for task in tasks:
            label_sets.setdefault(task.labels, len(label_sets))
            classes.setdefault(task.task_class, len(classes))
            if task.job:
                jobs.setdefault(task.job, len(jobs))
        sizes = gangs or {}
        return cls.build(
            names=[task.name for task in tasks],
            classes=list(classes),
            class_id=[classes[task.task_class] for task in tasks],
            submit_s=[task.submit_s for task in tasks],
            duration_s=[task.duration_s for task in tasks],
            requested_s=[task.requested_s for task in tasks],
            priority=[task.priority for task in tasks],
            job_id=[jobs.get(task.job, -1) for task in tasks],
            jobs=[Job(name, sizes.get(name, 0)) for name in jobs],
            preemptible=[task.preemptible for task in tasks],
            labels_id=[label_sets[task.labels] for task in tasks],
            label_sets=list(label_sets),
        )

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> TaskTable: ...
    def __getitem__(self, index: int | slice) -> Task | TaskTable:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        job = int(self.job_id[index])
        return Task(
            name=self.names[index],
            task_class=self.classes[int(self.class_id[index])],
            submit_s=float(self.submit_s[index]),
            duration_s=float(self.duration_s[index]),
            requested_s=float(self.requested_s[index]),
            priority=int(self.priority[index]),
            job=self.jobs[job].name if job >= 0 else "",
            preemptible=bool(self.preemptible[index]),
            labels=self.label_sets[int(self.labels_id[index])],
        )

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: NDArray[np.integer], names: Sequence[str] | None = None) -> TaskTable:
        """The tasks at `rows`, in that order; give `names` when a row is taken twice."""
        return TaskTable.build(
            names=[self.names[int(i)] for i in rows] if names is None else names,
            classes=self.classes,
            class_id=self.class_id[rows],
            submit_s=self.submit_s[rows],
            duration_s=self.duration_s[rows],
            requested_s=self.requested_s[rows],
            priority=self.priority[rows],
            job_id=self.job_id[rows],
            jobs=self.jobs,
            preemptible=self.preemptible[rows],
            labels_id=self.labels_id[rows],
            label_sets=self.label_sets,
        )

    def joined(self, other: TaskTable) -> TaskTable:
        """These tasks, then the others; classes are merged, jobs are not.

        Raises `InputError` when a name is in both.
        """
        classes = {task_class: i for i, task_class in enumerate(self.classes)}
        renumber = np.array([classes.setdefault(c, len(classes)) for c in other.classes], np.int32)
        label_sets = {labels: i for i, labels in enumerate(self.label_sets)}
        relabel = np.array(
            [label_sets.setdefault(s, len(label_sets)) for s in other.label_sets], np.int32
        )
        jobs = np.where(other.job_id >= 0, other.job_id + len(self.jobs), -1)
        names = ("submit_s", "duration_s", "requested_s", "priority", "preemptible")
        columns = {n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in names}
        return TaskTable.build(
            names=[*self.names, *other.names],
            classes=list(classes),
            class_id=np.concatenate([self.class_id, renumber[other.class_id]]),
            job_id=np.concatenate([self.job_id, jobs]),
            jobs=(*self.jobs, *other.jobs),
            labels_id=np.concatenate([self.labels_id, relabel[other.labels_id]]),
            label_sets=list(label_sets),
            **columns,
        )

    def request(self, name: str) -> NDArray[np.int64]:
        """One resource of every task, such as `cpu_milli` or `gpu_milli_total`: int64[tasks]."""
        amounts = [getattr(c.resources, name) for c in self.classes]
        return np.asarray(amounts, np.int64)[self.class_id] if amounts else np.zeros(0, np.int64)

    def _validate(self) -> None:
        n_classes, n_jobs, n_sets = len(self.classes), len(self.jobs), len(self.label_sets)
        checks = (
            ("submit_s", ~(np.isfinite(self.submit_s) & (self.submit_s >= 0)), "finite, >= 0"),
            ("duration_s", ~(self.duration_s >= 0), ">= 0 or inf"),
            ("requested_s", ~(np.isnan(self.requested_s) | (self.requested_s >= 0)), ">= 0"),
            ("class_id", (self.class_id < 0) | (self.class_id >= n_classes), f"0..{n_classes - 1}"),
            ("job_id", (self.job_id < -1) | (self.job_id >= n_jobs), f"-1..{n_jobs - 1}"),
            ("labels_id", (self.labels_id < 0) | (self.labels_id >= n_sets), f"0..{n_sets - 1}"),
        )
        for name, wrong, expected in checks:
            if wrong.any():
                i = int(np.argmax(wrong))
                raise InputError(
                    f"task {self.names[i]!r}: expected {expected}, got {getattr(self, name)[i]}"
                ).at(field=name)
        if len(set(self.names)) != len(self.names):
            seen: set[str] = set()
            for name in self.names:
                if name in seen:
                    raise InputError(f"task {name!r} is named twice").at(field="name")
                seen.add(name)
