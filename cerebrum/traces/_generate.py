"""A recipe and what it makes: arrivals x job kinds x run times -> Scenario, the same for a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import InputError
from cerebrum.model.scenario import ReadReport, Scenario
from cerebrum.model.tasks import Job, TaskClass, TaskTable
from cerebrum.traces._arrivals import Arrivals, Poisson, check_number
from cerebrum.traces._durations import Duration, Exponential, residual

MAX_GENERATED = 10_000_000
"""Tasks one generated scenario may hold: about 4 GB of memory."""
MAX_GANG = 10_000


@dataclass(frozen=True, slots=True)
class JobKind:
    """One line of a job mix.

    `weight` is its share of the jobs, relative to the others; `gang` tasks of the class make a job
    and start together; users ask for up to `overestimate` times the run time (uniform from 1;
    exactly 1: they know it).
    """

    name: str
    task_class: TaskClass = field(default_factory=TaskClass)
    duration: Duration = field(default_factory=lambda: Exponential(600.0))
    weight: float = 1.0
    gang: int = 1
    overestimate: float = 1.0
    priority: int = 0
    preemptible: bool = True

    def __post_init__(self) -> None:
        check_number("weight", self.weight, 0, 1e12, strict=True)
        check_number("overestimate", self.overestimate, 1, 1e6)
        check_count("gang", self.gang, 1, MAX_GANG)
        check_count("priority", self.priority, -(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a generated scenario follows from.

    `jobs` arrive by `arrivals`. A `stationary` start adds, at second 0, the jobs that a system
    without waiting would be found running, with what is left of their run times (exact for Poisson
    arrivals: M/G/infinity).
    """

    cluster: Cluster
    kinds: tuple[JobKind, ...]
    jobs: int
    arrivals: Arrivals = field(default_factory=lambda: Poisson(1.0))
    seed: int = 0
    stationary: bool = False
    name: str = "synthetic"

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0, 2**63 - 1)
        check_count("jobs", self.jobs, 1, MAX_GENERATED)
        if not self.kinds:
            raise InputError("expected at least one").at(field="classes")

    @property
    def shares(self) -> NDArray[np.float64]:
        """Probability of each kind: float64[kinds]."""
        weights = np.array([kind.weight for kind in self.kinds], float)
        return weights / weights.sum()

    @property
    def running_jobs(self) -> NDArray[np.float64]:
        """Mean jobs of each kind that run at a moment of steady state: rate x mean run time."""
        means = np.array([kind.duration.mean_s for kind in self.kinds])
        return self.arrivals.rate_per_s * self.shares * means


def check_count(name: str, value: Any, low: int, high: int) -> None:
    """Refuse what is not a whole number in `low`..`high`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and low <= value <= high):
        raise InputError(f"expected a whole number {low:,}..{high:,}, got {value!r}").at(field=name)


def generate(recipe: Recipe) -> Scenario:
    """The scenario of a recipe: seeded, so equal recipes give equal scenarios on any machine."""
    arrive, choose, run, ask, start = np.random.default_rng(recipe.seed).spawn(5)
    kind = choose.choice(len(recipe.kinds), recipe.jobs, p=recipe.shares).astype(np.int32)
    submit_s = recipe.arrivals.times(arrive, recipe.jobs)
    if not np.isfinite(submit_s).all() or submit_s[-1] > 1e15:
        raise InputError("arrivals take too long: give a higher rate").at(field="rate_per_s")
    found, left_s = _found_running(recipe, start) if recipe.stationary else _NOTHING
    _check_size(recipe, np.concatenate([found, kind]))
    duration_s = np.concatenate([left_s, _run_times(recipe, kind, run)])
    kind = np.concatenate([found, kind])
    submit_s = np.concatenate([np.zeros(len(found)), submit_s])
    requested_s = _requested(recipe, kind, duration_s, ask)
    return Scenario(
        cluster=recipe.cluster,
        tasks=_table(recipe, kind, submit_s, duration_s, requested_s),
        name=recipe.name,
        source=f"generated, seed {recipe.seed}",
        report=ReadReport(read=len(kind), kept=len(kind), notes=_notes(recipe, len(found))),
    )


_NOTHING = (np.zeros(0, np.int32), np.zeros(0))


def _check_size(recipe: Recipe, kind: NDArray[np.int32]) -> None:
    gangs = np.array([k.gang for k in recipe.kinds])
    tasks = int((np.bincount(kind, minlength=len(gangs)) * gangs).sum())
    if tasks > MAX_GENERATED:
        problem = f"expected at most {MAX_GENERATED:,} tasks, got {tasks:,}"
        raise InputError(problem).at(field="jobs")


def _found_running(
    recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Kinds and remaining run times of the jobs in the system at second 0."""
    running = recipe.running_jobs
    if not np.isfinite(running).all():
        raise InputError("a stationary start needs run times that end").at(field="start")
    if running.sum() > MAX_GENERATED:
        raise InputError(
            f"a stationary start would hold {running.sum():,.0f} jobs: lower the rate"
        ).at(field="start")
    counts = rng.poisson(running)
    left = [residual(k.duration, rng, int(n)) for k, n in zip(recipe.kinds, counts, strict=True)]
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts), np.concatenate(left)


def _run_times(
    recipe: Recipe, kind: NDArray[np.int32], rng: np.random.Generator
) -> NDArray[np.float64]:
    duration_s = np.empty(len(kind))
    for index, job_kind in enumerate(recipe.kinds):
        mine = np.flatnonzero(kind == index)
        duration_s[mine] = job_kind.duration.sample(rng, len(mine))
    return duration_s


def _requested(
    recipe: Recipe,
    kind: NDArray[np.int32],
    duration_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What users ask for; NaN (the true duration) where they know it or the task never ends."""
    highest = np.array([k.overestimate for k in recipe.kinds])[kind]
    factor = 1 + (highest - 1) * rng.random(len(kind))
    knows = (highest == 1) | ~np.isfinite(duration_s)
    return np.where(knows, np.nan, duration_s * factor)


def _table(
    recipe: Recipe,
    kind: NDArray[np.int32],
    submit_s: NDArray[np.float64],
    duration_s: NDArray[np.float64],
    requested_s: NDArray[np.float64],
) -> TaskTable:
    """Jobs by column to tasks by column: a gang is repeated, one row for each of its tasks."""
    gangs = np.array([k.gang for k in recipe.kinds])
    sizes = gangs[kind]
    job_id: NDArray[np.int64] | int = -1
    jobs: list[Job] = []
    if (sizes > 1).any():
        rows = np.repeat(np.arange(len(kind)), sizes)
        job_id = rows
        jobs = [
            Job(name, int(n)) for name, n in zip(numbered("job", len(kind)), sizes, strict=True)
        ]
        kind, submit_s = kind[rows], submit_s[rows]
        duration_s, requested_s = duration_s[rows], requested_s[rows]
    classes = {k.task_class: None for k in recipe.kinds}
    position = {task_class: i for i, task_class in enumerate(classes)}
    return TaskTable.build(
        names=numbered("task", len(kind)),
        classes=list(classes),
        class_id=np.array([position[k.task_class] for k in recipe.kinds])[kind],
        submit_s=submit_s,
        duration_s=duration_s,
        requested_s=requested_s,
        priority=np.array([k.priority for k in recipe.kinds])[kind],
        job_id=job_id,
        jobs=jobs,
        preemptible=np.array([k.preemptible for k in recipe.kinds])[kind],
    )


def numbered(prefix: str, count: int) -> list[str]:
    """`prefix-000` to `prefix-NNN`, all of one length: in sorted order."""
    width = len(str(max(count - 1, 0)))
    return [f"{prefix}-{i:0{width}d}" for i in range(count)]


def _notes(recipe: Recipe, found: int) -> tuple[str, ...]:
    return (f"{found:,} jobs are running at second 0",) if recipe.stationary else ()
