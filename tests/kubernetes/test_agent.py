"""`cerebrum lca --executor kubernetes` on a real API server: runs placed by our own scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.durable_submissions import Server
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.shared import Tenant
from tests.kubernetes.test_runs import Kubelets
from tests.waiting import wait_until

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def agent(plane: Tenant, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*more: str) -> Server:
        started.append(
            Server.start(
                tmp_path, "lca", "lca", "--cluster-id", "k", "--gcc-url", "",
                "--executor", "kubernetes", "--kubeconfig", str(plane.kubeconfig),
                "--namespace", plane.namespace, *more,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def kubelets(plane: Tenant) -> Iterator[Kubelets]:
    if not plane.ours:
        pytest.skip("it needs a cluster without kubelets")
    plane.api.create(node("n1", "2"))
    with Kubelets(plane.api) as running:
        yield running
    for found in plane.api.list("Pod"):
        gone = {"metadata": {"finalizers": None}}
        plane.api.patch("Pod", found["metadata"]["name"], gone)


def chain(seconds: float) -> dict[str, Any]:
    tasks = [{"name": n, "cpu_milli": 1000, "duration_s": seconds} for n in ("a", "b")]
    return {"name": "two", "tasks": tasks, "dependencies": [{"before": "a", "after": "b"}]}


def test_runs_and_other_pods_get_their_nodes_from_one_process(
    plane: Tenant, kubelets: Kubelets, agent: Callable[..., Server]
) -> None:
    server = agent("--leader-election")
    with httpx.Client(base_url=server.url, timeout=30) as http:
        wait_until(lambda: http.get("/readyz").status_code == 200)
        plane.api.create(pod("mine", "500m", scheduler_name="cerebrum"))
        wait_until(lambda: plane.api.get("Pod", "mine")["spec"].get("nodeName") == "n1")
        assert http.post("/schedule_subgraph", json=chain(0.5)).status_code == 200
        wait_until(lambda: http.get("/api/v1/snapshot").json()["counts"]["succeeded"] == 2)
        runs = [p for p in plane.api.list("Pod") if p["metadata"]["name"].startswith("cb-")]
        assert [p["spec"]["schedulerName"] for p in runs] == ["cerebrum"] * 2
        assert [p["spec"]["nodeName"] for p in runs] == ["n1"] * 2
        metrics = http.get("/metrics").text
        assert "cerebrum_scheduler_binds_total 3.0" in metrics
        assert "cerebrum_scheduler_leader 1.0" in metrics
    assert server.stop() == 0


def test_an_agent_killed_in_mid_run_comes_back_to_the_same_pod(
    plane: Tenant, kubelets: Kubelets, agent: Callable[..., Server]
) -> None:
    def runs() -> list[Any]:
        return [p for p in plane.api.list("Pod") if p["metadata"]["name"].startswith("cb-")]

    first = agent("--mode", "off")
    httpx.post(first.url + "/schedule_subgraph", json=chain(4.0), timeout=30).raise_for_status()
    wait_until(lambda: [p for p in runs() if p["status"]["phase"] == "Running"])
    (began,) = runs()
    first.kill()
    second = agent("--mode", "off")
    with httpx.Client(base_url=second.url, timeout=30) as http:
        wait_until(lambda: http.get("/api/v1/snapshot").json()["counts"]["succeeded"] == 2)
        found = {p["metadata"]["uid"] for p in runs()}
        assert began["metadata"]["uid"] in found
        assert len(found) == 2, "a task ran twice"
    assert second.stop() == 0


def test_an_api_server_that_dies_and_returns_costs_time_and_no_run(
    control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    cluster = control_plane()
    cluster.api.create(node("n1", "2"))
    server = Server.start(
        tmp_path, "lca", "lca", "--cluster-id", "k", "--gcc-url", "", "--mode", "off",
        "--executor", "kubernetes", "--kubeconfig", str(cluster.kubeconfig),
    )  # fmt: skip
    try:
        with Kubelets(cluster.api), httpx.Client(base_url=server.url, timeout=30) as http:
            assert http.post("/schedule_subgraph", json=chain(6.0)).status_code == 200
            wait_until(
                lambda: [p for p in cluster.api.list("Pod") if p["status"]["phase"] == "Running"]
            )
            cluster.kill_api()
            time.sleep(4)
            assert http.get("/healthz").status_code == 200
            cluster.start_api()
            wait_until(lambda: http.get("/api/v1/snapshot").json()["counts"]["succeeded"] == 2)
            assert len(cluster.api.list("Pod")) == 2, "a task ran twice"
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()
