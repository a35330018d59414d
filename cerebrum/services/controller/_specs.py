"""A submitted workflow: from the message to the nouns of the model, and back from the database."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.schedule import longest_way, rank_order
from cerebrum.model.errors import InputError
from cerebrum.model.federation import Network
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.model.workflow import Workflow
from cerebrum.services.errors import Refused
from cerebrum.services.wire import TaskSpec, WorkflowSpec

CACHED_TASKS = 200_000
"""Tasks of workflows that are kept unpacked; one more workflow is always kept."""


@dataclass(eq=False)
class Shape:
    """What of a workflow never changes: its tasks and how they depend on each other."""

    id: str
    spec: WorkflowSpec
    workflow: Workflow

    def __len__(self) -> int:
        return len(self.workflow)

    @cached_property
    def index(self) -> dict[str, int]:
        """Place of a task by its name."""
        return {name: i for i, name in enumerate(self.workflow.tasks.names)}

    @cached_property
    def _after(self) -> tuple[list[int], list[int]]:
        first, edges = self.workflow.successors
        return first.tolist(), self.workflow.after[edges].tolist()

    @cached_property
    def _before(self) -> tuple[list[int], list[int]]:
        first, edges = self.workflow.predecessors
        return first.tolist(), self.workflow.before[edges].tolist()

    @cached_property
    def order(self) -> list[int]:
        """Every task after all it depends on."""
        return self.workflow.order.tolist()

    def successors(self, task: int) -> list[int]:
        """Tasks that wait for `task` itself."""
        first, ends = self._after
        return ends[first[task] : first[task + 1]]

    def predecessors(self, task: int) -> list[int]:
        """Tasks that `task` itself waits for."""
        first, ends = self._before
        return ends[first[task] : first[task + 1]]

    def volumes_mb(self, task: int) -> list[float]:
        """Megabytes from each of `predecessors(task)`."""
        first, edges = self.workflow.predecessors
        return self.workflow.volume_mb[edges[first[task] : first[task + 1]]].tolist()

    def descendants(self, task: int) -> list[int]:
        """Everything behind `task`, each once."""
        seen, walk = {task}, [task]
        for current in walk:
            for follower in self.successors(current):
                if follower not in seen:
                    seen.add(follower)
                    walk.append(follower)
        return walk[1:]

    def upward_rank_s(self, speed: float, network: Network) -> NDArray[np.float64]:
        """HEFT's upward rank (Topcuoglu et al. 2002) with mean speed and mean link: float64[tasks].

        Seconds from the start of a task to the end of the workflow at the least.
        """
        mb_s, latency_s = _mean_link(network)
        volume_mb = self.workflow.volume_mb
        move_s = np.where(volume_mb > 0, latency_s + volume_mb / mb_s, 0.0)
        return longest_way(self.workflow, self.workflow.tasks.duration_s / speed, move_s)

    def positions(self, rank_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """int64[tasks]: place in the order of falling rank; never before a predecessor."""
        position = np.empty(len(self), np.int64)
        position[rank_order(self.workflow, rank_s)] = np.arange(len(self))
        return position


def _mean_link(network: Network) -> tuple[float, float]:
    """Mean bandwidth (MB/s) and latency (s) between clusters; of one cluster: within it."""
    other = ~np.eye(len(network), dtype=np.bool_) if len(network) > 1 else np.ones((1, 1), np.bool_)
    pace = float((1 / network.bandwidth_mb_s[other]).mean())
    return (1 / pace if pace > 0 else np.inf), float(network.latency_s[other].mean())


def core_s(task: TaskSpec) -> float:
    """Work of a task at speed 1, core-seconds, as `Decomposition.work_core_s` counts it."""
    return task.duration_s * max(1, task.cpu_milli) / 1000


def workflow_of(spec: WorkflowSpec) -> Workflow:
    """The model's workflow. Raises `Refused` (422) naming what is wrong."""
    try:
        return _built(spec)
    except InputError as error:
        raise Refused(422, "Invalid workflow", str(error)) from None


def _built(spec: WorkflowSpec) -> Workflow:
    if spec.kind == "job" and spec.dependencies:
        raise InputError("a job has no dependencies: submit a workflow").at(field="dependencies")
    classes: dict[tuple[object, ...], int] = {}
    rows: list[TaskClass] = []
    class_id = [_class_of(task, classes, rows) for task in spec.tasks]
    names = [task.name for task in spec.tasks]
    table = TaskTable.build(
        names,
        rows,
        class_id,
        np.zeros(len(names)),
        [task.duration_s for task in spec.tasks],
        priority=spec.priority,
    )
    index = {name: i for i, name in enumerate(names)}
    for edge in spec.dependencies:
        for end in (edge.before, edge.after):
            if end not in index:
                raise InputError(f"there is no task {end!r}").at(field="dependencies")
    return Workflow.build(
        spec.name,
        table,
        [index[edge.before] for edge in spec.dependencies],
        [index[edge.after] for edge in spec.dependencies],
        [edge.volume_mb for edge in spec.dependencies],
    )


def _class_of(task: TaskSpec, known: dict[tuple[object, ...], int], rows: list[TaskClass]) -> int:
    key = (
        task.cpu_milli,
        task.memory_mib,
        task.gpu_count,
        task.gpu_milli,
        tuple(task.gpu_models),
    )
    found = known.get(key)
    if found is None:
        try:
            rows.append(TaskClass(task.resources, tuple(task.gpu_models)))
        except InputError as error:
            raise error.at(field=f"task {task.name!r}: {error.place.field}") from None
        found = known[key] = len(rows) - 1
    return found


def packed(spec: WorkflowSpec) -> bytes:
    """For the database: what is default is left out, the rest compressed."""
    return zlib.compress(spec.model_dump_json(exclude_defaults=True).encode(), 1)


def unpacked(workflow_id: str, blob: bytes) -> Shape:
    """From the database."""
    spec = WorkflowSpec.model_validate_json(zlib.decompress(blob))
    return Shape(workflow_id, spec, workflow_of(spec))


class ShapeCache:
    """The workflows used last, unpacked."""

    def __init__(self, capacity: int = CACHED_TASKS) -> None:
        self._shapes: OrderedDict[str, Shape] = OrderedDict()
        self._capacity, self._tasks = capacity, 0

    def get(self, workflow_id: str) -> Shape | None:
        """The shape, if it is here."""
        shape = self._shapes.get(workflow_id)
        if shape is not None:
            self._shapes.move_to_end(workflow_id)
        return shape

    def put(self, shape: Shape) -> None:
        """Keep it, and let go of those not used for longest."""
        if shape.id in self._shapes:
            return
        self._shapes[shape.id] = shape
        self._tasks += len(shape)
        while self._tasks > self._capacity and len(self._shapes) > 1:
            _, old = self._shapes.popitem(last=False)
            self._tasks -= len(old)
