"""The slower of `cerebrum --help` and `import cerebrum`, because a command line must answer."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks._harness import Benchmark, Measured, console

COMMANDS = {
    "cerebrum --help": [sys.executable, "-m", "cerebrum", "--help"],
    "import cerebrum": [sys.executable, "-c", "import cerebrum"],
}


def run() -> Measured:
    best: dict[str, float] = {}
    for name, command in COMMANDS.items():
        for _ in range(6):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            best[name] = min(best.get(name, 1e9), time.perf_counter() - start)
        console.print(f"{name}: {best[name]:.3f} s")
    return Measured(max(best.values()), best)


BENCHMARK = Benchmark(name="startup", unit="s", target=0.5, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
