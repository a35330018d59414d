"""A workflow in virtual time, on the clusters its tasks were given.

Each cluster has an engine of its own, as each agent has: its tasks wait there (`BLOCKED`) until all
they depend on has succeeded, are queued by rank, and are placed by `placement` on its nodes. Data
moves in `latency + volume / bandwidth` of the link, all of a task's sources at once: from another
cluster as soon as it exists, since the task's cluster is known; within the cluster once the task is
placed, on the node it then holds; not at all on one node. `follow_plan` carries out a static plan
instead: all data moves as soon as it exists and no node is held meanwhile.

Failures and stragglers are drawn by task and attempt before anything runs: a different placement
meets the same bad luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.schedule import Plan, Platform, check_finite, upward_rank
from cerebrum.executors._placements import EarliestFinish, Planned
from cerebrum.executors._workflow_execution import Execution, Luck
from cerebrum.executors._workflow_run import WorkflowRun
from cerebrum.model.errors import InputError
from cerebrum.model.federation import Federation
from cerebrum.model.protocols import Policy
from cerebrum.model.workflow import Workflow

Placement = Literal["earliest-finish"] | Callable[[], Policy]
"""How a cluster's ready tasks find nodes: the built-in way, or what makes a policy for each."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Each attempt fails with `probability`, at a moment of its run that is drawn evenly.

    The k-th repeat waits `backoff_s * 2**(k-1)`; after `max_attempts` the task has failed and what
    depends on it is cancelled.
    """

    probability: float
    max_attempts: int = 10
    backoff_s: float = 0.0

    def __post_init__(self) -> None:
        _check_share("probability", self.probability)
        if not 1 <= self.max_attempts <= 100:
            raise InputError(f"expected 1..100, got {self.max_attempts}").at(field="max_attempts")
        if not 0 <= self.backoff_s < np.inf:
            raise InputError(f"expected finite seconds, got {self.backoff_s}").at(field="backoff_s")


@dataclass(frozen=True, slots=True)
class Stragglers:
    """A `share` of the tasks, drawn evenly, computes `factor` times as long as expected."""

    share: float
    factor: float = 2.0

    def __post_init__(self) -> None:
        _check_share("share", self.share)
        if not 1 <= self.factor < np.inf:
            raise InputError(f"expected a finite factor of at least 1, got {self.factor}").at(
                field="factor"
            )


def simulate_workflow(
    workflow: Workflow,
    federation: Federation,
    cluster_of_task: NDArray[np.int32],
    *,
    order: Literal["heft"] | NDArray[np.float64] = "heft",
    placement: Placement = "earliest-finish",
    failures: Failures | None = None,
    stragglers: Stragglers | None = None,
    rng: np.random.Generator | None = None,
) -> WorkflowRun:
    """Run the workflow online. `cluster_of_task` int32[tasks] indexes the federation's clusters.

    `order` gives each task's rank (float64[tasks], higher first): HEFT's upward rank unless given.
    Submission times and gangs of the task table do not count: dependencies do. `rng` is needed for
    failures and stragglers. Raises `InputError` for a task that no node of its cluster can hold.
    """
    platform = Platform.of(federation)
    at = _checked_clusters(workflow, platform, cluster_of_task)
    rank = upward_rank(workflow, platform, at) if isinstance(order, str) else order
    if len(rank) != len(workflow) or not np.isfinite(rank).all():
        raise InputError(f"expected a finite rank for each of {len(workflow)} tasks").at(
            field="order"
        )
    execution = Execution(
        workflow, federation, platform, at, rank, _luck(workflow, failures, stragglers, rng)
    )
    for c in range(len(federation.clusters)):
        if isinstance(placement, str):
            execution.placements.append(EarliestFinish(*execution.expectations(c)))
        else:
            execution.placements.append(placement())
    return execution.run()


def follow_plan(
    workflow: Workflow,
    federation: Federation,
    plan: Plan,
    *,
    exclusive: bool = False,
    failures: Failures | None = None,
    stragglers: Stragglers | None = None,
    rng: np.random.Generator | None = None,
) -> WorkflowRun:
    """Carry out a plan for `Platform.of(federation, exclusive)`: its nodes, its order on each.

    Each task starts as soon as those before it on its node have started, its data is there and the
    node has room, so without failures and stragglers none starts later than planned, unless memory
    or GPUs, which a plan does not share out over time, make it wait.
    """
    platform = Platform.of(federation, exclusive)
    if len(plan.node) != len(workflow) or (plan.node < 0).any():
        raise InputError(f"expected a node for each of {len(workflow)} tasks").at(field="plan")
    at = _checked_clusters(workflow, platform, platform.cluster[plan.node])
    topological = np.empty(len(workflow), np.int64)
    topological[workflow.order] = np.arange(len(workflow))
    # At one time those of no length go first: they give their lanes back at once.
    turn = np.lexsort((topological, plan.end_s, plan.start_s))
    position = np.empty(len(workflow), np.int64)
    position[turn] = np.arange(len(workflow))
    luck = _luck(workflow, failures, stragglers, rng)
    execution = Execution(workflow, federation, platform, at, -position, luck, plan.node)
    for c, cluster in enumerate(federation.clusters):
        own = execution.members[c]
        rows = plan.node[own] - execution.first_row[c]
        execution.placements.append(Planned(rows, position[own], len(cluster), exclusive))
    return execution.run()


def _checked_clusters(
    workflow: Workflow, platform: Platform, cluster_of_task: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The clusters as int32, if each has a node that could hold the task."""
    n, k = len(workflow), len(platform.clusters)
    at = np.ascontiguousarray(cluster_of_task, np.int32)
    if len(at) != n or (n and not (at.min() >= 0 and at.max() < k)):
        raise InputError(f"expected a cluster 0..{k - 1} for each of {n} tasks").at(
            field="cluster_of_task"
        )
    check_finite(workflow)
    can = np.zeros((len(workflow.tasks.classes), k), np.bool_)
    fits = platform.fits(workflow)
    for c in range(k):
        can[:, c] = fits[:, platform.cluster == c].any(axis=1)
    lost = ~can[workflow.tasks.class_id, at]
    if lost.any():
        task = int(np.argmax(lost))
        raise InputError(
            f"no node of cluster {platform.clusters[at[task]]!r} can ever hold task "
            f"{workflow.tasks.names[task]!r}"
        ).at(field="tasks")
    return at


def _luck(
    workflow: Workflow,
    failures: Failures | None,
    stragglers: Stragglers | None,
    rng: np.random.Generator | None,
) -> Luck:
    """All draws, in a fixed order: stragglers, then failures, then when they happen."""
    n, attempts = len(workflow), failures.max_attempts if failures else 1
    if (failures or stragglers) and rng is None:
        raise InputError("failures and stragglers need a random generator").at(field="rng")
    slow, fails, when = np.ones(n), np.zeros((n, attempts), np.bool_), np.zeros((n, attempts))
    if stragglers and rng is not None:
        slow[rng.random(n) < stragglers.share] = stragglers.factor
    if failures and rng is not None:
        fails = rng.random((n, attempts)) < failures.probability
        when = rng.random((n, attempts))
    return Luck(slow, fails, when, failures.backoff_s if failures else 0.0)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"expected 0..1, got {value}").at(field=name)


__all__ = [
    "Failures", "Placement", "Stragglers", "WorkflowRun", "follow_plan", "simulate_workflow",
]  # fmt: skip
