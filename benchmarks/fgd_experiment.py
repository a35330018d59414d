"""One published FGD experiment in CPU time, as a multiple of our own C program's.

10,866 decisions on 1,213 nodes, warm. Both run in turn, best of five each, so that a busy machine
slows both; the C program is `benchmarks/floor/fgd.c`, the same algorithm and nothing around it.
"""

from __future__ import annotations

import time

from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks._openb import floor, published
from cerebrum.executors.simulated import Simulation
from cerebrum.policies import get_policy


def run() -> Measured:
    scenario = published()
    progress(f"{len(scenario.tasks):,} decisions, {len(scenario.cluster):,} nodes, five turns")
    ours, theirs = [], []
    for turn in range(6):
        simulation = Simulation(scenario)
        policy = get_policy("fgd", queue="reject")
        start = time.process_time()
        simulation.run(policy)
        if turn:  # the first one loads the kernels
            ours.append(time.process_time() - start)
            theirs.append(float(floor(scenario, "run", "-x", "-r", "3")["cpu_s"]))
    best, c = min(ours), min(theirs)
    console.print(f"Cerebrum {best:.4f} CPU-s, C {c:.4f} CPU-s")
    rate = len(scenario.tasks) / best
    return Measured(best / c, {"C, CPU-s": c, "Cerebrum, CPU-s": best, "decisions per CPU-s": rate})


BENCHMARK = Benchmark(
    name="fgd_experiment", unit="x the C floor", target=2.5, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
