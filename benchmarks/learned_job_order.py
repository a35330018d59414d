"""The learned job order on RLScheduler's ten Lublin-1 windows, by the engine, against its agent.

Mean bounded slowdown without backfilling, the published figure as target; with EASY, and the
published agent, SJF and F1 in the same run, as peers. Shown beside them: the paired differences,
and two other traces, of which no job was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks._harness import Benchmark, Measured, console, need_data, progress
from cerebrum.learn.job_evaluation import PUBLISHED, RIVALS, by_window
from cerebrum.learn.job_order import read_trace
from cerebrum.model.bootstrap import interval
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy
from cerebrum.traces import swf
from cerebrum.traces.windows import LENGTH, start_indices

LEARNED = {"none": "learned:job-order", "easy": "learned:job-order-easy"}
WORDS = {"none": "no backfill", "easy": "EASY"}
ELSEWHERE = {
    "HPC2N": ("alea_hpc2n_3150jobs.swf.gz", 240, range(0, 3 * LENGTH, LENGTH)),
    "MetaCentrum": ("alea_metacentrum_wagap-2013.swf.gz", 1024, range(0, 18 * LENGTH, 3 * LENGTH)),
}
"""File, processors of the machine, first job of each window."""

Means = dict[str, float]


def measured(name: str, scenario: Scenario, first: Sequence[int], table: Table) -> dict[str, Means]:
    """Mean bounded slowdown by backfilling and policy; a row of the table for each backfilling."""
    found: dict[str, Means] = {}
    for backfill, words in WORDS.items():
        progress(f"{name}, {words}: {len(first)} windows")
        policies = {"learned": get_policy(LEARNED[backfill])}
        policies |= {rival: get_policy(rival, backfill=backfill) for rival in RIVALS}
        windows = {who: by_window(scenario, first, policy) for who, policy in policies.items()}
        means = {who: float(slowdowns.mean()) for who, slowdowns in windows.items()}
        less = (paired(windows["learned"] - windows[rival]) for rival in RIVALS)
        table.add_row(f"{name}, {words}", *(f"{mean:.2f}" for mean in means.values()), *less)
        found[backfill] = means
    return found


def paired(less: NDArray[np.float64]) -> str:
    """Mean, 95 % bootstrap interval, and how many windows are below zero."""
    low, high = interval(less)
    return f"{less.mean():+.1f} [{low:+.1f}, {high:+.1f}], {(less < 0).sum()} of {len(less)}"


def run() -> Measured:
    """Lublin-1, then the two others."""
    folder = need_data("jobs")
    table = Table("mean bounded slowdown", "learned", *(name.upper() for name in RIVALS),
                  *(f"learned less {name.upper()}" for name in RIVALS))  # fmt: skip
    lublin = read_trace(folder)
    means = measured("Lublin-1", lublin, start_indices(len(lublin.tasks)), table)
    for name, (file, processors, first) in ELSEWHERE.items():
        measured(name, swf.read(folder / file, machine_processors=processors), first, table)
    console.print(table)
    peers = {
        f"{who}, {WORDS[backfill]}": round(mean, 2)
        for backfill, found in means.items()
        for who, mean in {**found, "RLScheduler as published": PUBLISHED[backfill]}.items()
    }
    return Measured(peers.pop("learned, no backfill"), peers)


BENCHMARK = Benchmark(
    name="learned_job_order",
    unit="slowdown",
    target=PUBLISHED["none"],
    direction="at_most",
    run=run,
)

if __name__ == "__main__":
    BENCHMARK.main()
