"""Decisions of the learned scorer per CPU-second on openb's 1,213 nodes, FGD's beside it.

One published experiment, 10,866 decisions, warm, best of five: the scorer is compiled into the
incremental engine, which asks it about the nodes that changed and no others.
"""

from __future__ import annotations

import time

from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks._openb import published
from cerebrum.executors.simulated import Simulation
from cerebrum.policies import get_policy
from cerebrum.policies.learned.artefact import find, read
from cerebrum.policies.learned.node_scorer import make


def run() -> Measured:
    scenario = published()
    progress(f"{len(scenario.tasks):,} decisions, {len(scenario.cluster):,} nodes, five turns")
    policies = {"learned": make(read(find("openb-scorer")), "reject"),
                "FGD": get_policy("fgd", queue="reject")}  # fmt: skip
    best = dict.fromkeys(policies, float("inf"))
    for turn in range(6):
        for name, policy in policies.items():
            simulation = Simulation(scenario)
            start = time.process_time()
            simulation.run(policy)
            if turn:  # the first one loads the kernels
                best[name] = min(best[name], time.process_time() - start)
    rates = {name: len(scenario.tasks) / cpu_s for name, cpu_s in best.items()}
    console.print(", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    return Measured(rates["learned"], {"FGD": rates["FGD"]})


BENCHMARK = Benchmark(
    name="learned_decisions", unit="decisions per CPU-second", target=10_000,
    direction="at_least", run=run,
)  # fmt: skip

if __name__ == "__main__":
    BENCHMARK.main()
