"""Pods a second on 1000 nodes over kube-scheduler's, on one control plane: see `_throughput`."""

from __future__ import annotations

from benchmarks._harness import Benchmark, Measured
from benchmarks._throughput import measure

NODES = 1000


def run() -> Measured:
    """Both schedulers, one after the other."""
    return measure(NODES)


BENCHMARK = Benchmark(
    name="kube_throughput_1000", unit="ratio", target=1.5, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
