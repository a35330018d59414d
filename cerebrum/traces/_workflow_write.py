"""A workflow, and how it ran, as WfFormat 1.5.

A volume becomes a file of its own, written at one end of the dependency and read at the other;
sizes are rounded to whole bytes. WfFormat has no word for GPUs, placement constraints, environment,
timeouts or attempts: these are not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.tasks import TaskClass
from cerebrum.model.workflow import Workflow
from cerebrum.traces._workflow_build import MAX_MB

SCHEMA_VERSION = "1.5"


@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """Where and when each task of a workflow ran: element i is task i.

    `start_s` and `end_s` in seconds from the workflow's start; `machines` describes the nodes as
    far as they are known; `start_unix_s` is the Unix time of second 0. Raises `InputError` naming
    the row for times that are not finite or run backwards.
    """

    node: Sequence[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    machines: Sequence[Node] = ()
    start_unix_s: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.node) == len(self.start_s) == len(self.end_s):
            raise InputError("expected as many nodes as starts and ends").at(field="execution")
        wrong = ~(np.isfinite(self.start_s) & np.isfinite(self.end_s) & (self.start_s >= 0))
        wrong |= ~(self.end_s >= self.start_s)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InputError(
                f"task {i}: expected finite 0 <= start <= end, got {self.start_s[i]} to "
                f"{self.end_s[i]}"
            ).at(field="execution")

    @property
    def makespan_s(self) -> float:
        """From the first start to the last end."""
        return float(self.end_s.max() - self.start_s.min()) if len(self.end_s) else 0.0


def wfformat_text(workflow: Workflow, execution: Execution | None = None) -> str:
    """The file's text. Without an execution, the runtimes are the workflow's durations."""
    if execution is not None and len(execution.node) != len(workflow):
        raise InputError(
            f"expected one row for each of {len(workflow)} tasks, got {len(execution.node)}"
        ).at(field="execution")
    tasks, files = _specification(workflow)
    document: dict[str, Any] = {
        "name": workflow.name,
        "description": "Written by Cerebrum",
        "schemaVersion": SCHEMA_VERSION,
        "workflow": {
            "specification": {"tasks": tasks, "files": files},
            "execution": _execution(workflow, execution),
        },
    }
    # Ten times as fast as json.dumps, whose indenting is plain Python.
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def _specification(workflow: Workflow) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    names = workflow.tasks.names
    tasks: list[dict[str, Any]] = [
        {"name": n, "id": n, "parents": [], "children": [], "inputFiles": [], "outputFiles": []}
        for n in names
    ]
    for one, other in zip(workflow.before.tolist(), workflow.after.tolist(), strict=True):
        tasks[one]["children"].append(names[other])
        tasks[other]["parents"].append(names[one])
    everyone = np.arange(len(names))
    moved = _files("moved", workflow.volume_mb)
    entering, leaving = _files("input", workflow.input_mb), _files("output", workflow.output_mb)
    _use(tasks, "inputFiles", workflow.after, moved)
    _use(tasks, "outputFiles", workflow.before, moved)
    _use(tasks, "inputFiles", everyone, entering)
    _use(tasks, "outputFiles", everyone, leaving)
    return tasks, [file for file in (*moved, *entering, *leaving) if file["sizeInBytes"] > 0]


def _files(kind: str, volume_mb: NDArray[np.float64]) -> list[dict[str, Any]]:
    """A file for each volume, of whole bytes."""
    if (volume_mb > MAX_MB).any():
        raise InputError(f"expected at most {MAX_MB:g} megabytes, got {volume_mb.max():g}").at(
            field="sizeInBytes"
        )
    sizes = np.rint(volume_mb * 1e6).astype(np.int64).tolist()
    return [{"id": f"{kind}-{i}", "sizeInBytes": size} for i, size in enumerate(sizes)]


def _use(
    tasks: list[dict[str, Any]], key: str, user: NDArray[np.integer], files: list[dict[str, Any]]
) -> None:
    """Name each file, unless it is empty, in the list under `key` of the task that uses it."""
    for task, file in zip(user.tolist(), files, strict=True):
        if file["sizeInBytes"]:
            tasks[task][key].append(file["id"])


def _execution(workflow: Workflow, execution: Execution | None) -> dict[str, Any]:
    runtime = (
        workflow.tasks.duration_s if execution is None else execution.end_s - execution.start_s
    )
    if not np.isfinite(runtime).all():
        name = workflow.tasks.names[int(np.argmin(np.isfinite(runtime)))]
        raise InputError(f"task {name!r} has no end: expected a finite duration").at(
            field="runtimeInSeconds"
        )
    nodes = None if execution is None else execution.node
    makespan_s = workflow.critical_path_s() if execution is None else execution.makespan_s
    if not np.isfinite(makespan_s):
        raise InputError("its durations add up to infinity").at(field="makespanInSeconds")
    unix_s = 0.0 if execution is None else execution.start_unix_s
    asked = [_request(task_class) for task_class in workflow.tasks.classes]
    class_id: list[int] = workflow.tasks.class_id.tolist()
    return {
        "makespanInSeconds": makespan_s,
        "executedAt": datetime.fromtimestamp(unix_s, UTC).isoformat(),
        "tasks": [
            _run(workflow, i, runtime_s, asked[class_id[i]], nodes)
            for i, runtime_s in enumerate(runtime.tolist())
        ],
        "machines": _machines(execution),
    }


def _request(task_class: TaskClass) -> dict[str, float]:
    asked = task_class.resources
    return {"coreCount": asked.cpu_milli / 1000, "memoryInBytes": asked.memory_mib * 2**20}


def _run(
    workflow: Workflow,
    i: int,
    runtime_s: float,
    asked: dict[str, float],
    nodes: Sequence[str] | None,
) -> dict[str, Any]:
    name = workflow.tasks.names[i]
    run: dict[str, Any] = {"id": name, "runtimeInSeconds": runtime_s}
    program = workflow.programs.get(name)
    if program is not None and program.command:
        first, *rest = program.command
        run["command"] = {"program": first, "arguments": rest}
    run.update(asked)
    if nodes is not None:
        run["machines"] = [nodes[i]]
    return run


def _machines(execution: Execution | None) -> list[dict[str, Any]]:
    if execution is None:
        return []
    known = {node.name: node for node in execution.machines}
    machines: list[dict[str, Any]] = []
    for name in sorted(set(execution.node)):
        machine: dict[str, Any] = {"nodeName": name}
        if name in known:
            capacity = known[name].capacity
            machine["memoryInBytes"] = capacity.memory_mib * 2**20
            machine["cpu"] = {"coreCount": -(-capacity.cpu_milli // 1000)}
        machines.append(machine)
    return machines
