"""Workflows: tasks with dependencies and the data that flows along them, by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError
from cerebrum.model.program import Program
from cerebrum.model.tasks import Task, TaskTable

MAX_DEPENDENCIES = 100_000_000


@dataclass(frozen=True, slots=True)
class Dependency:
    """`after` may start when `before` has succeeded and `volume_mb` (10^6 bytes) were moved."""

    before: str
    after: str
    volume_mb: float = 0.0


@dataclass(frozen=True, eq=False)
class Workflow:
    """Tasks and an acyclic set of dependencies between them, each pair at most once.

    Dependency i: task `after[i]` may start when task `before[i]` has succeeded and `volume_mb[i]`
    (10^6 bytes) have been moved to where it runs. `input_mb` is what a task reads that no task of
    the workflow wrote, `output_mb` what it leaves that no task reads. `programs` says what to run,
    by task name; a task without one stands for work of its duration.

    Built by `build` or `from_tasks`, which raise `InputError` naming the task for duplicates,
    unknown ends, non-finite volumes and cycles.
    """

    name: str
    tasks: TaskTable
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    volume_mb: NDArray[np.float64]
    input_mb: NDArray[np.float64]
    output_mb: NDArray[np.float64]
    programs: Mapping[str, Program] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def build(
        cls,
        name: str,
        tasks: TaskTable,
        before: Sequence[int] | NDArray[np.integer] = (),
        after: Sequence[int] | NDArray[np.integer] = (),
        volume_mb: Sequence[float] | NDArray[np.floating] = (),
        input_mb: Sequence[float] | NDArray[np.floating] | None = None,
        output_mb: Sequence[float] | NDArray[np.floating] | None = None,
        programs: Mapping[str, Program] | None = None,
    ) -> Workflow:
        """Validate columns of task indices; several volumes between two tasks add up."""
        n = len(tasks)
        empty = np.zeros(n)
        workflow = cls(
            name,
            tasks,
            *_merged(n, np.asarray(before), np.asarray(after), np.asarray(volume_mb, np.float64)),
            empty if input_mb is None else np.ascontiguousarray(input_mb, np.float64),
            empty if output_mb is None else np.ascontiguousarray(output_mb, np.float64),
            MappingProxyType(dict(programs or {})),
        )
        workflow._validate()
        return workflow

    @classmethod
    def from_tasks(
        cls,
        name: str,
        tasks: Iterable[Task],
        dependencies: Iterable[Dependency] = (),
        programs: Mapping[str, Program] | None = None,
    ) -> Workflow:
        """The same from objects that name each other."""
        table, edges = TaskTable.from_tasks(tuple(tasks)), tuple(dependencies)
        index = {task: i for i, task in enumerate(table.names)}
        for edge in edges:
            for end in (edge.before, edge.after):
                if end not in index:
                    raise InputError(f"there is no task {end!r}").at(field="dependencies")
        return cls.build(
            name,
            table,
            [index[edge.before] for edge in edges],
            [index[edge.after] for edge in edges],
            [edge.volume_mb for edge in edges],
            programs=programs,
        )

    def __len__(self) -> int:
        return len(self.tasks)

    @cached_property
    def successors(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`(first, edges)`: what leaves task i is dependencies `edges[first[i] : first[i + 1]]`."""
        return _grouped(self.before, len(self.tasks))

    @cached_property
    def predecessors(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`(first, edges)`: what task i waits for is `edges[first[i] : first[i + 1]]`."""
        return _grouped(self.after, len(self.tasks))

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """int32[tasks]: each task after all it depends on; breadth first, ties by index."""
        return np.asarray(self._walk(), np.int32)

    @cached_property
    def level(self) -> NDArray[np.int32]:
        """int32[tasks]: dependencies on the longest way to a task; 0 for those without any."""
        level: list[int] = [0] * len(self.tasks)
        first, followers = self._followers()
        order: list[int] = self.order.tolist()
        for task in order:
            below = level[task] + 1
            for follower in followers[first[task] : first[task + 1]]:
                if level[follower] < below:
                    level[follower] = below
        return np.asarray(level, np.int32)

    def critical_path_s(self) -> float:
        """The longest chain of durations: no schedule on nodes of speed 1 is shorter, s."""
        end = self.tasks.duration_s.tolist()
        first, edges = (array.tolist() for array in self.predecessors)
        before = self.before.tolist()
        for task in self.order.tolist():
            incoming = edges[first[task] : first[task + 1]]
            if incoming:
                end[task] += max(end[before[edge]] for edge in incoming)
        return max(end, default=0.0)

    def _walk(self) -> list[int]:
        """Kahn's algorithm; shorter than the tasks when there is a cycle."""
        waits: list[int] = np.bincount(self.after, minlength=len(self.tasks)).tolist()
        first, followers = self._followers()
        order = [task for task, count in enumerate(waits) if count == 0]
        for task in order:  # grows while it is walked
            for follower in followers[first[task] : first[task + 1]]:
                left = waits[follower] = waits[follower] - 1
                if not left:
                    order.append(follower)
        return order

    def _followers(self) -> tuple[list[int], list[int]]:
        """`(first, tasks)`: task i is waited for by `tasks[first[i] : first[i + 1]]`."""
        first, edges = self.successors
        return first.tolist(), self.after[edges].tolist()

    def _validate(self) -> None:
        n, names = len(self.tasks), self.tasks.names
        for column in ("input_mb", "output_mb"):
            values = getattr(self, column)
            if len(values) != n:
                raise InputError(f"expected {n} values, got {len(values)}").at(field=column)
            wrong = ~(np.isfinite(values) & (values >= 0))
            if wrong.any():
                i = int(np.argmax(wrong))
                raise InputError(
                    f"task {names[i]!r}: expected finite megabytes of at least 0, got {values[i]}"
                ).at(field=column)
        wrong = ~(np.isfinite(self.volume_mb) & (self.volume_mb >= 0))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InputError(
                f"{names[int(self.before[i])]!r} -> {names[int(self.after[i])]!r}: expected finite "
                f"megabytes of at least 0, got {self.volume_mb[i]}"
            ).at(field="volume_mb")
        order = self.order
        if len(order) < n:
            stuck = np.ones(n, np.bool_)
            stuck[order] = False
            raise InputError(
                f"task {names[self._on_cycle(stuck)]!r} waits for itself, through a cycle"
            ).at(field="dependencies")
        unknown = sorted(set(self.programs) - set(names)) if self.programs else []
        if unknown:
            raise InputError(f"there is no task {unknown[0]!r}").at(field="programs")

    def _on_cycle(self, stuck: NDArray[np.bool_]) -> int:
        """A task on a cycle: walk back from one that is stuck until a task comes twice."""
        first, edges = self.predecessors
        task, seen = int(np.argmax(stuck)), set[int]()
        while task not in seen:
            seen.add(task)
            incoming = self.before[edges[first[task] : first[task + 1]]]
            task = int(incoming[stuck[incoming]][0])
        return task


def _merged(
    n: int,
    before: NDArray[np.generic],
    after: NDArray[np.generic],
    volume_mb: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Dependencies sorted by both ends, each once, their volumes added."""
    if not len(before) == len(after) == len(volume_mb):
        raise InputError("expected as many volumes as dependencies").at(field="dependencies")
    if len(before) > MAX_DEPENDENCIES:
        raise InputError(f"expected at most {MAX_DEPENDENCIES:,}, got {len(before):,}").at(
            field="dependencies"
        )
    if not len(before):
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0)
    ends = np.stack([before, after]).astype(np.int64)
    if ends.min() < 0 or ends.max() >= n:
        raise InputError(f"expected task numbers 0..{n - 1}").at(field="dependencies")
    pairs, which = np.unique(ends[0] * n + ends[1], return_inverse=True)
    volume = np.zeros(len(pairs))
    np.add.at(volume, which, volume_mb)
    return (pairs // n).astype(np.int32), (pairs % n).astype(np.int32), volume


def _grouped(ends: NDArray[np.int32], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n))])
    return first.astype(np.int64), np.argsort(ends, kind="stable")
