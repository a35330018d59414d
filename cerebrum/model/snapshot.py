"""The read-only world a policy decides on: arrays, one row per node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TaskColumns:
    """Every task of the scenario by column; index with a task id. Read-only views.

    `state` TaskState, -1 for an id whose task was retired; `row` the node it is on (-1: none);
    `requested_s` the run time the user asked for, which is all a policy may know of how long a task
    runs; `refused` 1 for a pending task that got a `Wait` since it was queued: a blocking queue
    finds its chosen head by it.
    """

    class_id: NDArray[np.int32]
    state: NDArray[np.int8]
    row: NDArray[np.int32]
    gpus: NDArray[np.int32]
    priority: NDArray[np.int32]
    job_id: NDArray[np.int32]
    submit_s: NDArray[np.float64]
    requested_s: NDArray[np.float64]
    started_s: NDArray[np.float64]
    not_before_s: NDArray[np.float64]
    attempts: NDArray[np.int32]
    preemptible: NDArray[np.bool_]
    refused: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a policy sees. Valid until the next event; copy arrays to keep them.

    `nodes` NODE[rows]; `usable` bool[rows] (present and not cordoned); `rank` a row's place in name
    order; `tasks` columns by task id; `classes` TASK[classes]; `typical` TASK[m] for
    fragmentation; `topology` label ids per row for zone, rack and server (-1: no label); `key`
    seeds a policy's random draws; `version` counts changes of node rows; `signals` and `forecasts`
    by name. `state` is the engine's own table, for compiled policies. `allowed(class)` bool[rows]:
    nodes whose labels and taints admit the class; `admitted(task)` bool[rows]: and which rules
    about other tasks admit the task to; `refusals(task)` int32[rows]: every `Refusal` bit of each
    node, -1 for a node that is gone.
    """

    time_s: float
    version: int
    key: int
    nodes: NDArray[np.void]
    node_names: Sequence[str]
    usable: NDArray[np.bool_]
    rank: NDArray[np.int64]
    tasks: TaskColumns
    task_names: Sequence[str]
    classes: NDArray[np.void]
    typical: NDArray[np.void]
    topology: Mapping[str, NDArray[np.int32]]
    signals: Mapping[str, float]
    forecasts: Mapping[str, NDArray[np.float64]]
    state: Any = field(repr=False)
    queue: Callable[[], NDArray[np.int32]] = field(repr=False)
    active: Callable[[], NDArray[np.int32]] = field(repr=False)
    allowed: Callable[[int], NDArray[np.bool_]] = field(repr=False)
    admitted: Callable[[int], NDArray[np.bool_]] = field(repr=False)
    refusals: Callable[[int], NDArray[np.int32]] = field(repr=False)
    gang: Callable[[int], tuple[int, NDArray[np.int32]]] = field(repr=False)
    changed_since: Callable[[int], NDArray[np.int32] | None] = field(repr=False)

    @cached_property
    def pending(self) -> NDArray[np.int32]:
        """Task ids that may be placed now, in queue order: priority, then age, then id."""
        return self.queue()

    @cached_property
    def running(self) -> NDArray[np.int32]:
        """Ids of bound and running tasks, ascending."""
        return self.active()
