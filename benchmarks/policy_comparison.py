"""Seventeen placement policies on ten seeds of one trace, through `bench`: how long a person waits.

openb's default trace loaded to 130 % of the GPUs, seeds 42 to 51, all processors of the machine.
"""

from __future__ import annotations

import time

from rich.progress import Progress

from benchmarks._harness import Benchmark, Measured, console, need_data
from cerebrum.experiments.bench import bench

POLICIES = (
    "random", "round-robin", "first-fit", "least-allocated", "most-allocated", "best-fit",
    "worst-fit", "dot-product", "gpu-clustering", "gpu-packing", "fgd", "pwr", "pwr500-fgd500",
    "pwr200-fgd800", "pwr100-fgd900", "pwr50-fgd950", "kubernetes-default",
)  # fmt: skip
SEEDS = tuple(range(42, 52))


def run() -> Measured:
    trace = str(need_data("openb"))
    with Progress(console=console) as progress:
        bar = progress.add_task("runs", total=len(POLICIES) * len(SEEDS))
        start = time.perf_counter()
        found = bench(
            trace,
            POLICIES,
            SEEDS,
            options={"arrivals": "fgd"},
            advance=lambda done, total: progress.update(bar, completed=done, total=total),
        )
        seconds = time.perf_counter() - start
    return Measured(seconds, {"runs": len(found.rows)})


BENCHMARK = Benchmark(
    name="policy_comparison", unit="s", target=120.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
