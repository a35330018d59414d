"""From what a reader found to a checked `Workflow`: names, classes, bounds, whose error it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError, TraceError, nearest
from cerebrum.model.program import Program
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import ReadReport
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.model.workflow import Workflow

MAX_TASKS = 1_000_000
"""Tasks one workflow may hold."""
MAX_DEPENDENCIES = 10_000_000
"""Dependencies one workflow may hold, and flows of files between tasks."""
MAX_NAME = 253
"""Characters a task's name may have, as in Kubernetes."""
MAX_DURATION_S = 3.2e9
"""A task may take a hundred years."""
MAX_CORES = 10_000
MAX_MEMORY_MIB = 100_000_000
MAX_MB = 1e12
"""10^6 bytes one file or volume may hold: 10^18 bytes."""
UNKNOWN_DURATION_S = 60.0
"""Stands in where a file does not say how long a task takes; the read report says so."""
_MAX_COMPARED = 5_000

Columns = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow, the format it was read from, and what was assumed or left out."""

    workflow: Workflow
    format: str
    report: ReadReport


@dataclass(slots=True)
class Draft:
    """Columns of a workflow that is being read; row i of each is task i."""

    path: Path
    format: str
    name: str
    names: Sequence[str]
    duration_s: NDArray[np.float64] | float = UNKNOWN_DURATION_S
    cpu_milli: Sequence[int] | NDArray[np.int64] | int = 0
    memory_mib: Sequence[int] | NDArray[np.int64] | int = 0
    gpus: Sequence[int] | NDArray[np.int64] | int = 0
    before: Sequence[int] | NDArray[np.int64] = ()
    after: Sequence[int] | NDArray[np.int64] = ()
    volume_mb: Sequence[float] | NDArray[np.float64] = ()
    input_mb: NDArray[np.float64] | None = None
    output_mb: NDArray[np.float64] | None = None
    programs: Mapping[str, Program] | None = None
    notes: dict[str, None] = field(default_factory=dict[str, None])

    def note(self, text: str) -> None:
        """Say once what was assumed or left out."""
        self.notes.setdefault(text)

    def finish(self) -> WorkflowFile:
        """The checked workflow; what the nouns refuse becomes an error of this file."""
        try:
            classes, class_id = self._classes()
            table = TaskTable.build(
                self.names, classes, class_id, np.zeros(len(self.names)), self.duration_s
            )
            workflow = Workflow.build(
                self.name or "workflow",
                table,
                self.before,
                self.after,
                self.volume_mb,
                self.input_mb,
                self.output_mb,
                self.programs,
            )
        except TraceError:
            raise
        except InputError as error:
            raise TraceError(error.problem).at(self.path, field=error.place.field) from None
        n = len(table)
        return WorkflowFile(workflow, self.format, ReadReport(n, n, notes=tuple(self.notes)))

    def _classes(self) -> tuple[list[TaskClass], NDArray[np.int64]]:
        """Tasks that ask for the same share a class; classes in ascending order of request."""
        n = len(self.names)
        asked = [self.cpu_milli, self.memory_mib, self.gpus]
        requests = np.stack([np.broadcast_to(np.asarray(a, np.int64), (n,)) for a in asked])
        key = (requests[0] << 36) + (requests[1] << 8) + requests[2]
        _, first, class_id = np.unique(key, return_index=True, return_inverse=True)
        return [
            TaskClass(Resources(cpu, memory, gpus, 1000 if gpus else 0))
            for cpu, memory, gpus in requests[:, first].T.tolist()
        ], class_id.astype(np.int64)


def index_of(names: Sequence[str], fail: Callable[[int, str], TraceError]) -> dict[str, int]:
    """Name -> row. `fail(row, problem)` makes the error for a name that cannot be one."""
    index = dict(zip(names, range(len(names)), strict=True))
    check_names(names, index, fail)
    return index


def check_names(
    names: Sequence[str], index: Mapping[str, int], fail: Callable[[int, str], TraceError]
) -> None:
    """Refuse names that are given twice, that are empty, too long or cannot be printed."""
    if len(index) < len(names):
        row = next(i for i, name in enumerate(names) if index[name] != i)
        raise fail(index[names[row]], f"the id {short(names[row])} is given to two tasks")
    lengths = set(map(len, names))
    if min(lengths) < 1 or max(lengths) > MAX_NAME:
        row = next(i for i, name in enumerate(names) if not 1 <= len(name) <= MAX_NAME)
        raise fail(row, f"expected 1 to {MAX_NAME} characters, got {len(names[row])}")
    if not "".join(names).isprintable():
        row = next(i for i, name in enumerate(names) if not name.isprintable())
        raise fail(row, f"expected printable characters, got {short(names[row])}")


def no_such(name: str, known: Mapping[str, Any], what: str = "task") -> str:
    """`there is no task 'x'`, with the nearest one where there are few enough to look through."""
    near = nearest(name, known) if len(known) <= _MAX_COMPARED and len(name) <= MAX_NAME else None
    return f"there is no {what} {short(name)}" + (f", did you mean {near!r}?" if near else "")


def short(text: str) -> str:
    """A text in an error message, quoted, short."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def check_count(path: Path, found: int, field: str | None, what: str = "tasks") -> None:
    """Refuse none, and more than `MAX_TASKS`."""
    if found < 1:
        raise TraceError(f"expected {what}, found none").at(path, field=field)
    if found > MAX_TASKS:
        raise TraceError(f"expected at most {MAX_TASKS:,} {what}, found {found:,}").at(
            path, field=field
        )
