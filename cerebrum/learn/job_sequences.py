"""Sequences of batch jobs to train on: drawn from a trace, never from its test windows.

The test windows cover most of a trace, and what is left is too short for many windows of their
length. So blocks of consecutive jobs, each with the gaps before its jobs, are drawn with
replacement and put one after the other: daily rhythm and runs of similar jobs survive inside a
block. The gaps are then stretched to a load drawn evenly, so that quiet and overloaded machines
are both seen. Load is work (processors x run time) over what the machine can do from first to last
arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.batch_queue import Window
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable

BLOCK = (16, 256)
"""Jobs in a block, both included."""

LOAD = (0.8, 1.4)

LEAST_S = 1e-9
"""The engine's least requested time; a job that asked for none is taken at its run time."""


def columns(scenario: Scenario) -> Window:
    """A trace as the training simulator takes it: jobs in submit order, one pool of processors.

    Raises `ConfigError` for jobs larger than the machine or without an end: no queue moves on.
    """
    tasks = scenario.tasks
    order = np.argsort(tasks.submit_s, kind="stable")
    machine = sum(node.capacity.cpu_milli for node in scenario.cluster.nodes) // 1000
    asked = np.where(np.isnan(tasks.requested_s), tasks.duration_s, tasks.requested_s)
    found = Window(
        tasks.submit_s[order],
        tasks.duration_s[order],
        np.maximum(asked, LEAST_S)[order],
        tasks.request("cpu_milli")[order] / 1000.0,
        machine,
    )
    if not np.isfinite(found.run_s).all() or (found.processors > machine).any():
        raise ConfigError(
            f"expected jobs that end and fit on {machine} processors, got one that does not"
        )
    return found


def as_scenario(jobs: Window) -> Scenario:
    """The reverse of `columns`: one node of so many cores, and a task a job."""
    sizes, class_id = np.unique(jobs.processors, return_inverse=True)
    tasks = TaskTable.build(
        [f"job-{i}" for i in range(len(jobs))],
        [TaskClass(Resources(cpu_milli=round(1000 * size))) for size in sizes.tolist()],
        class_id, jobs.submit_s, jobs.run_s, jobs.requested_s,
    )  # fmt: skip
    machine = Node("machine", Resources(cpu_milli=1000 * jobs.machine), slots=len(jobs))
    return Scenario(Cluster((machine,)), tasks)


def part(trace: Window, first: int, length: int) -> Window:
    """Consecutive jobs, at their own times."""
    jobs = slice(first, first + length)
    return Window(
        trace.submit_s[jobs],
        trace.run_s[jobs],
        trace.requested_s[jobs],
        trace.processors[jobs],
        trace.machine,
    )


def resampled(
    trace: Window,
    stretches: Sequence[NDArray[np.int64]],
    rng: np.random.Generator,
    length: int = 1024,
    load: tuple[float, float] = LOAD,
) -> Window:
    """`length` jobs in blocks out of `stretches` of consecutive jobs; whole seconds, from 0."""
    jobs = _blocks(stretches, rng, length)
    gaps = np.diff(trace.submit_s, prepend=trace.submit_s[0])[jobs]
    work = float((trace.run_s[jobs] * trace.processors[jobs]).sum())
    wanted_s = work / trace.machine / rng.uniform(*load)
    submit = np.floor(np.cumsum(gaps) * (wanted_s / max(float(gaps.sum()), 1.0)))
    return Window(
        submit - submit[0],
        trace.run_s[jobs],
        trace.requested_s[jobs],
        trace.processors[jobs],
        trace.machine,
    )


def _blocks(
    stretches: Sequence[NDArray[np.int64]], rng: np.random.Generator, length: int
) -> NDArray[np.int64]:
    """Each stretch is chosen as often as it is long."""
    sizes = np.array([len(one) for one in stretches], np.float64)
    blocks: list[NDArray[np.int64]] = []
    while sum(map(len, blocks)) < length:
        stretch = stretches[int(rng.choice(len(stretches), p=sizes / sizes.sum()))]
        size = min(int(rng.integers(BLOCK[0], BLOCK[1] + 1)), len(stretch))
        first = int(rng.integers(0, len(stretch) - size + 1))
        blocks.append(stretch[first : first + size])
    return np.concatenate(blocks)[:length]
