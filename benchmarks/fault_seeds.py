"""Histories in which a promise is broken, because one lost task is one too many.

Plays `CEREBRUM_FAULT_SEEDS` seeds (default 0:300; 0:10000 for a release) of `tests/faults`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks._harness import ROOT, Benchmark, CannotRun, Measured, progress


def run() -> Measured:
    """Play the seeds in as many processes as there are cores."""
    seeds = os.environ.get("CEREBRUM_FAULT_SEEDS", "0:300")
    progress(f"seeds {seeds}")
    command = [sys.executable, "-m", "tests.faults", "--seeds", seeds, "--keep-going"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    if not lines:
        raise CannotRun("tests.faults said nothing: see above")
    found = json.loads(lines[-1])
    peer = {"histories": found["seeds"], "cpu_s each": found["cpu_s_mean"]}
    return Measured(len(found["broken"]), peer=peer)


BENCHMARK = Benchmark(
    name="fault_seeds", unit="broken_histories", target=0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
