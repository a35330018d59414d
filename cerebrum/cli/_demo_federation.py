"""A controller, two agents, a workflow and a batch of jobs, all as processes of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerebrum.cli._output import Output, aligned, emit
from cerebrum.cli._progress import say, watched
from cerebrum.cli.up import overview

if TYPE_CHECKING:
    from cerebrum.experiments.federation_report import WorkflowRecord
    from cerebrum.model.workflow import Workflow
    from cerebrum.services.client import CerebrumClient
    from cerebrum.services.local import ClusterPlan, LocalFederation

REAL = "workflows/montage-chameleon-2mass-005d-001.json"
JOBS = 24
COLUMNS = ("task", "cluster", "node", "start_s", "ran_s", "why")
SHOWN = 14
LIMIT_S = 600.0


def play(
    clusters: str, seconds: float, policy: str, seed: int, runs_dir: Path, output: Output
) -> int:
    """Start, submit, show, account, stop. 1 if anything did not succeed."""
    from cerebrum.services.local import LocalFederation, parse_clusters

    plans = parse_clusters(clusters, policy)
    workflow, origin = _workflow(seconds, seed)
    state = runs_dir / "demo-federation"
    shutil.rmtree(state, ignore_errors=True)
    say(f"starting a controller and {len(plans)} agents; their state: {state}/")
    federation = LocalFederation(state, plans)
    with federation, federation.client() as client:
        ids = [_submit(client, workflow), _submit_jobs(client)]
        _watch(federation, client, ids)
        records = _records(client, ids, workflow, plans)
        rows = list(client.clusters())
    page = runs_dir / "demo.html"
    return _show(records, rows, origin, page, output)


def _workflow(seconds: float, seed: int) -> tuple[Workflow, str]:
    """A real workflow if there is one, its times scaled so that the critical path is as given."""
    from cerebrum.traces.workflows import generate, read_workflow

    folder = Path(os.environ.get("CEREBRUM_DATA") or "../shared/data")
    if (folder / REAL).exists():
        workflow, origin = read_workflow(folder / REAL), "a recorded Montage run (WfCommons)"
    else:
        workflow = generate("montage-like", tasks=58, seed=seed)
        origin = "a synthetic workflow in the shape of Montage"
    factor = seconds / max(workflow.critical_path_s(), 1e-9)
    tasks = replace(workflow.tasks, duration_s=workflow.tasks.duration_s * factor)
    return replace(workflow, tasks=tasks), f"{origin}, its times scaled by {factor:.3g}"


def _submit(client: CerebrumClient, workflow: Workflow) -> str:
    from cerebrum.services.api.submissions import spec_of

    return str(client.submit(spec_of(workflow))["id"])


def _submit_jobs(client: CerebrumClient) -> str:
    """Real commands, so that there is something in the logs."""
    count = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    script = f'{count}; echo "counted to $i on $CEREBRUM_NODE"'
    tasks = [
        {"name": f"count-{i:02d}", "cpu_milli": 500, "memory_mib": 64, "duration_s": 0.5,
         "command": ["sh", "-c", script]}
        for i in range(JOBS)
    ]  # fmt: skip
    return str(client.submit({"name": "batch", "kind": "job", "tasks": tasks})["id"])


def _watch(federation: LocalFederation, client: CerebrumClient, ids: Sequence[str]) -> None:
    """Wait until all have ended, with a live table where somebody looks."""
    from cerebrum.services.wire import TERMINAL

    deadline = time.monotonic() + LIMIT_S

    def going_on() -> bool:
        federation.check()
        return (
            any(client.workflow(id)["state"] not in TERMINAL for id in ids)
            and time.monotonic() < deadline
        )

    if not watched():
        while going_on():
            time.sleep(0.25)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        while going_on():
            live.update(overview(client, "running"))
            time.sleep(0.25)


def _records(
    client: CerebrumClient, ids: Sequence[str], workflow: Workflow, plans: Sequence[ClusterPlan]
) -> list[WorkflowRecord]:
    from cerebrum.experiments.federation_report import WorkflowRecord

    out: list[WorkflowRecord] = []
    for id in ids:
        record = client.workflow(id)
        parts = {part["part"]: part["reason"] for part in record["parts"]}
        tasks = [{**t, "why": t["reason"] or parts.get(t["part"], "")} for t in client.tasks(id)]
        bounds = _bounds(workflow, plans) if record["kind"] == "workflow" else {}
        out.append(WorkflowRecord(record, tasks, bounds))
    return out


def _bounds(workflow: Workflow, plans: Sequence[ClusterPlan]) -> dict[str, float]:
    """What no run can beat, and what HEFT plans when one scheduler sees every node."""
    from cerebrum.model.cluster import Cluster
    from cerebrum.model.federation import Federation, Link, Network
    from cerebrum.policies.planning import get_planner
    from cerebrum.services.api.nodes import cluster_nodes

    clusters = tuple(Cluster(cluster_nodes(p.nodes, None), name=p.name) for p in plans)
    federation = Federation(clusters, Network.uniform(len(clusters), Link()))
    plan = get_planner("heft").plan(workflow, federation)
    return {"critical path": workflow.critical_path_s(), "HEFT on all nodes": plan.makespan_s}


def _show(
    records: Sequence[WorkflowRecord], clusters: list[dict[str, Any]], origin: str, page: Path,
    output: Output,
) -> int:  # fmt: skip
    from cerebrum.experiments.federation_report import write_federation_report

    write_federation_report(records, clusters, page, "A workflow and a batch on two clusters")
    tasks = [task for record in records for task in record.tasks]
    start = min((t["started_unix_s"] for t in tasks if t["started_unix_s"]), default=0.0)
    rows = [_row(task, start) for task in tasks]
    rows.sort(key=lambda row: row["start_s"] if row["start_s"] is not None else 1e12)
    if output is not Output.TABLE:
        emit(rows, output, COLUMNS)
    else:
        print(f"The workflow is {origin}. The batch: {JOBS} commands.\n")
        step = max(1, len(rows) // SHOWN)
        sys.stdout.write(aligned(rows[::step], COLUMNS))
        print(f"\n{len(rows)} tasks in all; every {step}. is shown.")
        for record in records:
            _tell(record)
    say(f"report: {page}")
    return 0 if all(record.record["state"] == "succeeded" for record in records) else 1


def _row(task: dict[str, Any] | Any, start: float) -> dict[str, Any]:
    started, ended = task["started_unix_s"], task["ended_unix_s"]
    return {
        "task": task["name"], "cluster": task["cluster"], "node": task["node"],
        "start_s": None if started is None else round(started - start, 2),
        "ran_s": None if started is None or ended is None else round(ended - started, 2),
        "state": task["state"], "why": task["why"],
    }  # fmt: skip


def _tell(record: WorkflowRecord) -> None:
    found, makespan = record.record, record.makespan_s
    said = "-" if makespan is None else f"{makespan:.2f} s"
    print(f"\n{found['name']}: {found['state']}, {found['tasks']} tasks, makespan {said}")
    for name, bound in record.bounds.items():
        ratio = "" if makespan is None else f", {makespan / bound:.2f} x"
        print(f"  {name:<18} {bound:8.2f} s{ratio}")
