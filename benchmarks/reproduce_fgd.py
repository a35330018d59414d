"""The FGD paper's GPU allocation, five policies, five traces, seeds 42..51: the largest gap.

In points of GPU capacity, at 80 to 130 % arrived. Random cannot be replayed and is the peer.
"""

from __future__ import annotations

from benchmarks._harness import Benchmark, Measured
from benchmarks._published import Line, largest, lines, points


def allocation(line: Line) -> bool:
    return line.metric == "gpu_allocation_pct"


def run() -> Measured:
    found = lines("fgd")
    exact = largest(found, points, lambda r: allocation(r) and "/Random" not in r.case)
    drawn = largest(found, points, lambda r: allocation(r) and "/Random" in r.case)
    return Measured(round(exact, 4), {"Random (target 0.5)": round(drawn, 4)})


BENCHMARK = Benchmark(
    name="reproduce_fgd", unit="points", target=0.05, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
