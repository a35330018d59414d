"""Peak memory of one simulation of 100,000 nodes and 1,000,000 tasks, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from benchmarks._harness import ROOT, Benchmark, Measured, console, progress

CHILD = """
import resource, time
from benchmarks._openb import copies
from cerebrum.executors.simulated import Simulation
from cerebrum.policies import get_policy
start = time.perf_counter()
scenario = copies(83, 1_000_000)
simulation = Simulation(scenario)
simulation.run(get_policy("fgd", queue="reject"))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(peak, seconds, len(simulation.engine.log))
"""


def run() -> Measured:
    progress("100,679 nodes, 1,000,000 tasks")
    done = subprocess.run(
        [sys.executable, "-c", CHILD], check=True, capture_output=True, text=True, cwd=ROOT
    )
    peak, seconds, events = (float(word) for word in done.stdout.split())
    console.print(f"{peak:.2f} GiB, {seconds:.0f} s from start to end, {events:,.0f} events")
    return Measured(peak, {"wall seconds, start to end": seconds})


BENCHMARK = Benchmark(name="large_memory", unit="GiB", target=4.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
