"""ECSched's mean completion times of ml, dp, swarm and k8s: the largest gap in percent."""

from __future__ import annotations

from benchmarks._harness import Benchmark, Measured
from benchmarks._published import largest, lines, percent


def run() -> Measured:
    found = lines("ecsched")
    ours = {line.case.rpartition("/")[2]: float(line.ours or 0.0) for line in found}
    if not ours["ml"] < ours["dp"] < ours["swarm"] < ours["k8s"]:
        raise AssertionError(f"not the published order: {ours}")
    return Measured(round(largest(found, percent, lambda r: True), 4), ours)


BENCHMARK = Benchmark(name="reproduce_ecsched", unit="%", target=10.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
