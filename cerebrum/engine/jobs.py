"""Jobs of an engine: who belongs to which, in one array that kernels read.

Members of a job stand side by side in the order of their coming. A job that outgrows its place
moves to the end of the array with room for as many again; once half the array is left behind, all
move together.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.model.tasks import Job, TaskTable

_BY_JOB = ("j_gang", "j_first", "j_size")


class Jobs:
    """Jobs by id. One without members is given up: its name is free, its id is used again."""

    def __init__(self, table: at.Table, tasks: TaskTable) -> None:
        self._table = table
        self.names = [job.name for job in tasks.jobs]
        self._ids = {name: job for job, name in enumerate(self.names)}
        self._vacant: list[int] = []  # a heap of ids
        job_id = tasks.job_id
        order = np.argsort(job_id, kind="stable")
        size = np.bincount(job_id[job_id >= 0], minlength=len(self.names))
        table.replace(
            j_gang=np.array([job.gang for job in tasks.jobs], np.int32),
            j_first=np.concatenate([[0], np.cumsum(size)[:-1]])[: len(self.names)],
            j_size=size,
            members=order[job_id[order] >= 0],
        )
        self._room = [int(n) for n in size]
        self._end = int(size.sum())

    def admit(self, jobs: Sequence[Job], job_id: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ids here of the jobs that `job_id` names. A name that is here is the same job, and
        its gang is as large as was said last."""
        ids = np.full(len(jobs) + 1, -1, np.int32)  # the last one: no job
        for index in np.unique(job_id[job_id >= 0]):
            ids[index] = self._open(jobs[int(index)])
        return ids[job_id]

    def add(self, job: int, task: int) -> None:
        """A task joins a job."""
        s = self._table.state
        size = int(s.j_size[job])
        if size == self._room[job]:
            self._move(job, max(1, 2 * size))
            s = self._table.state
        s.members[s.j_first[job] + size] = task
        s.j_size[job] = size + 1

    def remove(self, job: int, task: int) -> None:
        """A task leaves its job."""
        s = self._table.state
        first, size = int(s.j_first[job]), int(s.j_size[job])
        members = s.members[first : first + size]
        members[: size - 1] = members[members != task]
        s.j_size[job] = size - 1
        if size == 1:
            s.j_gang[job] = 0
            if self._ids.get(self.names[job]) == job:
                del self._ids[self.names[job]]
            heapq.heappush(self._vacant, job)

    def table(self) -> tuple[Job, ...]:
        """The jobs by id; those given up keep their last name."""
        gang = self._table.state.j_gang
        return tuple(Job(name, int(gang[job])) for job, name in enumerate(self.names))

    def _open(self, job: Job) -> int:
        found = self._ids.get(job.name)
        if found is None:
            found = heapq.heappop(self._vacant) if self._vacant else self._new()
            self.names[found] = job.name
            self._ids[job.name] = found
        self._table.state.j_gang[found] = job.gang
        return found

    def _new(self) -> int:
        job = len(self.names)
        for name in _BY_JOB:
            self._table.grow(name, job + 1)
        self.names.append("")
        self._room.append(0)
        return job

    def _move(self, job: int, room: int) -> None:
        if self._end + room > max(64, 2 * (sum(self._room) + room)):
            self._gather()
        self._table.grow("members", self._end + room)
        s = self._table.state
        first, size = int(s.j_first[job]), int(s.j_size[job])
        s.members[self._end : self._end + size] = s.members[first : first + size].copy()
        s.j_first[job], self._room[job] = self._end, room
        self._end += room

    def _gather(self) -> None:
        """Close the gaps."""
        s, end = self._table.state, 0
        members = np.zeros_like(s.members)
        for job, size in enumerate(int(n) for n in s.j_size[: len(self.names)]):
            first = int(s.j_first[job])
            members[end : end + size] = s.members[first : first + size]
            s.j_first[job], self._room[job] = end, size
            end += size
        s.members[:] = members
        self._end = end
