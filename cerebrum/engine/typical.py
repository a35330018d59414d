"""Typical task classes: what fragmentation is measured against (FGD, USENIX ATC'23)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass, TaskTable

COVER = 0.95


def typical_classes(tasks: TaskTable, cover: float = COVER) -> tuple[tuple[TaskClass, float], ...]:
    """The commonest classes that together cover `cover` of the tasks: (class, count) pairs.

    Classes are told apart by CPU, GPUs and GPU models only, memory is not part of them. By count
    descending; ties: the larger (cpu, gpu share, gpus, models) first. CPU-only tasks count.
    """
    counts: Counter[TaskClass] = Counter()
    amounts = np.bincount(tasks.class_id, minlength=len(tasks.classes))
    for task_class, amount in zip(tasks.classes, amounts.tolist(), strict=True):
        counts[task_class] += amount
    return typical_of(counts, cover)


def typical_of(
    counts: Mapping[TaskClass, int], cover: float = COVER
) -> tuple[tuple[TaskClass, float], ...]:
    """The same of how many tasks there are of each class."""
    shapes: Counter[TaskClass] = Counter()
    for task_class, amount in counts.items():
        if amount:
            shapes[_shape(task_class)] += int(amount)
    ranked = sorted(shapes.items(), key=lambda item: (item[1], _order(item[0])), reverse=True)
    wanted, covered = cover * sum(shapes.values()), 0
    chosen: list[tuple[TaskClass, float]] = []
    for task_class, amount in ranked:
        if covered >= wanted:
            break
        chosen.append((task_class, float(amount)))
        covered += amount
    return tuple(chosen)


def _shape(task_class: TaskClass) -> TaskClass:
    r = task_class.resources
    kept = Resources(cpu_milli=r.cpu_milli, gpu_count=r.gpu_count, gpu_milli=r.gpu_milli)
    return TaskClass(kept, task_class.gpu_models)


def _order(task_class: TaskClass) -> tuple[int, int, int, str]:
    r = task_class.resources
    return r.cpu_milli, r.gpu_milli, r.gpu_count, "|".join(task_class.gpu_models)


def has_gpus(classes: Sequence[TaskClass]) -> bool:
    """Whether any class asks for a GPU; without, fragmentation is not worth keeping."""
    return any(c.resources.gpu_count for c in classes)
