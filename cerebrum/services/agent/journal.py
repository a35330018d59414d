"""What the agent's journal holds besides `model.journal`: tasks and forecasts as plain lists."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.resources import Resources
from cerebrum.model.tasks import Task, TaskClass


def task_record(task: Task) -> list[Any]:
    """A task as the journal holds it."""
    r = task.task_class.resources
    return [
        task.name, r.cpu_milli, r.memory_mib, r.gpu_count, r.gpu_milli,
        list(task.task_class.gpu_models), task.submit_s, task.duration_s, task.priority,
    ]  # fmt: skip


def task_of_record(record: Sequence[Any]) -> Task:
    """The inverse of `task_record`."""
    name, cpu, memory, gpus, milli, models, submit_s, duration_s, priority = record
    task_class = TaskClass(Resources(cpu, memory, gpus, milli), tuple(models))
    return Task(name, task_class, submit_s, duration_s, priority=priority)


def packed(values: NDArray[np.float64]) -> list[Any]:
    """A forecast as the journal holds it: its shape, and float32 in base64."""
    raw = values.astype("<f4").tobytes()
    return [list(values.shape), base64.b64encode(raw).decode()]


def unpacked(shape: Sequence[int], text: str) -> NDArray[np.float64]:
    """A forecast from the journal."""
    values = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)
    return values.reshape(tuple(shape))
