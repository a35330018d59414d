"""GAIA job lists: `arrival_time,length,cpus` (umassos/GAIA @ 62a5efc, ASPLOS'24, MIT).

Upstream keeps some lists in seconds (pai_1k) and some in hours (pai-100k) and does not say which.
One of whole numbers is taken to be in seconds, one with fractions in hours; `unit` overrules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError, TraceError, UnknownName
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces._csv import Column, Table, read_table
from cerebrum.traces._files import Tally, write_text

DESCRIPTION = "GAIA job list (arrival_time,length,cpus in seconds or hours)"
EXTENSIONS = (".csv",)

UNITS = {"seconds": 1.0, "hours": 3600.0}
_HEADER = b"arrival_time,length,cpus"
_SLOTS = 32_767  # tasks one node may hold
_MAX_CPUS = 1_000_000
_MAX_CPUS_IN_ALL = 2**53 // 1000 - 1
_COLUMNS = (
    Column("arrival_time", "float", high=1e10),
    Column("length", "float", high=1e10),
    Column("cpus", "int", low=1, high=_MAX_CPUS),
)


def sniff(path: Path, head: bytes) -> bool:
    """Whether the file begins with GAIA's header."""
    first = head.split(b"\n", 1)[0].strip().removeprefix(b"\xef\xbb\xbf")
    return first == _HEADER


def read(
    path: Path,
    unit: Literal["auto", "seconds", "hours"] | str = "auto",
    cpus: int = 0,
) -> Scenario:
    """Jobs as tasks. `cpus` is the size of the one node; 0 makes room for all jobs at once, GAIA's
    unlimited capacity. Jobs of no length are left out.
    """
    if unit != "auto" and unit not in UNITS:
        raise UnknownName("unit", unit, (*UNITS, "auto"))
    _check_cpus(cpus)
    table = read_table(path, _COLUMNS)
    tally = Tally(read=len(table))
    chosen = _unit(table) if unit == "auto" else unit
    tally.note(f"times are in {chosen}" + (", by the numbers" if unit == "auto" else ""))
    kept = np.flatnonzero(table.numbers("length") > 0)
    tally.drop("no length", len(table) - len(kept))
    report = tally.report(path, "jobs")
    requests, class_id = np.unique(table.numbers("cpus")[kept], return_inverse=True)
    lines = table.lines[kept]
    _check_fit(table, cpus)
    return Scenario(
        cluster=_cluster(cpus, int(table.numbers("cpus")[kept].sum()), len(kept)),
        tasks=TaskTable.build(
            names=[f"job-{line - 1}" for line in lines],
            classes=[TaskClass(Resources(cpu_milli=1000 * int(n))) for n in requests],
            class_id=class_id,
            submit_s=np.round(table.numbers("arrival_time")[kept] * UNITS[chosen], 6),
            duration_s=np.round(table.numbers("length")[kept] * UNITS[chosen], 6),
        ),
        name=path.name.split(".")[0],
        source=str(path),
        report=report,
    )


def write(scenario: Scenario, path: Path) -> None:
    """Write tasks of whole cores as jobs: in seconds if all times are whole, otherwise in hours
    (exact to rounding), so that `read` takes them for what they are.
    """
    tasks = scenario.tasks
    times = np.stack([tasks.submit_s, tasks.duration_s])
    if not np.isfinite(times).all():
        raise TraceError("GAIA holds only jobs that end").at(path)
    if not (times == np.floor(times)).all():
        times = times / UNITS["hours"]
    rows = [_HEADER.decode()]
    for task, submit, length in zip(tasks, *times.tolist(), strict=True):
        r = task.task_class.resources
        cpus, rest = divmod(r.cpu_milli, 1000)
        if rest or not cpus or r.memory_mib or r.gpu_count or r.extended or r.cache_ways:
            raise TraceError(f"GAIA holds whole cores only (task {task.name!r})").at(path)
        rows.append(f"{submit!r},{length!r},{cpus}")
    write_text(path, "\n".join(rows) + "\n")


def _unit(table: Table) -> str:
    """Seconds if every time is a whole number, as the lists in seconds are; otherwise hours."""
    times = table.frame.select("arrival_time", "length").to_numpy()
    return "seconds" if (times == np.floor(times)).all() else "hours"


def _check_cpus(cpus: int) -> None:
    whole = isinstance(cpus, int) and not isinstance(cpus, bool)  # pyright: ignore
    if not whole or not 0 <= cpus <= _MAX_CPUS_IN_ALL:
        raise ConfigError(f"expected 0 (unlimited) or more cores, got {cpus!r}").at(field="cpus")


def _check_fit(table: Table, cpus: int) -> None:
    requests = table.numbers("cpus")
    if cpus and (wrong := requests > cpus).any():
        row = int(np.argmax(wrong))
        raise table.error(row, "cpus", f"expected at most {cpus} (the node), got {requests[row]}")


def _cluster(cpus: int, wanted: int, jobs: int) -> Cluster:
    """One node of `cpus` cores, or as many as hold every job at once: a node holds 32,767 tasks."""
    count = 1 if cpus else -(-jobs // _SLOTS)
    capacity = Resources(cpu_milli=1000 * (cpus or wanted))
    nodes = tuple(Node(f"node-{i}", capacity, slots=_SLOTS) for i in range(count))
    return Cluster(nodes, name="gaia")
