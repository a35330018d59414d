"""Two real Kubernetes clusters under one controller: cut off, killed, and nothing runs twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cerebrum.services.wire import TERMINAL
from tests.kubernetes.conftest import OWN_CLUSTER, programs_for
from tests.kubernetes.federation import Federation, KubernetesCluster
from tests.kubernetes.objects import pod
from tests.waiting import wait_until

SIZES = {"east": ("2x4000m,8Gi",), "west": ("3x2000m,4Gi",)}
TASKS = 20


@pytest.fixture
def federation(built: Callable[..., None], tmp_path: Path) -> Iterator[Federation]:
    if os.environ.get(OWN_CLUSTER):
        pytest.skip(f"it needs clusters of its own, and {OWN_CLUSTER} names yours")
    built(*programs_for())
    with Federation(tmp_path, SIZES) as running:
        yield running


def fans(seconds: float) -> dict[str, Any]:
    """Two fans of tasks, each behind a head, and one task behind all of them."""
    heads = [{"name": f"head-{i}", "cpu_milli": 500, "duration_s": 1.0} for i in range(2)]
    middle = [
        {"name": f"t{i:02d}", "cpu_milli": 1000, "memory_mib": 256, "duration_s": seconds}
        for i in range(TASKS)
    ]
    last = {"name": "last", "cpu_milli": 500, "duration_s": 0.5}
    edges = [{"before": f"head-{i % 2}", "after": f"t{i:02d}"} for i in range(TASKS)]
    edges += [{"before": f"t{i:02d}", "after": "last"} for i in range(TASKS)]
    tasks = [*heads, *middle, last]
    return {"name": "fans", "tasks": tasks, "dependencies": edges, "assignment": "spread"}


def running(cluster: KubernetesCluster) -> int:
    return sum(found["status"].get("phase") == "Running" for found in cluster.runs())


def state(federation: Federation, cluster: str) -> str:
    return {row["id"]: row["state"] for row in federation.client.clusters()}[cluster]


def heard(federation: Federation, workflow: str, cluster: str) -> int:
    """How many tasks of a cluster have succeeded as far as the controller knows."""
    found = federation.client.tasks(workflow, cluster=cluster, state="succeeded")
    return sum(1 for _ in found)


def test_a_cluster_is_cut_off_an_agent_is_killed_and_every_task_runs_once(
    federation: Federation,
) -> None:
    east, west = federation.clusters["east"], federation.clusters["west"]
    for cluster in (east, west):
        cluster.plane.api.create_all(
            pod(f"plain-{i}", "250m", "64Mi", scheduler_name="cerebrum", run="1s") for i in range(8)
        )
    id = federation.client.submit(fans(6.0))["id"]
    wait_until(lambda: running(west) >= 3 and running(east) >= 3, "runs are pods in both")

    west.link.cut()
    known, ended = heard(federation, id, "west"), sum(west.succeeded().values())
    federation.kill_agent("east")
    federation.start_agent("east")
    wait_until(lambda: state(federation, "west") == "lost", "the controller misses west")
    wait_until(lambda: sum(west.succeeded().values()) >= ended + 3, "west goes on by itself")
    time.sleep(1)  # reports would have come by now
    assert heard(federation, id, "west") == known, "something came through the cut"
    assert federation.client.workflow(id)["state"] not in TERMINAL
    assert not [*west.overcommitted(), *east.overcommitted()]

    west.link.mend()
    wait_until(lambda: state(federation, "west") == "live", "west is back")
    wait_until(lambda: federation.client.workflow(id)["state"] in TERMINAL, "the workflow ends")
    tasks = list(federation.client.tasks(id))
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert {task["cluster"] for task in tasks} == {"east", "west"}
    assert east.succeeded() + west.succeeded() == {task["uid"]: 1 for task in tasks}
    assert len(east.runs()) + len(west.runs()) == len(tasks), "a task was started twice"
    for cluster in (east, west):
        plain = [p for p in cluster.plane.api.list("Pod") if p["metadata"]["name"][:5] == "plain"]
        wait_until(lambda found=plain: len(found) == 8, "plain pods are there")
        assert {p["status"]["phase"] for p in plain} == {"Succeeded"}
