"""CPU use of virtual machines and services over time, from files, on an even grid.

Formats, told apart by their columns: OpenDC's Parquet traces (`id, timestamp, duration, cpu_count,
cpu_usage`, with a `*meta*.parquet` beside it for capacities: each row holds for the `duration` that
ends at its `timestamp`), and CSV with `ts,value` (Crane) or `time,avg_cpu_usage` (Google 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import TraceError
from cerebrum.model.scenario import ReadReport

MAX_CELLS = 200_000_000
_GRID_S = {"opendc": 300.0, "crane": 60.0, "google": 300.0}


@dataclass(frozen=True, eq=False)
class Usage:
    """`values` float64[series, time], NaN where nothing is known; step k is the `step_s` seconds
    that end at `start_unix_s + k * step_s`. `capacity` float64[series], same unit; NaN: unknown.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    start_unix_s: float
    step_s: float
    unit: str
    capacity: NDArray[np.float64]
    report: ReadReport = field(default_factory=ReadReport)


def read_usage(path: str | Path) -> Usage:
    """The series in a file. Raises `TraceError` naming file and column."""
    import polars as pl

    path = Path(path)
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(path, infer_schema_length=10_000)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise TraceError(f"cannot be read: {problem}").at(path) from None
    columns = set(frame.columns)
    if {"id", "timestamp", "duration", "cpu_usage"} <= columns:
        return _opendc(frame, path)
    if {"ts", "value"} <= columns:
        return _single(frame["ts"], frame["value"], 1.0, "crane", path)
    if {"time", "avg_cpu_usage"} <= columns:
        return _single(frame["time"], frame["avg_cpu_usage"], 1e-6, "google", path)
    raise TraceError(
        "expected columns id, timestamp, duration, cpu_usage, or ts, value, or time, "
        f"avg_cpu_usage; got {', '.join(frame.columns[:12])}"
    ).at(path)


def _opendc(frame: Any, path: Path) -> Usage:
    step = _GRID_S["opendc"]
    frame = frame.sort("id", "timestamp")
    names = tuple(str(name) for name in frame["id"].unique(maintain_order=True))
    series = {name: i for i, name in enumerate(names)}
    rows = np.array([series[str(name)] for name in frame["id"]], np.int64)
    seconds = frame["timestamp"].dt.epoch("s").to_numpy().astype(np.float64)
    values = frame["cpu_usage"].to_numpy().astype(np.float64)
    lasted = frame["duration"].to_numpy().astype(np.float64) / 1000
    start = float(seconds.min())
    at = np.rint((seconds - start) / step).astype(np.int64)
    length = int(at.max()) + 1
    if length * len(names) > MAX_CELLS:
        raise TraceError(f"expected at most {MAX_CELLS:,} values on the grid").at(path)
    good = np.isfinite(values) & (values >= 0) & (lasted > 0)
    grid = np.full((len(names), length), np.nan)
    since = at - np.rint(lasted / step).astype(np.int64)
    follows = rows[1:] == rows[:-1]
    since[0] = at[0] - 1  # how long a first row lasted is not known: a step
    since[1:] = np.where(follows, np.maximum(at[:-1], since[1:]), at[1:] - 1)
    for i in np.flatnonzero(good):
        grid[rows[i], since[i] + 1 : at[i] + 1] = values[i]
    report = _report(len(values), good)
    if not report.kept:
        raise TraceError("no row could be used").at(path)
    capacity = _capacities(path, names)
    return Usage(names, grid, start, step, "MHz", capacity, report)


def _capacities(path: Path, names: tuple[str, ...]) -> NDArray[np.float64]:
    """`cpu_capacity` of each machine, from the metadata that lies beside the trace."""
    import polars as pl

    beside = path.with_name(path.name.replace("trace", "meta"))
    if beside == path or not beside.exists():
        return np.full(len(names), np.nan)
    meta = pl.read_parquet(beside)
    known = {str(i): float(c) for i, c in zip(meta["id"], meta["cpu_capacity"], strict=True)}
    return np.array([known.get(name, np.nan) for name in names])


def _single(times: Any, values: Any, unit_s: float, kind: str, path: Path) -> Usage:
    step = _GRID_S[kind]
    seconds = times.to_numpy().astype(np.float64) * unit_s
    numbers = values.to_numpy().astype(np.float64)
    good = np.isfinite(seconds) & np.isfinite(numbers) & (numbers >= 0)
    report = _report(len(numbers), good)
    if not report.kept:
        raise TraceError("no row could be used").at(path)
    seconds, numbers = seconds[good], numbers[good]
    start = float(seconds.min())
    at = np.rint((seconds - start) / step).astype(np.int64)
    if int(at.max()) >= MAX_CELLS:
        raise TraceError(f"expected at most {MAX_CELLS:,} steps of {step:g} s").at(path)
    grid = np.full((1, int(at.max()) + 1), np.nan)
    grid[0, at] = numbers
    name = path.name.partition(".")[0]
    return Usage((name,), grid, start, step, "as given", np.full(1, np.nan), report)


def _report(read: int, good: NDArray[np.bool_]) -> ReadReport:
    dropped = int((~good).sum())
    why = {"not a finite number of at least 0": dropped} if dropped else {}
    return ReadReport(read, read - dropped, why)
