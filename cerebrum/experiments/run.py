"""A run: what came out of one scenario under one policy and seed, in memory and on disk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from cerebrum import traces
from cerebrum.engine import metrics
from cerebrum.engine.log import EventLog, read_log
from cerebrum.engine.series import Series, series
from cerebrum.experiments import _store
from cerebrum.model.errors import NotFound, TraceError
from cerebrum.model.events import EventKind, TaskState
from cerebrum.model.scenario import Scenario

RECORD, EVENTS, SCENARIO = "run.json", "events.parquet", "scenario.zip"
REPORT = "report.html"
_DECISIONS = (
    EventKind.BOUND, EventKind.REJECTED, EventKind.UNSCHEDULABLE, EventKind.DEFERRED,
    EventKind.PREEMPTED,
)  # fmt: skip
_ACTIONS = {
    EventKind.BOUND: "bind", EventKind.REJECTED: "reject", EventKind.UNSCHEDULABLE: "wait",
    EventKind.DEFERRED: "defer", EventKind.PREEMPTED: "preempt",
}  # fmt: skip


class Meta(BaseModel):
    """How a run came about. `key` seeds the policy's draws; `commit` is Cerebrum's, if known.

    `wall_s` and `cpu_s` are of the simulation itself, without reading and reporting.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    policy: str
    seed: int
    key: int
    scenario: str
    source: str
    created: str
    wall_s: float
    cpu_s: float
    versions: dict[str, str]
    commit: str = ""
    floor_s: float = metrics.SLOWDOWN_FLOOR_S


@dataclass(frozen=True, eq=False)
class Run:
    """An event log with its scenario and metadata; every table is computed from the log."""

    scenario: Scenario = field(repr=False)
    log: EventLog = field(repr=False)
    meta: Meta
    id: str = ""

    @property
    def digest(self) -> str:
        """Equal exactly when two runs did the same, event by event."""
        return self.log.digest

    @cached_property
    def series(self) -> Series:
        """Allocation, fragmentation and queue over time, with a heat map of 120 spans."""
        return series(self.scenario, self.log, bins=120)

    @cached_property
    def columns(self) -> metrics.Columns:
        """The numbers behind `tasks`, as arrays by task id."""
        return metrics.task_columns(self.scenario, self.log, self.meta.floor_s)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in a few dozen numbers, units in their names."""
        return metrics.summary(self.scenario, self.log, self.columns, self.series)

    @cached_property
    def tasks(self) -> pl.DataFrame:
        """One row a task: request, times, slowdown, node, GPUs, final state, attempts, reason."""
        table, c = self.scenario.tasks, self.columns
        jobs = [job.name for job in table.jobs]
        states = {int(state): state.name.lower() for state in TaskState}
        nodes = self.node_names
        columns: dict[str, Any] = {
            "name": list(table.names),
            "class_id": table.class_id,
            "job": [jobs[j] if j >= 0 else "" for j in table.job_id],
            "cpu_milli": table.request("cpu_milli"),
            "memory_mib": table.request("memory_mib"),
            "gpu_count": table.request("gpu_count"),
            "gpu_milli": table.request("gpu_milli"),
            **{name: c[name] for name in _TIMES},
            "node": [nodes[row] if row >= 0 else "" for row in c["row"]],
            "gpus": metrics.texts(c["gpus"], metrics.gpu_text),
            "state": metrics.texts(c["state"], states.__getitem__),
            "attempts": c["attempts"],
            "preemptions": c["preemptions"],
            "failures": c["failures"],
            "reason": metrics.texts(c["reason"], metrics.reason_text),
        }
        return pl.DataFrame(columns, nan_to_null=True)

    @cached_property
    def nodes(self) -> pl.DataFrame:
        """One row a node: capacity, time-weighted utilisation in %, tasks started on it."""
        nodes = self.series.nodes
        capacity = [node.capacity for node in nodes]
        return pl.DataFrame(
            {
                "name": [node.name for node in nodes],
                "gpu_model": [node.gpu_model for node in nodes],
                "cpu_milli": [c.cpu_milli for c in capacity],
                "memory_mib": [c.memory_mib for c in capacity],
                "gpu_count": [c.gpu_count for c in capacity],
                **metrics.node_columns(self.series),
            },
            nan_to_null=True,
        )

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """One row a decision, in order: when, what, which task, where, why; `event` in the log."""
        rows = self.log.rows
        at = np.flatnonzero(np.isin(rows["kind"], [int(kind) for kind in _DECISIONS]))
        names, nodes = self.scenario.tasks.names, self.node_names
        chosen = rows[at]
        columns: dict[str, Any] = {
            "event": at,
            "time_s": np.ascontiguousarray(chosen["time_s"]),
            "action": metrics.texts(chosen["kind"], _action_text),
            "task": [names[i] for i in chosen["subject"]],
            "node": [nodes[row] if row >= 0 else "" for row in chosen["row"]],
            "gpus": metrics.texts(chosen["gpus"], metrics.gpu_text),
            "reason": metrics.texts(chosen["reason"], metrics.reason_text),
        }
        return pl.DataFrame(columns)

    @cached_property
    def events(self) -> pl.DataFrame:
        """The event log as a frame."""
        return self.log.frame()

    @cached_property
    def curves(self) -> pl.DataFrame:
        """The cluster over time, one row an instant: see `cerebrum.engine.series.COLUMNS`."""
        return pl.DataFrame(self.series.columns)

    @property
    def node_names(self) -> list[str]:
        """Names of all nodes there ever were, by row."""
        return [node.name for node in self.series.nodes]

    # -- disk -------------------------------------------------------------------------------

    def save(self, folder: Path | str = "runs", report: bool = True) -> Run:
        """Write `<folder>/<id>/` whole or not at all, and give the run with its id.

        run.json, events.parquet, tasks.parquet, nodes.parquet, scenario.zip, and report.html
        unless `report` is False.
        """
        runs = Path(folder)
        name = self.id or self._free_name(runs)
        with _store.new_folder(runs / name) as target:
            self.log.write(target / EVENTS)
            self.tasks.write_parquet(target / "tasks.parquet")
            self.nodes.write_parquet(target / "nodes.parquet")
            traces.write(self.scenario, target / SCENARIO, "table")
            record = {"id": name, **self.meta.model_dump(), "digest": self.digest}
            _store.write_whole(
                target / RECORD, _store.to_json({**record, "summary": self.summary}) + "\n"
            )
            saved = Run(self.scenario, self.log, self.meta, name)
            saved.__dict__.update(self.__dict__ | {"id": name})  # keep what was computed
            if report:
                from cerebrum.experiments.report import write_report

                write_report([saved], target / REPORT)
        return saved

    def _free_name(self, runs: Path) -> str:
        stamp = re.sub(r"[^0-9T]", "", self.meta.created)[:15]
        parts = (stamp, self.meta.scenario, Path(self.meta.policy).name, str(self.meta.seed))
        name = re.sub(r"[^\w.-]+", "_", "-".join(parts))[:120].strip(".")
        number, free = 1, name
        while (runs / free).exists():
            number += 1
            free = f"{name}-{number}"
        return free


def _action_text(kind: int) -> str:
    return _ACTIONS[EventKind(kind)]


_TIMES = (
    "submit_s", "start_s", "end_s", "wait_s", "run_s", "completion_s", "bounded_slowdown",
)  # fmt: skip


def load(folder: Path | str) -> Run:
    """A saved run. Raises `NotFound` where there is none, `TraceError` where it is damaged."""
    path = Path(folder)
    record = read_record(path)
    known = {name: record[name] for name in Meta.model_fields if name in record}
    try:
        meta = Meta.model_validate(known)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TraceError(first["msg"]).at(path / RECORD, field=field) from problem
    run = Run(traces.read(path / SCENARIO, "table"), read_log(path / EVENTS), meta, path.name)
    if run.digest != record.get("digest"):
        raise TraceError("the log is not the one this record was written for").at(path / EVENTS)
    return run


def read_record(folder: Path) -> dict[str, Any]:
    """`run.json` of a saved run."""
    path = folder / RECORD
    if not path.is_file():
        raise NotFound(f"there is no run at {folder}")
    try:
        record: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise TraceError(f"expected JSON: {problem}").at(path) from problem
    if not isinstance(record, dict):
        raise TraceError("expected a JSON object").at(path)
    return record  # pyright: ignore[reportUnknownVariableType]


def list_runs(folder: Path | str = "runs") -> list[dict[str, Any]]:
    """Records of all saved runs, oldest first; damaged ones are left out."""
    found: list[dict[str, Any]] = []
    for path in sorted(Path(folder).glob(f"*/{RECORD}")):
        if path.parent.name.startswith("."):
            continue
        try:
            found.append({**read_record(path.parent), "id": path.parent.name})
        except TraceError:
            continue
    return sorted(found, key=lambda record: str(record.get("created", "")))


def find_run(name: str, folder: Path | str = "runs") -> Path:
    """The folder of a run: by path, id, the start of an id, or `latest`. Raises `NotFound`."""
    if (Path(name) / RECORD).is_file():
        return Path(name)
    runs = Path(folder)
    ids = [str(record["id"]) for record in list_runs(runs)]
    if name == "latest" and ids:
        return runs / ids[-1]
    if name in ids:
        return runs / name
    near = [i for i in ids if name and i.startswith(name)]
    if len(near) == 1:
        return runs / near[0]
    if near:
        raise NotFound(f"several runs begin with {name!r}: {', '.join(near[:5])}")
    raise NotFound(f"there is no run {name!r} in {runs}/ ({len(ids)} runs there)")
