"""Standard Workload Format: logs of parallel machines (Chapin et al., JSSPP'99).

18 numbers a line, -1 where unknown, comments after `;`. Fields beyond the 18th are left out. A job
asks for processors; here a processor is one core (1000 milli), and the machine is one node that
holds all of them, or nodes of `node_processors` each, on which a larger job is a gang of tasks.

What is unknown falls back: processors requested <-> allocated, run time <-> requested time. Any
negative time is unknown. Times are shifted to start at 0 where the log holds Unix times.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError, TraceError, UnknownName
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Job, TaskClass, TaskTable
from cerebrum.traces import _files
from cerebrum.traces._csv import Column, Table, parse_table
from cerebrum.traces._files import Tally

DESCRIPTION = "Standard Workload Format (.swf): logs of parallel machines"
EXTENSIONS = (".swf",)

FIELDS = 18
STATUSES = (0, 1, 5, -1)
"""Read by default: failed, completed, cancelled, unknown. 2, 3 and 4 are parts of a job that a line
with status 0 or 1 sums up."""
_PROCESSORS = ("requested", "allocated", "largest")
_MAX_PROCESSORS = 10_000_000
_MAX_TASKS = 10_000_000
_UNIX_S = 1e8  # a submit time from here on is a Unix time: 100 million seconds is March 1973
_LATEST_S = 1e11
_SLOTS = 32_767
_LINE = re.compile(rb"\s*\d+\s+\d+(\.\d+)?(\s+-?\d+(\.\d+)?){9}")
_COLUMNS = (
    Column("job", "int"),
    Column("submit_s", "float", high=_LATEST_S),
    Column("wait_s"),
    Column("run_s", "float", low=-_LATEST_S, high=_LATEST_S),
    Column("allocated", "int", low=-1, high=_MAX_PROCESSORS),
    Column("cpu_s"),
    Column("used_memory"),
    Column("requested", "int", low=-1, high=_MAX_PROCESSORS),
    Column("requested_s", "float", low=-_LATEST_S, high=_LATEST_S),
    Column("requested_memory"),
    Column("status", "int", low=-1, high=5),
    *map(Column, ("user", "group", "program", "queue", "partition", "after", "think")),
)


def sniff(path: Path, head: bytes) -> bool:
    """Whether the name says so, or the first line that is no comment is eleven numbers or more."""
    if path.name.removesuffix(".gz").endswith(".swf"):
        return True
    rows = [row for row in head.split(b"\n") if row.strip() and not row.startswith(b";")]
    return bool(rows) and _LINE.match(rows[0]) is not None and len(rows[0].split()) >= FIELDS


def read(
    path: Path,
    processors: Literal["requested", "allocated", "largest"] | str = "requested",
    node_processors: int = 0,
    machine_processors: int = 0,
    statuses: Collection[int] | int = STATUSES,
    unknown_run_s: float = -1.0,
    rebase: bool | None = None,
) -> Scenario:
    """The log as tasks, in the file's order.

    `processors` says which count is used, with the other where it is unknown. `machine_processors`
    overrules the header's MaxProcs (else MaxNodes, else the largest job). `statuses` are the jobs
    to keep. `unknown_run_s` is the run time of jobs that have neither run nor requested time (-1:
    they are left out). `rebase` shifts the first submission to 0 (None: only Unix times).
    """
    keep = _check_options(processors, node_processors, machine_processors, statuses)
    data = _files.read_bytes(path)
    _files.decode(path, data)
    header = _header(data)
    table = parse_table(path, _trimmed(data), _COLUMNS, separator="\t", header=False, comment=";")
    tally = Tally(read=len(table))
    procs = _processors(table, processors)
    run_s, requested_s = _times(table, unknown_run_s, tally)
    size = machine_processors or _machine(header, procs, tally)
    kept = _kept(table, tally, procs, run_s, size, keep)
    report = tally.report(path, "jobs")
    _check_unique(table, kept)
    submit_s, start = _submit(table, kept, rebase, header)
    tasks = _tasks(
        table.numbers("job")[kept], submit_s, run_s[kept], requested_s[kept], procs[kept],
        node_processors or size,
    )  # fmt: skip
    return Scenario(
        cluster=_cluster(size, node_processors or size),
        tasks=tasks,
        name=path.name.split(".")[0],
        source=str(path),
        report=report,
        start_unix_s=start,
    )


def write(scenario: Scenario, path: Path) -> None:
    """Write jobs as lines: a gang is one, with the cores of its tasks. -1 where nothing is known.

    Refuses tasks of parts of a core, with memory, GPUs or anything else the format cannot hold.
    """
    tasks = scenario.tasks
    _refuse_loss(tasks, path)
    first, procs, names = _jobs(tasks, path)
    columns = (tasks.submit_s, tasks.duration_s, tasks.requested_s)
    submit_s, run_s, requested_s = (column[first].tolist() for column in columns)
    capacity = sum(node.capacity.cpu_milli for node in scenario.cluster) // 1000
    lines = ["; Version: 2.2", f"; MaxNodes: {len(scenario.cluster)}", f"; MaxProcs: {capacity}"]
    if scenario.start_unix_s is not None:
        lines.append(f"; UnixStartTime: {scenario.start_unix_s:.0f}")
    rows = zip(whole_numbers(names), submit_s, run_s, procs.tolist(), requested_s, strict=True)
    lines += [
        f"{number} {_text(submit)} -1 {_text(run)} {count} -1 -1 {count} {_text(asked)}"
        " -1 1 -1 -1 -1 -1 -1 -1 -1"
        for number, submit, run, count, asked in rows
    ]
    _files.write_text(path, "\n".join(lines) + "\n")


def whole_numbers(names: Sequence[str]) -> Sequence[int]:
    """The names as numbers if they are different whole numbers; otherwise 1, 2, 3, ..."""
    if all(name.isascii() and name.isdigit() and len(name) < 16 for name in names):
        numbers = [int(name) for name in names]
        if len(set(numbers)) == len(numbers):
            return numbers
    return range(1, len(names) + 1)


def _refuse_loss(tasks: TaskTable, path: Path) -> None:
    """`TraceError` naming the first task that holds something the format cannot."""
    wrong = np.array(
        [
            c.resources != Resources(cpu_milli=c.resources.cpu_milli)
            or c.resources.cpu_milli % 1000 > 0
            or c.resources.cpu_milli == 0
            for c in tasks.classes
        ],
        bool,
    )[tasks.class_id]
    if wrong.any():
        name = tasks.names[int(np.argmax(wrong))]
        raise TraceError(f"SWF holds whole cores only (task {name!r})").at(path)
    for times in (tasks.submit_s, tasks.duration_s, tasks.requested_s):
        late = np.isfinite(times) & (times > _LATEST_S)
        if late.any():
            name = tasks.names[int(np.argmax(late))]
            raise TraceError(f"expected at most {_LATEST_S:g} s (task {name!r})").at(path)


def _check_options(
    processors: str, node_processors: int, machine_processors: int, statuses: Collection[int] | int
) -> frozenset[int]:
    if processors not in _PROCESSORS:
        raise UnknownName("processors", processors, _PROCESSORS)
    sizes = {"node_processors": node_processors, "machine_processors": machine_processors}
    for name, value in sizes.items():
        whole = isinstance(value, int) and not isinstance(value, bool)  # pyright: ignore
        if not (whole and 0 <= value <= _MAX_PROCESSORS):
            raise ConfigError(f"expected 0..{_MAX_PROCESSORS}, got {value!r}").at(field=name)
    return frozenset([statuses] if isinstance(statuses, int) else statuses)


def _header(data: bytes) -> dict[str, str]:
    """`; Key: value` comments; the first of a name counts."""
    found: dict[str, str] = {}
    for match in re.finditer(rb"(?m)^;[ \t]*(\w+)[ \t]*:[ \t]*(.*?)[ \t\r]*$", data):
        found.setdefault(match[1].decode(), match[2].decode())
    return found


def _number(header: dict[str, str], name: str) -> int:
    """A whole number of the header; 0 where it is absent, unknown (-1) or not a number."""
    text = header.get(name, "").split(" ")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _trimmed(data: bytes) -> bytes:
    """The same lines with at most 18 fields each, between tabs; blank lines as comments, so that
    lines keep their numbers."""
    rows = data.split(b"\n")
    for i, row in enumerate(rows):
        if row.startswith(b";"):
            continue
        fields = row.split(None, FIELDS)
        rows[i] = b"\t".join(fields[:FIELDS]) if fields else b";"
    return b"\n".join(rows)


def _processors(table: Table, choice: str) -> NDArray[np.int64]:
    requested = table.numbers("requested").astype(np.int64)
    allocated = table.numbers("allocated").astype(np.int64)
    if choice == "largest":
        return np.maximum(requested, allocated)
    first, second = (requested, allocated) if choice == "requested" else (allocated, requested)
    return np.where(first > 0, first, second)


def _times(
    table: Table, unknown_run_s: float, tally: Tally
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run time (negative: unknown) and requested time (NaN: the run time) of each job."""
    run_s = table.numbers("run_s").astype(np.float64)
    requested_s = table.numbers("requested_s").astype(np.float64)
    known = requested_s > 0
    if guessed := int((known & (run_s < 0)).sum()):
        tally.note(f"{guessed:,} jobs have no run time: the requested time is taken")
    run_s = np.where(run_s >= 0, run_s, np.where(known, requested_s, unknown_run_s))
    return run_s, np.where(known, requested_s, np.nan)


def _machine(header: dict[str, str], procs: NDArray[np.int64], tally: Tally) -> int:
    for name in ("MaxProcs", "MaxNodes"):
        if 0 < (size := _number(header, name)) <= _MAX_PROCESSORS:
            return size
    largest = max(int(procs.max()), 1)
    tally.note(f"the header names no MaxProcs: the machine has {largest} processors, as many as "
               "the largest job")  # fmt: skip
    return largest


def _kept(
    table: Table,
    tally: Tally,
    procs: NDArray[np.int64],
    run_s: NDArray[np.float64],
    size: int,
    statuses: frozenset[int],
) -> NDArray[np.int64]:
    """Rows that are jobs; each other one is counted under the first reason that holds."""
    left = np.ones(len(table), bool)
    reasons = (
        ("another status", ~np.isin(table.numbers("status"), sorted(statuses))),
        ("no processors", procs <= 0),
        ("no run time", run_s <= 0),
        ("more processors than the machine", procs > size),
    )
    for reason, wrong in reasons:
        tally.drop(reason, int((wrong & left).sum()))
        left &= ~wrong
    return np.flatnonzero(left)


def _check_unique(table: Table, kept: NDArray[np.int64]) -> None:
    jobs = table.numbers("job")[kept]
    _, first, back = np.unique(jobs, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[back] != np.arange(len(jobs)))
    if len(again):
        row, before = int(kept[again[0]]), int(kept[first[back[again[0]]]])
        raise table.error(
            row, "job", f"job {jobs[again[0]]} stands twice, first on line {table.lines[before]}"
        )


def _submit(
    table: Table, kept: NDArray[np.int64], rebase: bool | None, header: dict[str, str]
) -> tuple[NDArray[np.float64], float | None]:
    """Submit times, shifted where they are Unix times, and the Unix time of second 0 if known."""
    submit_s = table.numbers("submit_s").astype(np.float64)[kept]
    first = float(submit_s.min())
    unix = first >= _UNIX_S
    start = 0.0 if unix else float(_number(header, "UnixStartTime")) or None
    if rebase or (rebase is None and unix):
        return submit_s - first, None if start is None else start + first
    return submit_s, start


def _tasks(
    job: NDArray[np.generic],
    submit_s: NDArray[np.float64],
    run_s: NDArray[np.float64],
    requested_s: NDArray[np.float64],
    procs: NDArray[np.int64],
    node_processors: int,
) -> TaskTable:
    """One task a job; a job larger than a node is a gang of full nodes and a rest."""
    parts = -(-procs // node_processors)
    if parts.sum() > _MAX_TASKS:
        raise ConfigError(f"expected at most {_MAX_TASKS:,} tasks, got {parts.sum():,}").at(
            field="node_processors"
        )
    rows = np.repeat(np.arange(len(job)), parts)
    part = np.arange(len(rows)) - np.repeat(np.cumsum(parts) - parts, parts)
    cores = np.minimum(procs[rows] - part * node_processors, node_processors)
    sizes, class_id = np.unique(cores, return_inverse=True)
    names = [str(number) for number in job.tolist()]
    gangs = bool((parts > 1).any())
    return TaskTable.build(
        names=[f"{names[i]}/{k}" for i, k in zip(rows, part, strict=True)] if gangs else names,
        classes=[TaskClass(Resources(cpu_milli=1000 * int(size))) for size in sizes],
        class_id=class_id,
        submit_s=submit_s[rows],
        duration_s=run_s[rows],
        requested_s=requested_s[rows],
        job_id=rows if gangs else -1,
        jobs=[Job(name, int(n)) for name, n in zip(names, parts, strict=True)] if gangs else (),
    )


def _cluster(size: int, node_processors: int) -> Cluster:
    whole, rest = divmod(size, node_processors)
    sizes = [node_processors] * whole + [rest] * (rest > 0)
    width = len(str(len(sizes) - 1))
    nodes = tuple(
        Node(f"node-{i:0{width}d}", Resources(cpu_milli=1000 * cores), slots=_SLOTS)
        for i, cores in enumerate(sizes)
    )
    return Cluster(nodes, name="swf")


def _jobs(tasks: TaskTable, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """The first task of every job, in order, and the job's cores and name. Only a gang is a job of
    several tasks; they must agree in their times."""
    gangs = np.array([job.gang > 0 for job in tasks.jobs] + [False])
    alone = ~gangs[tasks.job_id]
    key = np.where(alone, len(tasks.jobs) + np.arange(len(tasks)), tasks.job_id)
    _, first, back = np.unique(key, return_index=True, return_inverse=True)
    for times in (tasks.submit_s, tasks.duration_s, tasks.requested_s):
        other = (times != times[first][back]) & ~np.isnan(times)
        if other.any():
            name = tasks.names[int(np.argmax(other))]
            raise TraceError(f"SWF holds gangs of equal times only (task {name!r})").at(path)
    procs = np.bincount(back, weights=tasks.request("cpu_milli") // 1000).astype(np.int64)
    order = np.argsort(first)
    first, procs = first[order], procs[order]
    rows: list[int] = first.tolist()
    names = [tasks[i].name if alone[i] else tasks.jobs[int(tasks.job_id[i])].name for i in rows]
    return first, procs, names


def _text(value: float) -> str:
    if not np.isfinite(value):
        return "-1"
    return str(int(value)) if value.is_integer() else repr(value)
