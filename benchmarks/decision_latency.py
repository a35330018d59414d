"""The slowest size's median decision in steady state: 1.2k, 4.9k, 12k and 100k nodes at 90 % GPUs.

A decision is choosing node and GPUs for one task and applying bind and start; the oldest tasks
leave so that the cluster stays 90 % allocated. FGD, openb's nodes side by side, openb's task mix.
The table on stderr also shows p99 and the first sight of a task class; the peer is our C program.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks._openb import copies, floor
from benchmarks._steady import steady
from cerebrum.engine.incremental import Incremental
from cerebrum.policies import get_policy

COPIES = (1, 4, 10, 83)
DECISIONS = 50_000


def tasks_for(count: int) -> int:
    """Enough tasks to fill `count` openb clusters to 90 %, warm up and measure."""
    return int(9_900 * count) + DECISIONS + 10_000


def run() -> Measured:
    table = Table("nodes", "p50 us", "p99 us", "first sight ms", "C p50 us", "C p99 us")
    medians: list[float] = []
    peer: dict[str, float] = {}
    for count in COPIES:
        scenario = copies(count, tasks_for(count))
        nodes = len(scenario.cluster)
        progress(f"{nodes:,} nodes, {len(scenario.tasks):,} tasks")
        best = None
        for _ in range(2):  # the better of two: other work on the machine only ever adds
            policy = get_policy("fgd", queue="reject")
            assert isinstance(policy, Incremental)
            took, sight = steady(scenario, policy, DECISIONS)
            found = (*np.percentile(took, [50, 99]), sight.max() / 1000)
            best = found if best is None else tuple(map(min, best, found))
        assert best is not None
        c = floor(scenario, "steady", "-k", "1", "-d", str(DECISIONS), "-x")
        table.add_row(f"{nodes:,}", *(f"{v:.1f}" for v in (*best, c["p50_us"], c["p99_us"])))
        medians.append(float(best[0]))
        peer |= {
            f"{nodes} nodes p50": float(best[0]),
            f"{nodes} nodes p99": float(best[1]),
            f"{nodes} nodes first sight, ms": float(best[2]),
            f"{nodes} nodes, C p50": c["p50_us"],
            f"{nodes} nodes, C p99": c["p99_us"],
        }
    console.print(table)
    return Measured(max(medians), peer)


BENCHMARK = Benchmark(
    name="decision_latency", unit="us, p50", target=10.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
