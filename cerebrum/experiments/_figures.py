"""The numbers behind the figures of a report, thinned to what a page can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.experiments.run import Run
from cerebrum.model.events import EventKind

POINTS = 900
"""Points of a curve at most."""
HEAT_ROWS = 210
"""Rows of the heat map at most; more nodes are averaged in groups."""
GANTT_NODES = 20
GANTT_BARS = 4000
_KINDS = ("no GPU", "shared GPU", "1 GPU", "2 GPUs", "3-4 GPUs", "5 or more GPUs")


def curves(run: Run, by_load: bool) -> dict[str, list[float]]:
    """Allocation, fragmentation and queue length over time, or over the GPU request arrived."""
    found = run.series
    c = found.columns
    if not len(c["time_s"]):
        names = ("x", "gpu", "cpu", "memory", "fragmentation", "queue")
        return {name: [] for name in names}
    x = c["time_s"] - c["time_s"][0]
    if by_load:
        capacity = float(c["gpu_capacity_milli"][0]) or 1.0
        x = 100 * c["arrived_gpu_milli"] / capacity
    at = thin(x)
    curve = {
        "x": x, "gpu": found.percent("gpu"), "cpu": found.percent("cpu"),
        "memory": found.percent("memory"), "fragmentation": found.fragmented_percent,
        "queue": c["queued"],
    }  # fmt: skip
    return {name: [round(float(v), 3) for v in values[at]] for name, values in curve.items()}


def thin(x: NDArray[np.float64], points: int = POINTS) -> NDArray[np.int64]:
    """Which entries of a long curve to draw: first and last of each of `points` / 2 spans of x."""
    if len(x) <= points:
        return np.arange(len(x))
    spans: NDArray[np.float64] = np.linspace(float(x[0]), float(x[-1]), points // 2 + 1)
    first = np.searchsorted(x, spans[:-1], "left")
    last = np.searchsorted(x, spans[1:], "right") - 1
    return np.unique(np.clip(np.concatenate([first, last, [0, len(x) - 1]]), 0, len(x) - 1))


def waits(run: Run) -> dict[str, Any]:
    """The share of started tasks, in %, that waited at most so many seconds."""
    wait_s = run.columns["wait_s"]
    known = np.sort(wait_s[~np.isnan(wait_s)])
    if not len(known):
        return {"x": [], "y": [], "note": "No task started."}
    values, counts = np.unique(known, return_counts=True)
    share = 100 * np.cumsum(counts) / len(known)
    if values[0] > 0:
        values, share = np.concatenate([[0.0], values]), np.concatenate([[0.0], share])
    at = thin(np.log10(1 + values), 400)
    waited = int((known > 0).sum())
    return {
        "x": [round(float(v), 3) for v in values[at]],
        "y": [round(float(v), 3) for v in share[at]],
        "note": f"{waited:,} of {len(known):,} started tasks waited.",
    }


def heat(run: Run) -> dict[str, Any]:
    """Mean share of each node's GPUs (CPU without any) in use, in %, over equal spans of time."""
    found = run.series
    gpus = any(node.capacity.gpu_count for node in found.nodes)
    title = "GPU allocation" if gpus else "CPU allocation"
    values, names = found.heat, run.node_names
    if gpus:  # CPU-only nodes would only be blank lines
        keep = [i for i, node in enumerate(found.nodes) if node.capacity.gpu_count]
        values, names = values[keep], [names[i] for i in keep]
    note = f"{len(names):,} nodes, one line each."
    if len(names) > HEAT_ROWS:
        group = -(-len(names) // HEAT_ROWS)
        starts = np.arange(0, len(names), group)
        sizes = np.diff(np.append(starts, len(names)))[:, None]
        values = np.add.reduceat(values, starts, axis=0) / sizes
        note = f"{len(names):,} nodes; each line is the mean of {group} neighbours."
        names = [f"{names[i]} …" for i in starts]
    cells = [
        [None if np.isnan(v) else min(100, round(100 * float(v))) for v in line] for line in values
    ]
    return {"title": title, "note": note, "names": names, "values": cells, "span": found.span_s}


def gantt(run: Run) -> dict[str, Any]:
    """Bars of tasks on some nodes: [node, lane, start, end, kind, task], seconds from the start."""
    found = intervals(run)
    start = float(run.series.columns["time_s"][0]) if found["task"].size else 0.0
    used, counts = np.unique(found["row"], return_counts=True)
    shown = _pick_rows(used, counts)
    bars: list[list[Any]] = []
    lanes: list[int] = []
    names, kinds = run.scenario.tasks.names, _task_kinds(run)
    for place, row in enumerate(shown):
        mine = np.flatnonzero(found["row"] == row)
        mine = mine[np.argsort(found["start_s"][mine], kind="stable")]
        lane_of, width = _lanes(found["start_s"][mine], found["end_s"][mine])
        lanes.append(width)
        for i, lane in zip(mine, lane_of, strict=True):
            task = int(found["task"][i])
            begin, end = found["start_s"][i] - start, found["end_s"][i] - start
            times = [round(float(begin), 2), round(float(end), 2)]
            bars.append([place, lane, *times, int(kinds[task]), names[task]])
    note = "Every attempt of every task."
    if len(shown) < len(used):
        note = (
            f"{len(shown)} of {len(used):,} nodes that ran tasks, evenly chosen: {len(bars):,} of "
            f"{found['task'].size:,} attempts."
        )
    present = {bar[4] for bar in bars}
    return {
        "nodes": [run.node_names[row] for row in shown], "lanes": lanes, "bars": bars,
        "kinds": [kind if i in present else "" for i, kind in enumerate(_KINDS)],
        "span": run.series.span_s, "note": note,
    }  # fmt: skip


def _pick_rows(used: NDArray[Any], counts: NDArray[Any]) -> list[int]:
    """Rows to show: evenly spread, few enough nodes and bars."""
    if len(used) <= GANTT_NODES and counts.sum() <= GANTT_BARS:
        return [int(r) for r in used]
    at = np.unique(np.linspace(0, len(used) - 1, min(len(used), GANTT_NODES)).round().astype(int))
    shown: list[int] = []
    room = GANTT_BARS
    for i in at:
        if counts[i] <= room:
            shown.append(int(used[i]))
            room -= int(counts[i])
    return shown


def _lanes(start_s: NDArray[Any], end_s: NDArray[Any]) -> tuple[list[int], int]:
    """A line for each bar so that none overlap, and how many lines there are."""
    free: list[float] = []
    out: list[int] = []
    for begin, end in zip(start_s.tolist(), end_s.tolist(), strict=True):
        lane = next((i for i, until in enumerate(free) if until <= begin), len(free))
        if lane == len(free):
            free.append(0.0)
        free[lane] = end
        out.append(lane)
    return out, max(1, len(free))


def _task_kinds(run: Run) -> NDArray[np.int64]:
    """What colours a bar: 0 no GPU, 1 a share, then by number of GPUs."""
    count, milli = run.scenario.tasks.request("gpu_count"), run.scenario.tasks.request("gpu_milli")
    kind = np.select(
        [count == 0, (count == 1) & (milli < 1000), count == 1, count == 2, count <= 4],
        [0, 1, 2, 3, 4],
        5,
    )
    return kind.astype(np.int64)


def intervals(run: Run) -> dict[str, NDArray[Any]]:
    """Every attempt of every task: `task`, `row`, `gpus`, `start_s`, `end_s`, `ended`.

    One that still runs has `ended` False and the time of the last event as its end.
    """
    rows = run.log.rows
    kind = rows["kind"]
    bound = rows[kind == EventKind.BOUND]
    ended = rows[kind <= EventKind.BIND_FAILED]
    bound = bound[np.argsort(bound["subject"], kind="stable")]
    ended = ended[np.argsort(ended["subject"], kind="stable")]
    # The k-th attempt of a task ends with its k-th end, so match by (task, k).
    end_s = np.full(len(bound), rows["time_s"][-1] if len(rows) else 0.0)
    first = np.searchsorted(bound["subject"], ended["subject"], "left")
    nth = np.arange(len(ended)) - np.searchsorted(ended["subject"], ended["subject"], "left")
    end_s[first + nth] = ended["time_s"]
    over = np.zeros(len(bound), bool)
    over[first + nth] = True
    return {
        "task": bound["subject"], "row": bound["row"], "gpus": bound["gpus"],
        "start_s": bound["time_s"], "end_s": end_s, "ended": over,
    }  # fmt: skip
