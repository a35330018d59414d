"""A controller, two agents, a workflow and a batch of jobs, all as processes of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerebrum.cli._output import Output, aligned, emit
from cerebrum.cli._progress import say, watched
from cerebrum.cli.up import overview

if TYPE_CHECKING:
    from cerebrum.experiments.federation_report import WorkflowRecord
    from cerebrum.model.cluster import Cluster
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
    workflow, origin = scaled_workflow(seconds, seed)
    state = runs_dir / "demo-federation"
    shutil.rmtree(state, ignore_errors=True)
    say(f"starting a controller and {len(plans)} agents; their state: {state}/")
    federation = LocalFederation(state, plans)
    with federation, federation.client() as client:
        ids = [submit(client, workflow), _submit_jobs(client)]
        watch(client, lambda: _going_on(federation, client, ids))
        clusters_of_plans = [_cluster(plan) for plan in plans]
        records = records_of(client, ids, workflow, clusters_of_plans)
        rows = list(client.clusters())
    intro = f"The workflow is {origin}. The batch: {JOBS} commands."
    return show(records, rows, intro, runs_dir / "demo.html", output)


def scaled_workflow(seconds: float, seed: int) -> tuple[Workflow, str]:
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


def submit(client: CerebrumClient, workflow: Workflow) -> str:
    """Hand the workflow to the controller; its id there."""
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


def going_on(client: CerebrumClient, ids: Sequence[str]) -> bool:
    """Whether any of these workflows has not ended."""
    from cerebrum.services.wire import TERMINAL

    return any(client.workflow(id)["state"] not in TERMINAL for id in ids)


def watch(client: CerebrumClient, more: Callable[[], bool]) -> None:
    """Wait while there is more, at most `LIMIT_S`, with a live table where somebody looks."""
    deadline = time.monotonic() + LIMIT_S
    if not watched():
        while more() and time.monotonic() < deadline:
            time.sleep(0.25)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        while more() and time.monotonic() < deadline:
            live.update(overview(client, "running"))
            time.sleep(0.25)


def _going_on(federation: LocalFederation, client: CerebrumClient, ids: Sequence[str]) -> bool:
    federation.check()
    return going_on(client, ids)


def _cluster(plan: ClusterPlan) -> Cluster:
    from cerebrum.model.cluster import Cluster
    from cerebrum.services.api.nodes import cluster_nodes

    return Cluster(cluster_nodes(plan.nodes, None), name=plan.name)


def records_of(
    client: CerebrumClient, ids: Sequence[str], workflow: Workflow, clusters: Sequence[Cluster]
) -> list[WorkflowRecord]:
    """What became of them; with the bounds of `workflow` for those that are no batch."""
    from cerebrum.experiments.federation_report import WorkflowRecord

    out: list[WorkflowRecord] = []
    for id in ids:
        record = client.workflow(id)
        parts = {part["part"]: part["reason"] for part in record["parts"]}
        tasks = [{**t, "why": t["reason"] or parts.get(t["part"], "")} for t in client.tasks(id)]
        bounds = bounds_of(workflow, clusters) if record["kind"] == "workflow" else {}
        out.append(WorkflowRecord(record, tasks, bounds))
    return out


def bounds_of(workflow: Workflow, clusters: Sequence[Cluster]) -> dict[str, float]:
    """What no run can beat, and what HEFT plans when one scheduler sees every node."""
    from cerebrum.model.federation import Federation, Link, Network
    from cerebrum.policies.planning import get_planner

    federation = Federation(tuple(clusters), Network.uniform(len(clusters), Link()))
    plan = get_planner("heft").plan(workflow, federation)
    return {"critical path": workflow.critical_path_s(), "HEFT on all nodes": plan.makespan_s}


def show(
    records: Sequence[WorkflowRecord], clusters: list[dict[str, Any]], intro: str, page: Path,
    output: Output, title: str = "A workflow and a batch on two clusters",
) -> int:  # fmt: skip
    """The table of tasks, makespans and the page. 1 if anything did not succeed."""
    from cerebrum.experiments.federation_report import write_federation_report

    write_federation_report(records, clusters, page, title)
    tasks = [task for record in records for task in record.tasks]
    start = min((t["started_unix_s"] for t in tasks if t["started_unix_s"]), default=0.0)
    rows = [_row(task, start) for task in tasks]
    rows.sort(key=lambda row: row["start_s"] if row["start_s"] is not None else 1e12)
    if output is not Output.TABLE:
        emit(rows, output, COLUMNS)
    else:
        print(f"{intro}\n")
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
