"""`cerebrum simulate WORKFLOW --clusters ...`: a workflow on clusters, in virtual time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError


def simulate_workflow(
    sources: list[str],
    clusters: str,
    decompositions: list[str],
    assignments: list[str],
    placements: list[str],
    failure_rate: float,
    straggler_share: float,
    seed: int,
    report: Path | None,
    output: Output,
) -> None:
    """Every combination, one line each, held against the critical path and HEFT on all nodes."""
    from cerebrum.experiments.workflows import EARLIEST_FINISH, HEADLINE, simulate_federated

    if not sources:
        raise ConfigError("expected a workflow: a file, or montage-like:tasks=50,seed=1")
    plan = [
        (source, d, a, p)
        for source in sources
        for d in decompositions or ["cerebrum"]
        for a in assignments or ["cerebrum"]
        for p in placements or [EARLIEST_FINISH]
    ]
    luck = _luck(failure_rate, straggler_share)
    runs: list[Any] = []
    with bar("simulating", len(plan)) as advance:
        for source, d, a, p in plan:
            runs.append(
                simulate_federated(
                    source, clusters, decomposition=d, assignment=a, placement=p, seed=seed, **luck
                )
            )
            advance(len(runs), len(plan))
    emit([run.summary for run in runs], output, HEADLINE)
    if report is not None:
        _write_report(runs, report)
        say(f"report: {report}")


def _luck(failure_rate: float, straggler_share: float) -> dict[str, Any]:
    from cerebrum.executors.workflows import Failures, Stragglers

    luck: dict[str, Any] = {}
    if failure_rate:
        luck["failures"] = Failures(failure_rate)
    if straggler_share:
        luck["stragglers"] = Stragglers(straggler_share)
    return luck


def _write_report(runs: list[Any], path: Path) -> None:
    from cerebrum.experiments.federation_report import WorkflowRecord, write_federation_report

    records = [
        WorkflowRecord(
            {"name": f"{run.summary['workflow']} ({i + 1})", "tasks": run.summary["tasks"],
             "state": "succeeded" if run.run.succeeded else "failed", **run.names},
            [_task(run, i, row) for row in run.tasks.iter_rows(named=True)],
            {"critical path": run.critical_path_s, "HEFT on all nodes": run.heft.makespan_s},
        )
        for i, run in enumerate(runs)
    ]  # fmt: skip
    clusters = [{"id": c.name, "nodes": len(c)} for c in runs[0].federation.clusters]
    write_federation_report(records, clusters, path, "Workflows on clusters, simulated")


def _task(run: Any, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """A simulated task in the words of the controller's API; virtual time as if since 1 s."""
    start, end = float(row["start_s"] or 0.0), float(row["end_s"] or math.nan)
    ended = math.isfinite(start) and math.isfinite(end)
    return {
        "uid": f"{index}/{row['task']}", "name": row["task"], "state": row["state"],
        "cluster": row["cluster"], "node": row["node"], "attempt": row["attempts"],
        "started_unix_s": start + 1.0 if ended else None,
        "ended_unix_s": end + 1.0 if ended else None,
        "energy_j": 0.0, "reason": "", "why": f"part {row['part']}, {run.names['assignment']}",
    }  # fmt: skip
