"""Planned makespan of one-cluster workflows, as a share of SAGA's HEFT on the same instances.

12 real workflows, 8 nodes of speed U(0.5, 2), links of 125 MB/s (seed 1) or of 125 MB/s times
U(0.25, 1.75) each (the other seeds), volumes scaled so that the mean transfer takes 0.1 to 5 times
the mean run. SAGA (https://github.com/ANRGUSC/saga) is installed into an environment of its own in
the cache of the benchmarks, without what its HEFT does not need. Each side checks the other's
schedules under its own model. CEREBRUM_SAGA_SEEDS sets how many seeds (3).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks._federations import real_workflows
from benchmarks._harness import CACHE, ROOT, Benchmark, CannotRun, Measured, console, progress
from cerebrum.engine import _schedule_kernels as kernels
from cerebrum.engine.schedule import Plan, Platform, list_schedule, mean_costs, rank_order
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.federation import Federation, Network
from cerebrum.model.resources import Resources
from cerebrum.model.workflow import Workflow
from cerebrum.policies.planning import get_planner
from tests.naive.schedule import violations

SAGA = "anrg-saga==2.0.2"
NEEDED = (  # what importing its HEFT imports; its other dependencies need compilers
    "networkx==3.6.1", "numpy", "pydantic", "pydantic-core", "annotated-types", "pysmt==0.9.6",
    "typing-extensions", "typing-inspection",
)  # fmt: skip
RATIOS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
NODES, BANDWIDTH_MB_S = 8, 125.0
PLANNERS = ("cerebrum", "heft")
SAME_RANKS = "heft, SAGA's ranks"
SHORTEST_S = 1e-9  # what SAGA's own reader gives a task that took no time


@dataclass(frozen=True)
class Instance:
    workflow: Workflow
    platform: Platform
    ratio: float


def instances(seeds: int) -> Iterator[Instance]:
    for workflow in real_workflows():
        duration_s = np.maximum(workflow.tasks.duration_s, SHORTEST_S)
        timed = replace(workflow, tasks=replace(workflow.tasks, duration_s=duration_s))
        for seed in range(1, seeds + 1):
            for ratio in RATIOS:
                platform = machines(seed)
                yield Instance(scaled(timed, platform, ratio), platform, ratio)


def machines(seed: int) -> Platform:
    """One cluster a node, so that each link can have its own speed."""
    rng = np.random.default_rng(seed)
    speeds = rng.uniform(0.5, 2.0, NODES)
    link = np.full((NODES, NODES), BANDWIDTH_MB_S)
    if seed > 1:
        upper = np.triu(rng.uniform(0.25, 1.75, (NODES, NODES)), 1)
        link *= upper + upper.T + np.eye(NODES)
    clusters = tuple(
        Cluster((Node(f"n{i}", Resources(1_000_000, 10_000_000), speed=float(speed)),), f"c{i}")
        for i, speed in enumerate(speeds)
    )
    zeros = np.zeros((NODES, NODES))
    return Platform.of(Federation(clusters, Network(zeros, link, zeros)), exclusive=True)


def scaled(workflow: Workflow, platform: Platform, ratio: float) -> Workflow:
    """Volumes such that mean transfer / mean run is the ratio; equal ones where there were none."""
    volume_mb = workflow.volume_mb if workflow.volume_mb.sum() > 0 else workflow.volume_mb + 1.0
    run_s = workflow.tasks.duration_s.mean() * platform.mean_slowness()
    move_s = volume_mb.mean() * platform.mean_link()[1]
    return replace(workflow, volume_mb=volume_mb * (ratio * run_s / move_s))


def saga_python() -> Path:
    """The Python of an environment that holds SAGA, made on first use."""
    folder = CACHE / "benchmarks" / f"saga-{SAGA.partition('==')[2]}-py{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    progress(f"installing {SAGA} into {folder}")
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", SAGA, *NEEDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [""]
        raise CannotRun(f"{SAGA} could not be installed: {lines[-1]}")
    (folder / "ready").touch()
    return python


def described(instance: Instance, plans: Mapping[str, Plan]) -> dict[str, Any]:
    """An instance as the peer reads it, with our plans for it to judge."""
    w, p = instance.workflow, instance.platform
    names, nodes = list(w.tasks.names), [node.name for node in p.nodes]
    pairs = [(a, b) for a in range(NODES) for b in range(a + 1, NODES)]
    return {
        "tasks": dict(zip(names, w.tasks.duration_s.tolist(), strict=True)),
        "edges": [
            (names[a], names[b], mb)
            for a, b, mb in zip(w.before, w.after, w.volume_mb.tolist(), strict=True)
        ],
        "nodes": dict(zip(nodes, p.speed.tolist(), strict=True)),
        "links": [(nodes[a], nodes[b], float(p.network.bandwidth_mb_s[a, b])) for a, b in pairs],
        "ours": {
            label: {
                names[i]: (nodes[plan.node[i]], float(plan.start_s[i]), float(plan.end_s[i]))
                for i in range(len(names))
            }
            for label, plan in plans.items()
        },
    }


def planned(instance: Instance, spent: dict[str, float]) -> dict[str, Plan]:
    plans = {}
    for name in PLANNERS:
        start = time.process_time()
        plans[name] = get_planner(name).plan(instance.workflow, instance.platform)
        spent[name] += time.process_time() - start
    plans[SAME_RANKS] = ranked_like_saga(instance.workflow, instance.platform)
    return plans


def ranked_like_saga(workflow: Workflow, platform: Platform) -> Plan:
    """Our HEFT with SAGA's mean transfer: over all pairs of nodes, a node with itself included.

    The paper means pairs of different nodes. This is all that tells the two apart.
    """
    work_s, move_s = mean_costs(workflow, platform)
    move_s *= (NODES - 1) / (NODES + 1)
    rank = np.zeros(len(workflow))
    successors = (*workflow.successors, workflow.after)
    kernels.upward(workflow.order, *successors, work_s, move_s, rank)
    return list_schedule(workflow, platform, rank_order(workflow, rank))


def as_plan(instance: Instance, schedule: Mapping[str, tuple[str, float, float]]) -> Plan:
    """SAGA's schedule as ours, without the first and last task it added."""
    rows = {node.name: row for row, node in enumerate(instance.platform.nodes)}
    found = [schedule[name] for name in instance.workflow.tasks.names]
    return Plan(
        np.array([rows[node] for node, _, _ in found], np.int32),
        np.array([start for _, start, _ in found]),
        np.array([end for _, _, end in found]),
    )


def check(instance: Instance, plans: Mapping[str, Plan], answer: Mapping[str, Any]) -> None:
    """Both models agree on both sides' schedules; a disagreement ends the benchmark."""
    saga = as_plan(instance, answer["schedule"])
    wrong = violations(instance.workflow, instance.platform, saga)
    for label, plan in plans.items():
        wrong += violations(instance.workflow, instance.platform, plan)
        wrong += answer["ours"][label]["wrong"]
        if not np.isclose(answer["ours"][label]["makespan"], plan.makespan_s, rtol=1e-9):
            wrong.append(f"{label}: {plan.makespan_s} here, {answer['ours'][label]} in SAGA")
    if wrong or not np.isclose(saga.makespan_s, answer["makespan"], rtol=1e-9):
        raise AssertionError(f"{instance.workflow.name}, ratio {instance.ratio}: {wrong[:3]}")


def run() -> Measured:
    python = saga_python()
    cases = list(instances(int(os.environ.get("CEREBRUM_SAGA_SEEDS", "3"))))
    for name in PLANNERS:  # load the kernels
        get_planner(name).plan(cases[0].workflow, cases[0].platform)
    spent = dict.fromkeys(PLANNERS, 0.0)
    progress(f"{len(cases)} instances, planned by {' and '.join(PLANNERS)}, then by SAGA's HEFT")
    plans = [planned(case, spent) for case in cases]
    with TemporaryDirectory() as folder:
        asked, told = Path(folder) / "instances.json", Path(folder) / "answers.json"
        pairs = zip(cases, plans, strict=True)
        asked.write_text(json.dumps([described(case, ours) for case, ours in pairs]), "utf-8")
        peer = ROOT / "benchmarks" / "_saga_peer.py"
        # Its nodes are sets of names: without a fixed hash its ties fall anew in each process.
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run([str(python), str(peer), str(asked), str(told)], check=True, env=fixed)
        answers = json.loads(told.read_text("utf-8"))
    for case, ours, answer in zip(cases, plans, answers, strict=True):
        check(case, ours, answer)
    saga = np.array([answer["makespan"] for answer in answers])
    ratio = {name: np.array([ours[name].makespan_s for ours in plans]) / saga for name in plans[0]}
    show(cases, ratio)
    n = len(cases)
    return Measured(
        round(float(ratio["cerebrum"].mean()), 4),
        {
            "our plain heft": round(float(ratio["heft"].mean()), 4),
            "our heft with SAGA's ranks": round(float(ratio[SAME_RANKS].mean()), 4),
            "worst instance": round(float(ratio["cerebrum"].max()), 4),
            "SAGA's HEFT, CPU-s an instance": sum(answer["cpu_s"] for answer in answers) / n,
            "cerebrum, CPU-s an instance": spent["cerebrum"] / n,
            "heft, CPU-s an instance": spent["heft"] / n,
        },
    )


def show(cases: list[Instance], ratio: Mapping[str, np.ndarray]) -> None:
    """Rows by ratio of communication to computation, then by workflow."""
    table = Table(
        "makespan / SAGA's HEFT", "instances", "cerebrum", "worst", "heft", "heft range", SAME_RANKS
    )
    groups = [(f"CCR {r:g}", [c.ratio == r for c in cases]) for r in RATIOS]
    names = dict.fromkeys(case.workflow.name for case in cases)
    groups += [(name, [c.workflow.name == name for c in cases]) for name in names]
    for label, chosen in [*groups, ("all", [True] * len(cases))]:
        ours, plain = ratio["cerebrum"][chosen], ratio["heft"][chosen]
        table.add_row(
            label, str(len(ours)), f"{ours.mean():.4f}", f"{ours.max():.4f}",
            f"{plain.mean():.4f}", f"{plain.min():.3f}..{plain.max():.3f}",
            f"{ratio[SAME_RANKS][chosen].mean():.4f}",
        )  # fmt: skip
    console.print(table)


BENCHMARK = Benchmark(
    name="saga_heft", unit="x SAGA's HEFT makespan", target=1.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
