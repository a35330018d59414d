"""Seconds until an agent has read a cluster of 5,000 nodes and 50,000 pods, and is ready.

From the start of the process, kernels compiled before; the peer figures are its memory and the CPU
seconds it used until then, and its use of a core while ten pods a second change.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks._extended import READY_S, wait_ready
from benchmarks._harness import Benchmark, CannotRun, Measured, progress
from benchmarks.durable_submissions import Server
from tests.kubernetes import build
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane

NODES, PODS = 5_000, 50_000
STEADY_S, EVENTS_PER_S = 30.0, 10


def start(plane: ControlPlane, folder: Path) -> tuple[Server, float]:
    """An agent that is ready, and the seconds that took."""
    began_s = time.monotonic()
    agent = Server.start(
        folder, "lca", "lca", "--cluster-id", "read", "--gcc-url", "", "--executor", "kubernetes",
        "--kubeconfig", str(plane.kubeconfig), "--kube-qps", "1000", patience_s=READY_S,
    )  # fmt: skip
    try:
        wait_ready(agent.url)
    except CannotRun:
        agent.kill()
        raise
    return agent, time.monotonic() - began_s


def steady_share(plane: ControlPlane, process: psutil.Process) -> float:
    """The share of a core that the agent uses while pods of others change."""
    over = threading.Event()

    def change() -> None:
        api, number = plane.as_administrator(), 0
        while not over.wait(1 / EVENTS_PER_S):
            patch = {"metadata": {"annotations": {"turn": str(number)}}}
            api.patch("Pod", f"p{number % PODS}", patch)
            number += 1

    used = process.cpu_times()
    worker = threading.Thread(target=change)
    worker.start()
    time.sleep(STEADY_S)
    over.set()
    worker.join()
    now = process.cpu_times()
    return (now.user + now.system - used.user - used.system) / STEADY_S


def run() -> Measured:
    """One control plane; a first agent compiles, a second one is measured."""
    if absent := build.missing(["etcd", "kube-apiserver"]):
        raise CannotRun(f"{', '.join(absent)} not built: run `make kubernetes-build`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ControlPlane(folder / "cluster", api_qps=5_000) as plane:
            plane.api.create_all([node("first", cpu="32", memory="256Gi")])
            start(plane, folder)[0].stop()
            progress(f"{NODES:,} nodes, {PODS:,} bound pods")
            plane.api.create_all([node(f"n{i}", cpu="32", memory="256Gi") for i in range(NODES)])
            bound = [pod(f"p{i}", cpu="100m") for i in range(PODS)]
            for i, item in enumerate(bound):
                item["spec"]["nodeName"] = f"n{i % NODES}"
            plane.api.create_all(bound)
            progress("an agent reads them")
            agent, seconds = start(plane, folder)
            try:
                process = psutil.Process(agent.process.pid)
                memory_mib = process.memory_info().rss / 2**20
                cpu_s = sum(process.cpu_times()[:2])
                time.sleep(5)
                share = steady_share(plane, process)
            finally:
                agent.stop()
    return Measured(
        seconds,
        peer={
            "memory, MiB": memory_mib,
            "CPU of the agent, s": cpu_s,
            "share of a core at 10 events/s": share,
        },
    )


BENCHMARK = Benchmark(name="kube_sync", unit="s", target=30.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
