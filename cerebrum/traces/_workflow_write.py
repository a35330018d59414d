"""A workflow, and how it ran, as WfFormat 1.5.

A volume becomes a file of its own, written at one end of the dependency and read at the other;
sizes are rounded to whole bytes. WfFormat has no word for GPUs, placement constraints, environment,
timeouts or attempts: these are not written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.workflow import Workflow

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
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _specification(workflow: Workflow) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    names = workflow.tasks.names
    tasks: list[dict[str, Any]] = [
        {"name": n, "id": n, "parents": [], "children": [], "inputFiles": [], "outputFiles": []}
        for n in names
    ]
    files: list[dict[str, Any]] = []

    def add(volume_mb: float, name: str, reader: int | None, writer: int | None) -> None:
        if (size := round(volume_mb * 1e6)) > 0:
            files.append({"id": name, "sizeInBytes": size})
            if reader is not None:
                tasks[reader]["inputFiles"].append(name)
            if writer is not None:
                tasks[writer]["outputFiles"].append(name)

    before, after = workflow.before.tolist(), workflow.after.tolist()
    volumes = workflow.volume_mb.tolist()
    for edge, (one, other, volume) in enumerate(zip(before, after, volumes, strict=True)):
        tasks[one]["children"].append(names[other])
        tasks[other]["parents"].append(names[one])
        add(volume, f"moved-{edge}", other, one)
    for i, (entering, leaving) in enumerate(
        zip(workflow.input_mb.tolist(), workflow.output_mb.tolist(), strict=True)
    ):
        add(entering, f"input-{i}", i, None)
        add(leaving, f"output-{i}", None, i)
    return tasks, files


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
    unix_s = 0.0 if execution is None else execution.start_unix_s
    return {
        "makespanInSeconds": makespan_s,
        "executedAt": datetime.fromtimestamp(unix_s, UTC).isoformat(),
        "tasks": [_run(workflow, i, s, nodes) for i, s in enumerate(runtime.tolist())],
        "machines": _machines(execution),
    }


def _run(
    workflow: Workflow, i: int, runtime_s: float, nodes: Sequence[str] | None
) -> dict[str, Any]:
    table = workflow.tasks
    name, asked = table.names[i], table.classes[int(table.class_id[i])].resources
    run: dict[str, Any] = {"id": name, "runtimeInSeconds": runtime_s}
    program = workflow.programs.get(name)
    if program is not None and program.command:
        first, *rest = program.command
        run["command"] = {"program": first, "arguments": rest}
    run["coreCount"] = asked.cpu_milli / 1000
    run["memoryInBytes"] = asked.memory_mib * 2**20
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
