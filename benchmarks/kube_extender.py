"""Pods a second of the stock kube-scheduler that asks us about each of 1,000 nodes, for every pod.

Whoever may not replace the scheduler can let it ask. It asks one pod at a time and waits for each
answer, so an extender's latency is the cluster's throughput. A real control plane on this machine;
filter, prioritize and bind are ours, all nodes are scored, none is sampled.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from benchmarks._extended import advising_agent, settings
from benchmarks._harness import Benchmark, CannotRun, Measured, progress
from tests.kubernetes import build
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane

NODES, PODS, WARM_UP = 1000, 2000, 200
LIMIT_S = 400.0
PLAIN_PYTHON = 50.0
"""A plain Python extender with names only, as measured before this one was written."""


def scheduled(plane: ControlPlane) -> int:
    """Pods the stock scheduler has placed."""
    text = plane.metrics("kube-scheduler")
    found = re.findall(
        r'^scheduler_schedule_attempts_total\{.*result="scheduled".*\} (\S+)$', text, re.M
    )
    return sum(int(float(number)) for number in found)


def pods_per_second(plane: ControlPlane, url: str, verbs: tuple[str, ...]) -> float:
    """Over all pods but the first, which pay for connections and caches."""
    plane.start_scheduler(settings(url, verbs))
    end_s, begun = time.monotonic() + LIMIT_S, (0.0, 0)
    while True:
        count, now_s = scheduled(plane), time.monotonic()
        if count >= WARM_UP and not begun[1]:
            begun = now_s, count
        if count >= PODS:
            return (count - begun[1]) / (now_s - begun[0])
        if now_s > end_s:
            raise CannotRun(f"only {count} of {PODS} pods were placed in {LIMIT_S:.0f} s")
        time.sleep(0.25)


def run() -> Measured:
    """One control plane, one agent, one run."""
    if absent := build.missing(["etcd", "kube-apiserver", "kube-scheduler"]):
        raise CannotRun(f"{', '.join(absent)} not built: run `make kubernetes-build`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ControlPlane(folder / "cluster") as plane:
            progress(f"{NODES:,} nodes, {PODS:,} pods")
            plane.api.create_all([node(f"n{i}", cpu="16", memory="64Gi") for i in range(NODES)])
            plane.api.create_all([pod(f"p{i}") for i in range(PODS)])
            with advising_agent(plane, folder) as agent:
                value = pods_per_second(plane, agent.url, ("filter", "prioritize", "bind"))
    return Measured(value, peer={"a plain Python extender": PLAIN_PYTHON})


BENCHMARK = Benchmark(
    name="kube_extender", unit="pods/s", target=100.0, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
