"""A workflow on a federation: decomposed, assigned, run in virtual time, held against bounds.

What `cerebrum simulate WORKFLOW --clusters ...` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cerebrum import policies
from cerebrum.engine.schedule import Plan, list_schedule, rank_order, upward_rank
from cerebrum.executors.workflows import Failures, Stragglers, WorkflowRun, simulate_workflow
from cerebrum.experiments.simulate import check_seed
from cerebrum.model.errors import InputError
from cerebrum.model.federation import ClusterView, Decomposition, Federation
from cerebrum.model.workflow import Workflow
from cerebrum.policies.assignment import get_assigner
from cerebrum.policies.decomposition import get_decomposer
from cerebrum.policies.planning import get_planner
from cerebrum.traces.federations import NodeShape, read_federation
from cerebrum.traces.workflows import read_workflow

EARLIEST_FINISH = "earliest-finish"
HEADLINE = (
    "workflow", "decomposition", "assignment", "placement", "parts", "cut_mb", "moved_mb", "cost",
    "makespan_s", "over_critical_path", "over_heft",
)  # fmt: skip
"""What a table shows of a run unless it is asked for more."""


@dataclass(frozen=True, eq=False)
class FederatedRun:
    """One workflow, run once: how it was cut (`decomposition`), which cluster each part got
    (`cluster_of_part` int32[parts]), what happened (`run`), and what it was asked to be.
    """

    run: WorkflowRun
    federation: Federation = field(repr=False)
    decomposition: Decomposition = field(repr=False)
    cluster_of_part: NDArray[np.int32]
    names: dict[str, str]
    seed: int

    @cached_property
    def critical_path_s(self) -> float:
        """No run is shorter: the longest chain of tasks on the fastest node, data for free."""
        return self.run.workflow.critical_path_s() / float(self.run.platform.speed.max())

    @cached_property
    def heft(self) -> Plan:
        """HEFT over all nodes, as if one scheduler saw and placed everything beforehand."""
        return get_planner("heft").plan(self.run.workflow, self.run.platform)

    @cached_property
    def planned(self) -> Plan:
        """HEFT with each task in the cluster it got: what the placement inside clusters adds."""
        work, platform, at = self.run.workflow, self.run.platform, self.run.cluster
        order = rank_order(work, upward_rank(work, platform, at))
        return list_schedule(work, platform, order, cluster_of_task=at)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in a few numbers, units in their names."""
        run, cut = self.run, self.decomposition
        makespan = run.makespan_s if run.succeeded else None
        return {
            "workflow": run.workflow.name,
            "tasks": len(run.workflow),
            "clusters": len(self.federation.clusters),
            "nodes": len(run.platform),
            **self.names,
            "seed": self.seed,
            "parts": cut.parts,
            "balance": cut.balance,
            "cut_mb": cut.cut_mb,
            "moved_mb": run.moved_mb,
            "moved_within_mb": run.moved_within_mb,
            "cost": run.cost,
            "attempts": int(run.attempts.sum()),
            **run.counts(),
            "makespan_s": makespan,
            "planned_s": self.planned.makespan_s,
            "heft_s": self.heft.makespan_s,
            "critical_path_s": self.critical_path_s,
            "over_heft": _ratio(makespan, self.heft.makespan_s),
            "over_critical_path": _ratio(makespan, self.critical_path_s),
        }

    @cached_property
    def tasks(self) -> pl.DataFrame:
        """One row a task, by start: part, cluster, node, times, attempts, state."""
        part = self.decomposition.part.tolist()
        rows = [{"part": p, **row} for p, row in zip(part, self.run.rows(), strict=True)]
        return pl.DataFrame(rows, infer_schema_length=None).sort("start_s", "task")

    @cached_property
    def parts(self) -> pl.DataFrame:
        """One row a part: its cluster, tasks, core-seconds, when its first task starts, its last
        ends.
        """
        part, run = self.decomposition.part, self.run
        clusters, work = run.platform.clusters, self.decomposition.work_core_s()
        rows: list[dict[str, Any]] = []
        for p in range(self.decomposition.parts):
            own = part == p
            rows.append(
                {
                    "part": p,
                    "cluster": clusters[self.cluster_of_part[p]],
                    "tasks": int(own.sum()),
                    "work_core_s": float(work[p]),
                    "start_s": _least(run.start_s[own]),
                    "end_s": -_least(-run.end_s[own]),
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)


def simulate_federated(
    workflow: Workflow | str | Path,
    clusters: Federation | str | Path,
    *,
    decomposition: str = "cerebrum",
    assignment: str = "cerebrum",
    placement: str = EARLIEST_FINISH,
    shape: NodeShape | None = None,
    failures: Failures | None = None,
    stragglers: Stragglers | None = None,
    seed: int = 42,
) -> FederatedRun:
    """Cut the workflow, give each part a cluster, run it in virtual time.

    `workflow` and `clusters` are objects, files or words (`montage-like:tasks=50`, `2x4`,
    `east:4,west:8`; `shape` says what nodes in words are). `placement` is `earliest-finish` or a
    placement policy's name. `seed` drives node speeds, the assigner's draws, failures and
    stragglers. Raises `InputError` when a part fits no cluster.
    """
    rng = np.random.default_rng(check_seed(seed))
    work = workflow if isinstance(workflow, Workflow) else read_workflow(workflow)
    where = (
        clusters
        if isinstance(clusters, Federation)
        else read_federation(clusters, shape, seed=seed)
    )
    views = cluster_views(where)
    cut = get_decomposer(decomposition).decompose(work, views, where.network)
    chosen = get_assigner(assignment).assign(cut, views, where.network, key=seed)
    if (chosen < 0).any():
        task = int(np.flatnonzero(chosen[cut.part] < 0)[0])
        raise InputError(f"no cluster can hold the part of task {work.tasks.names[task]!r}").at(
            field="clusters"
        )
    run = simulate_workflow(
        work,
        where,
        chosen[cut.part].astype(np.int32),
        placement="earliest-finish"
        if placement == EARLIEST_FINISH
        else lambda: policies.get_policy(placement),
        failures=failures,
        stragglers=stragglers,
        rng=rng,
    )
    names = {"decomposition": decomposition, "assignment": assignment, "placement": placement}
    return FederatedRun(run, where, cut, chosen, names, seed)


def compare_federated(
    workflow: Workflow | str | Path,
    clusters: Federation | str | Path,
    decompositions: Sequence[str],
    assignments: Sequence[str] = ("cerebrum",),
    placements: Sequence[str] = (EARLIEST_FINISH,),
    **how: Any,
) -> pl.DataFrame:
    """One row for each combination, best makespan first; `how` goes to `simulate_federated`."""
    rows = [
        simulate_federated(
            workflow, clusters, decomposition=d, assignment=a, placement=p, **how
        ).summary
        for d in decompositions
        for a in assignments
        for p in placements
    ]
    return pl.DataFrame(rows, infer_schema_length=None).sort("makespan_s", nulls_last=True)


def cluster_views(federation: Federation) -> tuple[ClusterView, ...]:
    """What a controller knows of the clusters while they are idle."""
    usable = [[node for node in cluster if node.schedulable] for cluster in federation.clusters]
    return tuple(
        ClusterView.of(
            cluster.name,
            [node.capacity for node in nodes],
            [node.speed for node in nodes],
            [node.gpu_model for node in nodes],
            zone=cluster.zone,
        )
        for cluster, nodes in zip(federation.clusters, usable, strict=True)
    )


def _ratio(value: float | None, bound: float) -> float | None:
    return value / bound if value is not None and bound > 0 else None


def _least(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else float("nan")
