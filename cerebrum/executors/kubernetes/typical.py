"""What is typical in a live cluster: fragmentation (FGD) is measured against the pods there are."""

from __future__ import annotations

from collections.abc import Sequence

from cerebrum.engine.typical import has_gpus, typical_of
from cerebrum.executors.kubernetes.mirror import Mirror
from cerebrum.model.tasks import TaskClass


class TypicalPods:
    """Keeps the engine's typical classes those of the pods in the mirror, waiting ones included."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._told: Sequence[tuple[TaskClass, float]] = ()

    def renew(self) -> None:
        """Count anew (10 ms for 50,000 pods); the engine hears of it when something changed."""
        # By identity: pods of one kind share their class, and hashing 50,000 of them takes long.
        seen: dict[int, TaskClass] = {}
        amounts: dict[int, int] = {}
        for held in self._mirror.held.values():
            kind = id(held.pod.task_class)
            seen[kind] = held.pod.task_class
            amounts[kind] = amounts.get(kind, 0) + 1
        counts: dict[TaskClass, int] = {}
        for kind, task_class in seen.items():
            counts[task_class] = counts.get(task_class, 0) + amounts[kind]
        typical = typical_of(counts) if has_gpus(list(counts)) else ()
        if typical != self._told:
            self._told = typical
            self._mirror.recorded.measure_against(typical)
