"""`cerebrum lca --executor kubernetes` as a process, against a fake API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.durable_submissions import Server
from cerebrum.model.errors import InputError
from cerebrum.services.api.kubernetes import KubernetesCluster
from cerebrum.services.api.settings import LcaSettings, load
from tests.executors.kubernetes.fake_runs_api import FakeApi
from tests.waiting import wait_until


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


@pytest.fixture
def kubeconfig(api: FakeApi, tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig.yaml"
    file.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": api.access.server}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "namespace": "batch"}}],
    }))  # fmt: skip
    return file


def offered(cpu: str) -> dict[str, Any]:
    return {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}


SPEC = {
    "name": "two",
    "tasks": [
        {"name": "a", "cpu_milli": 1000, "duration_s": 0.2},
        {"name": "b", "cpu_milli": 1000, "duration_s": 0.2},
    ],
    "dependencies": [{"before": "a", "after": "b"}],
}


@pytest.mark.slow
def test_an_agent_runs_a_workflow_as_pods_and_shows_its_cluster(
    api: FakeApi, kubeconfig: Path, tmp_path: Path
) -> None:
    api.put("nodes", "n1", status=offered("2"))
    server = Server.start(
        tmp_path, "lca", "lca", "--cluster-id", "k", "--gcc-url", "", "--executor", "kubernetes",
        "--kubeconfig", str(kubeconfig), "--mode", "off",
    )  # fmt: skip
    try:
        with httpx.Client(base_url=server.url, timeout=30) as http:
            wait_until(lambda: http.get("/readyz").status_code == 200)
            nodes = http.get("/api/v1/snapshot").json()["nodes"]
            assert [(n["name"], n["cpu_milli"]) for n in nodes] == [("n1", 2000)]
            assert http.post("/schedule_subgraph", json=SPEC).status_code == 200
            wait_until(lambda: http.get("/api/v1/snapshot").json()["counts"]["succeeded"] == 2)
            pods = api.pods()
            assert {pod["metadata"]["namespace"] for pod in pods} == {"batch"}
            assert all(pod["spec"]["nodeName"] == "n1" for pod in pods)
            api.put("nodes", "n2", status=offered("4"))
            wait_until(lambda: len(http.get("/api/v1/snapshot").json()["nodes"]) == 2)
            metrics = http.get("/metrics").text
            assert "cerebrum_kubernetes_stale_seconds" in metrics
            assert "cerebrum_agent_nodes 2.0" in metrics
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()


async def made(settings: LcaSettings) -> KubernetesCluster:
    return KubernetesCluster(settings)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"nodes": ["1x1000m"]}, "nodes"),
        ({"forecaster": "ewma"}, "forecaster"),
        ({"pod_template": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"kube_context": "fkae"}, "fake"),
    ],
)
def test_what_contradicts_a_cluster_is_refused_before_anything_runs(
    kubeconfig: Path, given: dict[str, Any], field: str
) -> None:
    settings = load(
        LcaSettings, cluster_id="k", executor="kubernetes", kubeconfig=kubeconfig, **given
    )
    with pytest.raises(InputError, match=field):
        asyncio.run(made(settings))


@pytest.mark.parametrize(
    ("given", "placement", "scheduler"),
    [
        ({}, "affinity", "cerebrum"),
        ({"mode": "off"}, "direct", "default-scheduler"),
        ({"mode": "shadow", "placement": "affinity"}, "affinity", "default-scheduler"),
        ({"scheduler_name": "mine"}, "affinity", "mine"),
    ],
)
def test_who_has_the_last_word_about_a_run(
    kubeconfig: Path, given: dict[str, Any], placement: str, scheduler: str
) -> None:
    settings = load(
        LcaSettings, cluster_id="k", executor="kubernetes", kubeconfig=kubeconfig, **given
    )
    pods = asyncio.run(made(settings)).executor.settings
    assert (pods.placement, pods.scheduler_name) == (placement, scheduler)
    assert pods.namespace == "batch"
