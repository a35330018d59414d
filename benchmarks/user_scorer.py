"""A user's own scorer in a plain Python file, as a multiple of the built-in twin's CPU time.

The same FGD, written by a "user" in a file of their own, must place every task where the built-in
one does. A second process must start in under 2 s because the compiled scorer is kept on disk.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks._openb import published
from cerebrum.executors.simulated import Simulation
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy

MINE = """
from math import exp

from cerebrum.engine.placement import fragmentation


def score(before, after, task, typical):
    less = before.fragmentation - fragmentation(after, typical)
    return float(int(100.0 / (1.0 + exp(-less / 1000.0))))
"""

SECOND = """
import sys, time
start = time.perf_counter()
from cerebrum.policies import get_policy
from cerebrum.executors.simulated import Simulation
from cerebrum.traces import read
get_policy(sys.argv[1] + ":score", gpus="score", queue="reject").scores[0].scorer.address
print(time.perf_counter() - start)
"""


def timed(scenario: Scenario, source: str, **options: str) -> tuple[float, str]:
    """CPU seconds of one experiment and the digest of its log."""
    simulation, policy = Simulation(scenario), get_policy(source, **options)
    policy.memo_handle(simulation.engine.snapshot())  # type: ignore[attr-defined]
    start = time.process_time()
    simulation.run(policy)
    return time.process_time() - start, simulation.engine.log.digest


def run() -> Measured:
    scenario = published()
    with TemporaryDirectory() as folder:
        mine = Path(folder) / "mine.py"
        mine.write_text(MINE)
        ours, theirs = [], []
        progress("two scorers in turn, five times")
        for turn in range(6):
            built_in, same = timed(scenario, "fgd", queue="reject")
            user, digest = timed(scenario, f"{mine}:score", gpus="score", queue="reject")
            if digest != same:
                raise AssertionError("the user's scorer placed tasks elsewhere")
            if turn:
                ours.append(built_in)
                theirs.append(user)
        command = [sys.executable, "-c", SECOND, str(mine)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        second = float(done.stdout)
    console.print(
        f"built-in {min(ours):.4f}, user's {min(theirs):.4f} CPU-s; second start {second:.2f} s"
    )
    return Measured(min(theirs) / min(ours), {"second process ready, s": second})


BENCHMARK = Benchmark(
    name="user_scorer", unit="x the built-in twin", target=1.5, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
