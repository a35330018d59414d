"""Pods a second of the stock kube-scheduler and of our agent, on one control plane, in one run.

The pods are there before either starts, so creating them costs neither anything. Time counts from
the 500th pod to the last bind, when caches are warm; the second figure counts on until every pod
has its event, which we write behind the binds and kube-scheduler beside them.
The agent is the product as people run it: `cerebrum lca --executor kubernetes`, all filters on,
Kubernetes' default scorers, every node scored. API limits are raised for both.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
from rich.table import Table

from benchmarks._extended import scheduled, total, wait_ready
from benchmarks._harness import CannotRun, Measured, console, progress
from benchmarks.durable_submissions import Server
from tests.kubernetes import build
from tests.kubernetes.api import Api
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane

PODS, WARM_UP = 5_000, 500
LIMIT_S, EVENTS_S = 300.0, 120.0
RAISED = 5_000


@dataclass(frozen=True, slots=True)
class Run:
    """`cpu_ms` of the scheduler's own process a pod; `events_s` from the last bind to the last
    event, `told_per_s` the rate until then; `decision_ms` upper bounds of the 50th and 99th
    percentile, ours only; `decision_cpu_ms` without what other processes took meanwhile."""

    pods_per_s: float
    cpu_ms: float
    memory_mib: float
    events_s: float
    told_per_s: float
    decision_ms: tuple[float, float] = (float("nan"), float("nan"))
    decision_cpu_ms: tuple[float, float] = (float("nan"), float("nan"))


def measure(nodes: int) -> Measured:
    """Our pods a second over theirs."""
    if absent := build.missing(["etcd", "kube-apiserver", "kube-scheduler"]):
        raise CannotRun(f"{', '.join(absent)} not built: run `make kubernetes-build`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ControlPlane(folder / "cluster", api_qps=RAISED) as plane:
            progress(f"{nodes:,} nodes")
            plane.api.create_all([node(f"n{i}", cpu="32", memory="256Gi") for i in range(nodes)])
            _create(plane.api, "default-scheduler")
            theirs = _theirs(plane)
            plane.kill_scheduler()
            plane.api.delete_all("Pod")
            plane.api.delete_all("Event")
            _create(plane.api, "cerebrum")
            ours = _ours(plane, folder)
    _show(nodes, theirs, ours)
    return Measured(
        ours.pods_per_s / theirs.pods_per_s,
        peer={
            "kube-scheduler, pods/s": theirs.pods_per_s,
            "ours, pods/s": ours.pods_per_s,
            "kube-scheduler, pods/s until the last event": theirs.told_per_s,
            "ours, pods/s until the last event": ours.told_per_s,
            "kube-scheduler, CPU ms a pod": theirs.cpu_ms,
            "ours, CPU ms a pod": ours.cpu_ms,
            "ours, decision p99 ms, at most": ours.decision_ms[1],
            "ours, decision p99 CPU ms, at most": ours.decision_cpu_ms[1],
        },
    )


def _create(api: Api, scheduler: str) -> None:
    progress(f"{PODS:,} pods for {scheduler}")
    api.create_all(
        [
            pod(f"{scheduler}-{i}", cpu=f"{100 + i % 5 * 100}m", scheduler_name=scheduler)
            for i in range(PODS)
        ]
    )


def _theirs(plane: ControlPlane) -> Run:
    plane.start_scheduler()
    server = plane.servers["kube-scheduler"]
    return _follow(
        plane.api, lambda: scheduled(plane.metrics("kube-scheduler")), server.cpu_s,
        server.memory_mib,
    )  # fmt: skip


def _ours(plane: ControlPlane, folder: Path) -> Run:
    agent = Server.start(
        folder, "lca", "lca", "--cluster-id", "measured", "--gcc-url", "", "--executor",
        "kubernetes", "--kubeconfig", str(plane.kubeconfig), "--policy", "kubernetes-default",
        "--kube-qps", str(RAISED),
    )  # fmt: skip
    try:
        process = psutil.Process(agent.process.pid)

        def page() -> str:
            return httpx.get(agent.url + "/metrics", timeout=30, trust_env=False).text

        def cpu_s() -> float:
            used = process.cpu_times()
            return used.user + used.system

        run = _follow(
            plane.api, lambda: total(r"^cerebrum_scheduler_binds_total (\S+)$", page()), cpu_s,
            lambda: process.memory_info().rss / 2**20,
        )  # fmt: skip
        wait_ready(agent.url)
        said, name = page(), "cerebrum_scheduler_decision"
        return replace(
            run, decision_ms=_quantiles_ms(said, f"{name}_seconds"),
            decision_cpu_ms=_quantiles_ms(said, f"{name}_cpu_seconds"),
        )  # fmt: skip
    finally:
        agent.stop()


def _follow(
    api: Api,
    placed: Callable[[], int],
    cpu_s: Callable[[], float],
    memory_mib: Callable[[], float],
) -> Run:
    """From the pod WARM_UP to the last one, and to the last event."""
    end_s, begun = time.monotonic() + LIMIT_S, (0.0, 0, 0.0)
    while True:
        count, now_s = placed(), time.monotonic()
        if count >= WARM_UP and not begun[1]:
            begun = now_s, count, cpu_s()
        if count >= PODS:
            break
        if now_s > end_s:
            raise CannotRun(f"only {count} of {PODS} pods were placed in {LIMIT_S:.0f} s")
        time.sleep(1.0)  # asking costs whom we ask
    measured = count - begun[1]
    rate = measured / (now_s - begun[0])
    while (events := _scheduled_events(api)) < PODS:
        if time.monotonic() > now_s + EVENTS_S:
            raise CannotRun(f"only {events} of {PODS} pods have their event")
        time.sleep(0.2)
    events_s = time.monotonic() - now_s
    told = measured / (measured / rate + events_s)
    cpu_ms = 1e3 * (cpu_s() - begun[2]) / measured
    return Run(rate, cpu_ms, memory_mib(), events_s, told)


def _scheduled_events(api: Api) -> int:
    return sum(event.get("reason") == "Scheduled" for event in api.list("Event"))


def _quantiles_ms(page: str, name: str) -> tuple[float, float]:
    """Upper bounds of the median and the 99th percentile, from the buckets of a histogram."""
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', page, re.MULTILINE)
    buckets = [(float(bound), float(count)) for bound, count in found]
    total = buckets[-1][1] if buckets else 0.0

    def at(share: float) -> float:
        return 1e3 * next((b for b, count in buckets if count >= share * total), float("nan"))

    return at(0.5), at(0.99)


def _show(nodes: int, theirs: Run, ours: Run) -> None:
    table = Table(title=f"{PODS:,} pods on {nodes:,} nodes")
    for column in (
        "",
        "pods/s",
        "CPU ms a pod",
        "MiB",
        "last event after, s",
        "decision p50, p99 ms",
        "CPU ms",
    ):
        table.add_column(column, justify="right")
    for name, run in (("kube-scheduler", theirs), ("cerebrum", ours)):
        (p50, p99), (cpu_p50, cpu_p99) = run.decision_ms, run.decision_cpu_ms
        table.add_row(
            name, f"{run.pods_per_s:.0f}", f"{run.cpu_ms:.1f}", f"{run.memory_mib:.0f}",
            f"{run.events_s:.1f}", f"{p50:.2f}, {p99:.2f}",
            f"{cpu_p50:.2f}, {cpu_p99:.2f}",
        )  # fmt: skip
    console.print(table)
