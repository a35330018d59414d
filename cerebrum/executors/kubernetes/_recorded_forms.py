"""What the scheduler's journal holds besides `model.journal`: tasks, with all that selects nodes
and peers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from cerebrum.model.peers import TaskLabels
from cerebrum.model.tasks import Task, TaskClass


def task_record(task: Task) -> dict[str, Any]:
    """A task as the journal holds it; a run time that nobody knows is left out."""
    record: dict[str, Any] = {
        "name": task.name,
        "class": class_record(task.task_class),
        "submit_s": task.submit_s,
        "priority": task.priority,
        "job": task.job,
        "preemptible": task.preemptible,
        "labels": msgspec.to_builtins(task.labels),
    }
    if math.isfinite(task.duration_s):
        record["duration_s"] = task.duration_s
    return record


def task_of_record(record: Mapping[str, Any]) -> Task:
    """The inverse of `task_record`."""
    return Task(
        record["name"],
        class_of_record(record["class"]),
        record["submit_s"],
        record.get("duration_s", math.inf),
        priority=record["priority"],
        job=record["job"],
        preemptible=record["preemptible"],
        labels=msgspec.convert(record["labels"], TaskLabels),
    )


def class_record(task_class: TaskClass) -> Any:
    """A class as the journal holds it."""
    return msgspec.to_builtins(task_class)


def class_of_record(record: Any) -> TaskClass:
    """The inverse of `class_record`."""
    return msgspec.convert(record, TaskClass)
