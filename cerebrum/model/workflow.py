"""Workflows: tasks with dependencies and the data that flows along them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cerebrum.model.errors import InputError
from cerebrum.model.tasks import Task


@dataclass(frozen=True, slots=True)
class Dependency:
    """`after` may start when `before` has succeeded and `volume_mb` (10^6 bytes) were moved."""

    before: str
    after: str
    volume_mb: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.volume_mb) and self.volume_mb >= 0):
            raise InputError(
                f"{self.before!r} -> {self.after!r}: expected finite megabytes of at least 0, "
                f"got {self.volume_mb}"
            ).at(field="volume_mb")


@dataclass(frozen=True, slots=True)
class Workflow:
    """Tasks by unique name and an acyclic set of dependencies between them.

    Raises `InputError` naming the task for duplicates, unknown ends and cycles.
    """

    name: str
    tasks: tuple[Task, ...]
    dependencies: tuple[Dependency, ...] = ()

    def __post_init__(self) -> None:
        names: set[str] = set()
        for task in self.tasks:
            if task.name in names:
                raise InputError(f"task {task.name!r} is named twice").at(field="tasks")
            names.add(task.name)
        for edge in self.dependencies:
            for end in (edge.before, edge.after):
                if end not in names:
                    raise InputError(f"there is no task {end!r}").at(field="dependencies")
        order = self.order()
        if len(order) < len(self.tasks):
            stuck = sorted(names - set(order))[0]
            raise InputError(f"task {stuck!r} waits for itself, through a cycle").at(
                field="dependencies"
            )

    def order(self) -> list[str]:
        """Task names, each after all it depends on; ties in the order given. Short on a cycle."""
        waits = {task.name: 0 for task in self.tasks}
        followers: dict[str, list[str]] = {task.name: [] for task in self.tasks}
        for edge in self.dependencies:
            waits[edge.after] += 1
            followers[edge.before].append(edge.after)
        order = [name for name, count in waits.items() if count == 0]
        for name in order:  # grows while it is walked
            for follower in followers[name]:
                waits[follower] -= 1
                if waits[follower] == 0:
                    order.append(follower)
        return order
