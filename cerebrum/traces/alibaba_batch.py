"""Alibaba's cluster trace of 2018, `batch_task.csv`: many jobs, each a workflow.

Published with the trace (github.com/alibaba/clusterdata, cluster-trace-v2018). A task's name holds
its dependencies: `R3_1_2` is task 3 of its job, a reduce step, after tasks 1 and 2. A row has many
instances with one runtime; it is read as one task of `plan_cpu` (100 is a core). `plan_mem` is a
share of a machine of unknown size and not read. With a header line its names are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.scenario import ReadReport
from cerebrum.model.workflow import Workflow
from cerebrum.traces import _files
from cerebrum.traces._workflow_build import MAX_DURATION_S, Draft

DESCRIPTION = "Alibaba 2018 batch_task.csv: one workflow per job"
Incomplete = Literal["drop", "cut"]

_NAME = re.compile(r"[A-Za-z]+(\d{1,9})((?:_\d{1,9})*)(?:_Stg\d+|(_))?")
_HEADER = b"task_name,"


@dataclass(frozen=True, slots=True)
class WorkflowSet:
    """The workflows of a file in the order of their first rows, and what was kept of it."""

    workflows: tuple[Workflow, ...]
    report: ReadReport

    def __len__(self) -> int:
        return len(self.workflows)

    def __iter__(self) -> Iterator[Workflow]:
        return iter(self.workflows)


class _Dropped(Exception):
    """A job that cannot be read; the text is the reason, for the report."""


def read_workflows(
    path: str | Path, incomplete: Incomplete = "drop", limit: int | None = None
) -> WorkflowSet:
    """One workflow per job that ended; at most `limit` of them.

    Samples of the trace often lack rows. `incomplete` jobs, whose tasks wait for tasks that the
    file does not hold (or whose name was cut off in the trace), are dropped, or ("cut") kept
    without these dependencies. Raises `TraceError` with file, line and field, and when no job is
    left.
    """
    path = Path(path)
    if incomplete not in get_args(Incomplete):
        raise ConfigError(f"incomplete: expected 'drop' or 'cut', got {incomplete!r}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit: expected at least 1, got {limit}")
    rows = _rows(path)
    tally = _files.Tally(read=sum(map(len, rows.values())))
    tally.note("a task's instances count as one task; memory is not read")
    found: list[Workflow] = []
    for name, job in rows.items():
        if limit is not None and len(found) == limit:
            tally.drop("beyond the limit", len(job))
            continue
        try:
            found.append(_workflow(path, name, job, incomplete, tally))
        except _Dropped as dropped:
            tally.drop(str(dropped), len(job))
    return WorkflowSet(tuple(found), tally.report(path))


def _rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Job -> its rows (task, status, start, end, cpu), each checked."""
    from cerebrum.traces._csv import Column, parse_table

    data = _files.read_bytes(path)
    _files.decode(path, data)
    header = data.startswith(_HEADER)
    first = data.partition(b"\n")[0].decode().rstrip("\r").split(",") if header else []
    names = first if len(first) == len(set(first)) == 9 else _NAMES
    columns = [Column(name, *kind) for name, kind in zip(names, _KINDS, strict=True)]
    table = parse_table(path, data, columns, header=header)
    used = [table.frame[names[i]].to_list() for i in (0, 4, 5, 6, 7)]
    jobs: dict[str, list[tuple[Any, ...]]] = {}
    for job, *row in zip(table.texts(names[2]), *used, strict=True):
        jobs.setdefault(job, []).append(tuple(row))
    return jobs


_NAMES = [
    "task_name",
    "instance_num",
    "job_name",
    "task_type",
    "status",
    "start_time",
    "end_time",
    "plan_cpu",
    "plan_mem",
]
_KINDS: list[tuple[Any, ...]] = [
    ("text",),
    ("int", 0, 1e9, 0),
    ("text",),
    ("text", 0, 0, ""),
    ("text",),
    ("float", 0, MAX_DURATION_S, 0.0),
    ("float", 0, MAX_DURATION_S, 0.0),
    ("float", 0, 1e6, 0.0),
    ("float", 0, 1e6, 0.0),
]


def _workflow(
    path: Path, name: str, job: list[tuple[Any, ...]], incomplete: Incomplete, tally: _files.Tally
) -> Workflow:
    if any(status != "Terminated" for _, status, *_ in job):
        raise _Dropped("a task of the job did not end well")
    if any(end < start for _, _, start, end, _ in job):
        raise _Dropped("a task of the job ends before it starts")
    before, after = _dependencies(job, incomplete, tally)
    draft = Draft(
        path,
        "alibaba-batch",
        name,
        [task for task, *_ in job],
        np.asarray([end - start for _, _, start, end, _ in job], np.float64),
        [int(np.ceil(cpu * 10)) for *_, cpu in job],
        before=before,
        after=after,
        volume_mb=[0.0] * len(before),
    )
    try:
        return draft.finish().workflow
    except InputError as error:
        raise _Dropped(_reason(error)) from None


def _dependencies(
    job: list[tuple[Any, ...]], incomplete: Incomplete, tally: _files.Tally
) -> tuple[list[int], list[int]]:
    """Rows before and after; names without numbers are tasks of their own."""
    parsed = [_NAME.fullmatch(task) for task, *_ in job]
    number = {int(m[1]): row for row, m in enumerate(parsed) if m}
    if len(number) < sum(m is not None for m in parsed):
        raise _Dropped("two tasks of the job have one number")
    before: list[int] = []
    after: list[int] = []
    for row, match in enumerate(parsed):
        if match is None:
            continue
        wanted = [int(text) for text in match[2].split("_") if text]
        missing = [other for other in wanted if other not in number]
        if missing or match[3]:
            if incomplete == "drop":
                raise _Dropped("a task of the job waits for one that is not in the file")
            tally.note("dependencies on tasks that the file does not hold were left out")
        known = [number[other] for other in wanted if other in number]
        before += known
        after += [row] * len(known)
    return before, after


def _reason(error: InputError) -> str:
    if "cycle" in error.problem:
        return "the job's tasks wait for each other in a cycle"
    return "two tasks of the job have one name" if "twice" in error.problem else error.problem
