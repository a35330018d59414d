"""Nodes and task classes as the records kernels read, with names turned into small numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cerebrum.engine.filters import ConstraintTable
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.layout import TASK
from cerebrum.model.tasks import TaskClass

MAX_MODELS = 63  # a task's models are bits of one int64


class Records:
    """Writes records; remembers the number each GPU model, resource and constraint set got."""

    def __init__(self) -> None:
        self.constraints = ConstraintTable()
        self._models: dict[str, int] = {}
        self._extended: dict[str, int] = {}

    def write_node(self, record: Any, node: Node) -> None:
        """Fill one NODE record with an empty node."""
        r, c, power = record, node.capacity, node.power
        r["cpu_milli"] = r["cpu_free"] = c.cpu_milli
        r["memory_mib"] = r["memory_free"] = c.memory_mib
        r["slots"] = r["slots_free"] = node.slots
        r["gpu_count"] = c.gpu_count
        r["gpu_model"] = self._model(node.gpu_model) if c.gpu_count else -1
        r["gpu_free"][: c.gpu_count] = 1000
        r["gpu_free_sum"] = 1000 * c.gpu_count
        r["cache_ways"] = r["cache_ways_free"] = c.cache_ways
        r["speed"] = node.speed
        r["cpu_package_milli"] = 1
        for name, amount in c.extended:
            r["extended"][self._extended_index(name)] = amount
        r["extended_free"] = r["extended"]
        if power is not None:
            for name in ("cpu_idle_w", "cpu_full_w", "gpu_idle_w", "gpu_full_w"):
                r[name] = getattr(power, name)
            r["cpu_package_milli"] = power.cpu_package_milli

    def classes(self, classes: Sequence[TaskClass]) -> Any:
        """TASK[classes]."""
        records = np.zeros(len(classes), TASK)
        for i, task_class in enumerate(classes):
            r, out = task_class.resources, records[i]
            out["cpu_milli"], out["memory_mib"] = r.cpu_milli, r.memory_mib
            out["gpu_count"], out["gpu_milli"] = r.gpu_count, r.gpu_milli
            out["gpu_kind"], out["cache_ways"] = r.gpu_kind, r.cache_ways
            models = task_class.gpu_models
            out["gpu_models"] = sum(1 << self._model(m) for m in set(models)) if models else -1
            for name, amount in r.extended:
                out["extended"][self._extended_index(name)] = amount
                out["has_extended"] = 1
            out["constraints"] = self.constraints.intern(task_class.constraints)
        return records

    def _model(self, name: str) -> int:
        index = self._models.setdefault(name, len(self._models))
        if index >= MAX_MODELS:
            raise InputError(f"expected at most {MAX_MODELS} GPU models").at(field="gpu_model")
        return index

    def _extended_index(self, name: str) -> int:
        index = self._extended.setdefault(name, len(self._extended))
        most = TASK["extended"].shape[0]
        if index >= most:
            raise InputError(
                f"expected at most {most} extended resources, got {', '.join(self._extended)}"
            ).at(field="extended")
        return index
