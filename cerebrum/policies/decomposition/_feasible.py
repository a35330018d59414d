"""Which cluster can hold which task: by its largest node and its GPU models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.federation import ClusterView, ClusterViews
from cerebrum.model.tasks import TaskClass, TaskTable


def feasible(tasks: TaskTable, clusters: ClusterViews) -> NDArray[np.bool_]:
    """bool[classes, clusters]: whether some node of the cluster could hold a task of the class."""
    table = [[_holds(view, task_class) for view in clusters] for task_class in tasks.classes]
    return np.asarray(table, np.bool_).reshape(len(tasks.classes), len(clusters))


def feasible_parts(
    tasks: TaskTable, part: NDArray[np.int32], clusters: ClusterViews
) -> NDArray[np.bool_]:
    """bool[parts, clusters]: whether the cluster could hold every task of the part."""
    can = feasible(tasks, clusters)
    parts = int(part.max()) + 1 if len(part) else 0
    out = np.ones((parts, len(clusters)), np.bool_)
    pairs = np.unique(part.astype(np.int64) * max(1, len(can)) + tasks.class_id)
    np.logical_and.at(out, pairs // max(1, len(can)), can[pairs % max(1, len(can))])
    return out


def _holds(view: ClusterView, task_class: TaskClass) -> bool:
    ask = task_class.resources
    if view.nodes < 1:
        return False
    if ask.cpu_milli > view.largest_cpu_milli or ask.memory_mib > view.largest_memory_mib:
        return False
    if ask.gpu_count == 0:
        return True
    if ask.gpu_count > view.largest_gpu_count:
        return False
    return not task_class.gpu_models or bool(set(task_class.gpu_models) & set(view.gpu_models))
