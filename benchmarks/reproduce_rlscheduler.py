"""RLScheduler's Lublin-1 table, no backfill: the largest gap in percent; with EASY as the peer."""

from __future__ import annotations

from benchmarks._harness import Benchmark, Measured
from benchmarks._published import largest, lines, percent


def run() -> Measured:
    found = lines("rlscheduler")
    plain = largest(found, percent, lambda r: "no backfill" in r.case)
    easy = largest(found, percent, lambda r: "EASY" in r.case)
    return Measured(round(plain, 4), {"with EASY backfill (target 0.5)": round(easy, 4)})


BENCHMARK = Benchmark(
    name="reproduce_rlscheduler", unit="%", target=0.1, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
