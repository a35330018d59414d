"""A page of what a federation did: where tasks ran and when, why, and how far from the bounds.

It takes plain records (the field names of the controller's API), so a live federation, a stored log
and a simulation can all be shown. One file, no network, no script, strict content security policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerebrum.experiments import _store
from cerebrum.experiments._page import asset, policy_hash, template

Record = Mapping[str, Any]
LANE_PX, WIDTH_PX, LABEL_PX, TICKS = 14, 1000, 150, 8
MAX_BARS = 20_000


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """One workflow: its record, its tasks with `started_unix_s`, `ended_unix_s`, and its bounds.

    `bounds` name -> seconds: what its makespan is held against, such as the critical path.
    """

    record: Record
    tasks: Sequence[Record]
    bounds: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def makespan_s(self) -> float | None:
        """From the first start to the last end; None unless every task has ended."""
        starts = [t["started_unix_s"] for t in self.tasks if t.get("started_unix_s") is not None]
        ends = [t.get("ended_unix_s") for t in self.tasks]
        if not starts or any(end is None for end in ends):
            return None
        return float(max(end for end in ends if end is not None) - min(starts))


def write_federation_report(
    workflows: Sequence[WorkflowRecord], clusters: Sequence[Record], path: Path, title: str
) -> None:
    """Write the page, whole or not at all."""
    _store.write_whole(path, render(workflows, clusters, title))


def render(workflows: Sequence[WorkflowRecord], clusters: Sequence[Record], title: str) -> str:
    """The page as text."""
    css = asset("report.css") + asset("federation.css")
    tasks = [task for workflow in workflows for task in workflow.tasks]
    return template("federation.html.j2").render(
        title=title,
        css=css,
        css_hash=policy_hash(css),
        tiles=_tiles(workflows, clusters, tasks),
        workflows=[_summary(workflow) for workflow in workflows],
        chart=_chart(workflows),
        clusters=clusters,
        tasks=sorted(tasks, key=lambda t: (t.get("started_unix_s") or 0.0, t["uid"])),
        start_s=_start(tasks),
    )


def _start(tasks: Sequence[Record]) -> float:
    return min((t["started_unix_s"] for t in tasks if t.get("started_unix_s")), default=0.0)


def _tiles(
    workflows: Sequence[WorkflowRecord], clusters: Sequence[Record], tasks: Sequence[Record]
) -> list[dict[str, str]]:
    done = sum(t["state"] == "succeeded" for t in tasks)
    ended = [t["ended_unix_s"] for t in tasks if t.get("ended_unix_s")]
    whole = max(ended, default=0.0) - _start(tasks) if ended else 0.0
    energy = sum(t.get("energy_j") or 0.0 for t in tasks)
    return [
        {"label": "Workflows", "value": str(len(workflows)), "hint": "and batches of jobs"},
        {"label": "Tasks succeeded", "value": f"{done:,}", "hint": f"of {len(tasks):,}"},
        {"label": "Clusters", "value": str(len(clusters)),
         "hint": f"{sum(c['nodes'] for c in clusters)} nodes"},
        {"label": "First start to last end", "value": f"{whole:.1f} s", "hint": "wall time"},
        {"label": "Energy of tasks", "value": f"{energy / 3.6e6:.4g} kWh",
         "hint": "by the nodes' power models; 0 without"},
    ]  # fmt: skip


def _summary(workflow: WorkflowRecord) -> dict[str, Any]:
    makespan = workflow.makespan_s
    rows = [{"name": name, "seconds": bound,
             "ratio": makespan / bound if makespan is not None and bound > 0 else None}
            for name, bound in workflow.bounds.items()]  # fmt: skip
    return {"record": workflow.record, "makespan_s": makespan, "bounds": rows}


def _chart(workflows: Sequence[WorkflowRecord]) -> dict[str, Any]:
    """Bars of tasks on the lanes of their nodes: a Gantt chart in SVG coordinates."""
    placed = [
        (task, i)
        for i, workflow in enumerate(workflows)
        for task in workflow.tasks
        if task.get("started_unix_s") and task.get("ended_unix_s") and task.get("node")
    ][:MAX_BARS]
    tasks = [task for task, _ in placed]
    start = _start(tasks)
    span = max((t["ended_unix_s"] for t in tasks), default=start) - start or 1.0
    scale = (WIDTH_PX - LABEL_PX) / span
    places = sorted({(str(t["cluster"]), str(t["node"])) for t in tasks})
    bars: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    top = 0
    for cluster, node in places:
        here = [(t, i) for t, i in placed if (t["cluster"], t["node"]) == (cluster, node)]
        lanes = _lanes([t for t, _ in here])
        for (task, i), lane in zip(here, lanes, strict=True):
            width = (task["ended_unix_s"] - task["started_unix_s"]) * scale
            bars.append({
                "x": LABEL_PX + (task["started_unix_s"] - start) * scale, "width": max(width, 1.0),
                "y": top + lane * LANE_PX, "colour": i % 8, "task": task,
                "failed": task["state"] != "succeeded",
            })  # fmt: skip
        height = (max(lanes, default=0) + 1) * LANE_PX + 8
        rows.append({"label": f"{cluster}/{node}", "y": top, "height": height})
        top += height
    ticks = [{"x": LABEL_PX + k * (WIDTH_PX - LABEL_PX) / TICKS, "label": f"{k * span / TICKS:.1f}"}
             for k in range(TICKS + 1)]  # fmt: skip
    return {"bars": bars, "rows": rows, "ticks": ticks, "height": top, "lane": LANE_PX,
            "width": WIDTH_PX, "label": LABEL_PX}  # fmt: skip


def _lanes(tasks: Sequence[Record]) -> list[int]:
    """A lane for each task, so that tasks of one lane do not overlap: the lowest free one."""
    free_at: list[float] = []
    out = [0] * len(tasks)
    for k in sorted(range(len(tasks)), key=lambda k: (tasks[k]["started_unix_s"], k)):
        start = float(tasks[k]["started_unix_s"])
        lane = next((i for i, end in enumerate(free_at) if end <= start), len(free_at))
        if lane == len(free_at):
            free_at.append(0.0)
        free_at[lane] = float(tasks[k]["ended_unix_s"])
        out[k] = lane
    return out
