"""Pods a second of the stock kube-scheduler that asks us about each of 1,000 nodes, for every pod.

Whoever may not replace the scheduler can let it ask. It asks one pod at a time and waits for each
answer, so an extender's latency is the cluster's throughput. A real control plane on this machine;
filter, prioritize and bind are ours, all nodes are filtered by both and scored by us, none is
sampled. We leave kube-scheduler a short list of the best nodes (`--extender-shortlist`); the first
peer figure is the same without that, the second kube-scheduler alone, which filters and scores all
nodes as well: what is left of the second is what asking costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._extended import advising_agent, scheduled, settings
from benchmarks._harness import Benchmark, CannotRun, Measured, progress
from tests.kubernetes import build
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane

NODES, PODS, WARM_UP = 1000, 2000, 200
SHORTLIST = 20
LIMIT_S = 400.0
PLAIN_PYTHON = 50.0
"""A plain Python extender with names only, as measured before this one was written."""


def pods_per_second(plane: ControlPlane, configuration: Mapping[str, Any]) -> float:
    """Between two looks: one after the first pods, which pay for connections and caches, and the
    last one at which pods were still waiting."""
    plane.api.create_all([pod(f"p{i}") for i in range(PODS)])
    plane.start_scheduler(configuration)
    end_s, begun, last = time.monotonic() + LIMIT_S, (0.0, 0), (0.0, 0)
    with plane.metrics_client("kube-scheduler") as client:
        while True:
            count, now_s = scheduled(client.text("/metrics")), time.monotonic()
            if count >= WARM_UP and not begun[1]:
                begun = now_s, count
            if count >= PODS:
                break
            last = now_s, count
            if now_s > end_s:
                raise CannotRun(f"only {count} of {PODS} pods were placed in {LIMIT_S:.0f} s")
            time.sleep(0.5)  # asking costs whom we ask
    plane.kill_scheduler()
    plane.api.delete_all("Pod")
    plane.api.delete_all("Event")
    return (last[1] - begun[1]) / (last[0] - begun[0])


def run() -> Measured:
    """One control plane, one run."""
    if absent := build.missing(["etcd", "kube-apiserver", "kube-scheduler"]):
        raise CannotRun(f"{', '.join(absent)} not built: run `make kubernetes-build`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ControlPlane(folder / "cluster") as plane:
            progress(f"{NODES:,} nodes, three times {PODS:,} pods")
            plane.api.create_all([node(f"n{i}", cpu="16", memory="64Gi") for i in range(NODES)])
            alone = pods_per_second(plane, {"percentageOfNodesToScore": 100})
            whole = asked(plane, folder, 0)
            short = asked(plane, folder, SHORTLIST)
    return Measured(
        short,
        peer={
            "without a short list": whole,
            "kube-scheduler alone, all nodes scored": alone,
            "a plain Python extender": PLAIN_PYTHON,
        },
    )


def asked(plane: ControlPlane, folder: Path, shortlist: int) -> float:
    """Pods a second with an agent that leaves so many nodes (0: all)."""
    with advising_agent(plane, folder, shortlist=shortlist) as agent:
        return pods_per_second(plane, settings(agent.url, ("filter", "prioritize", "bind")))


BENCHMARK = Benchmark(
    name="kube_extender", unit="pods/s", target=100.0, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
