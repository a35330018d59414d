"""What a queue policy orders: single tasks, and gangs as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.events import TaskState
from cerebrum.model.snapshot import Snapshot

Unit = tuple[int, ...]
"""Tasks that start together; the first one stands for the unit."""

_STARTED = (TaskState.BOUND, TaskState.RUNNING, TaskState.SUCCEEDED)


def units(snapshot: Snapshot) -> list[Unit]:
    """The queue in its order. A gang stands where its first member does, and only when complete."""
    pending = snapshot.pending
    jobs = snapshot.tasks.job_id[pending]
    if not (jobs >= 0).any():
        return [(task,) for task in pending.tolist()]
    found: list[Unit] = []
    seen: set[int] = set()
    for task, job in zip(pending.tolist(), jobs.tolist(), strict=True):
        if job in seen:
            continue
        if job < 0 or snapshot.gang(job)[0] < 2:
            found.append((task,))
            continue
        seen.add(job)
        here = tuple(pending[jobs == job].tolist())
        if len(here) + started(snapshot, job) >= snapshot.gang(job)[0]:
            found.append(here)
    return found


def started(snapshot: Snapshot, job: int) -> int:
    """Members of a job that run or have run."""
    members = snapshot.gang(job)[1]
    return int(np.isin(snapshot.tasks.state[members], _STARTED).sum())


def firsts(found: Sequence[Unit]) -> NDArray[np.int64]:
    """The task that stands for each unit."""
    return np.fromiter((unit[0] for unit in found), np.int64, len(found))


def processors(snapshot: Snapshot, found: Sequence[Unit]) -> NDArray[np.float64]:
    """CPU cores each unit asks for, all its tasks together."""
    cores = snapshot.classes["cpu_milli"].astype(np.float64) / 1000.0
    classes = snapshot.tasks.class_id
    total = cores[classes[firsts(found)]]
    for i, unit in enumerate(found):
        if len(unit) > 1:
            total[i] = cores[classes[list(unit)]].sum()
    return total
