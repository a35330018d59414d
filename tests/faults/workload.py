"""What clients ask of the federation in one history: workflows, jobs, repeats, cancels."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from cerebrum.services import wire

DECOMPOSITIONS = ("", "", "whole", "levels", "louvain")
ASSIGNMENTS = ("", "spread", "random", "pack", "heft", "auction")


@dataclass(frozen=True, slots=True)
class Request:
    """One submission: when it is first sent, under which key, how often it is sent again."""

    at_s: float
    key: str
    spec: wire.WorkflowSpec
    repeats: int
    cancel_after_s: float | None


@dataclass(frozen=True, slots=True)
class Workload:
    """How much is asked for: ranges, and what is drawn from. `on_cluster_lost` are the weights of
    `wait`, `replace` and `never`."""

    workflows: tuple[int, int] = (2, 5)
    tasks: tuple[int, int] = (2, 14)
    within_s: float = 120.0
    durations_s: tuple[float, ...] = (0.0, 0.5, 3.0, 10.0, 30.0)
    on_cluster_lost: tuple[int, int, int] = (3, 5, 1)


def requests(rng: Random, workload: Workload) -> list[Request]:
    """Submissions of one history, by time."""
    count = rng.randint(*workload.workflows)
    found = [
        Request(
            at_s=rng.uniform(0.0, workload.within_s),
            key=f"key-{i}",
            spec=_workflow(rng, f"flow-{i}", workload),
            repeats=rng.choice((0, 0, 1, 2)),
            cancel_after_s=rng.uniform(0.0, 60.0) if rng.random() < 0.2 else None,
        )
        for i in range(count)
    ]
    return sorted(found, key=lambda request: request.at_s)


def _workflow(rng: Random, name: str, workload: Workload) -> wire.WorkflowSpec:
    size = rng.randint(*workload.tasks)
    job = rng.random() < 0.25
    tasks = [_task(rng, f"t{i}", workload.durations_s) for i in range(size)]
    share = 0.0 if job else rng.choice((0.1, 0.25, 0.5))
    edges = [
        wire.DependencySpec(
            before=f"t{first}", after=f"t{then}", volume_mb=float(rng.choice((0, 1, 50)))
        )
        for then in range(size)
        for first in range(max(0, then - 4), then)
        if rng.random() < share
    ]
    return wire.WorkflowSpec(
        name=name,
        kind="job" if job else "workflow",
        tasks=tasks,
        dependencies=edges,
        priority=rng.choice((0, 0, 5)),
        on_cluster_lost=rng.choices(("wait", "replace", "never"), workload.on_cluster_lost)[0],
        decomposition=rng.choice(DECOMPOSITIONS),
        assignment=rng.choice(ASSIGNMENTS),
    )


def _task(rng: Random, name: str, durations_s: tuple[float, ...]) -> wire.TaskSpec:
    huge = rng.random() < 0.005  # fits nowhere: it has to be rejected, and its heirs cancelled
    return wire.TaskSpec(
        name=name,
        cpu_milli=1_000_000 if huge else rng.choice((100, 500, 1000, 2000)),
        memory_mib=rng.choice((0, 64, 512)),
        gpu_count=1 if rng.random() < 0.05 else 0,
        duration_s=rng.choice(durations_s) * rng.uniform(0.5, 1.5),
        max_attempts=rng.randint(1, 4),
        backoff_s=rng.choice((0.1, 1.0, 5.0)),
    )
