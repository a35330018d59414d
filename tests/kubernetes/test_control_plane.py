"""The control plane that other tests rely on is a real one, and suffers what they do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.kubernetes import build
from tests.kubernetes.api import Api, ApiError, Json
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.objects import condition, node, pod
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.shared import Tenant
from tests.waiting import wait_until

Factory = Callable[..., ControlPlane]


def phase(plane: ControlPlane | Tenant, name: str) -> str:
    return plane.api.get("Pod", name)["status"]["phase"]


def names(plane: ControlPlane) -> set[str]:
    return {found["metadata"]["name"] for found in plane.api.list("Pod")}


def test_the_stock_scheduler_binds_a_pod_and_its_kubelet_ends_it(control_plane: Factory) -> None:
    plane = control_plane(scheduler=True)
    with Kubelet(plane.as_administrator()):
        plane.api.create(node("small", cpu="1"))
        plane.api.create(node("large", cpu="16", extended={"nvidia.com/gpu": 2}))
        plane.api.create(pod("works", cpu="4", extended={"nvidia.com/gpu": 1}))
        plane.api.create(pod("breaks", exit_code=3))
        plane.api.create(pod("waits", cpu="64"))

        wait_until(lambda: phase(plane, "works") == "Succeeded", "the pod that fits has ended")
        wait_until(lambda: phase(plane, "breaks") == "Failed", "the other one has failed")
        refused = wait_until(
            lambda: condition(plane.api.get("Pod", "waits"), "PodScheduled"), "a verdict"
        )

        assert plane.api.get("Pod", "works")["spec"]["nodeName"] == "large"
        ended = plane.api.get("Pod", "breaks")["status"]["containerStatuses"][0]["state"]
        assert ended["terminated"]["exitCode"] == 3
        assert refused["reason"] == "Unschedulable"
        assert "2 Insufficient cpu" in refused["message"]


def test_kwok_and_the_controllers_run_a_job(control_plane: Factory) -> None:
    plane = control_plane(scheduler=True, controller_manager=True, kwok=True)
    plane.api.create(node("n1"))
    template = pod("", run="200ms")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "three"},
        "spec": {
            "completions": 3,
            "parallelism": 3,
            "template": {
                "metadata": {"annotations": template["metadata"]["annotations"]},
                "spec": template["spec"],
            },
        },
    }
    plane.api.create(job)
    plane.api.create(pod("breaks", exit_code=3))
    plane.api.create(pod("stays", restartPolicy="Always"))

    wait_until(lambda: condition(plane.api.get("Job", "three"), "Complete"), "the job has ended")
    wait_until(lambda: phase(plane, "breaks") == "Failed", "a pod fails by its exit code")
    wait_until(lambda: phase(plane, "stays") == "Running", "one that is restarted runs")
    plane.api.delete("Pod", "stays")
    wait_until(lambda: "stays" not in names(plane), "kwok lets a deleted pod go")


def test_two_clusters_know_nothing_of_each_other(control_plane: Factory) -> None:
    one, other = control_plane(), control_plane()
    one.api.create(node("n1"))
    assert other.api.list("Node") == []
    with (
        Api(other.url, token=one.token, authority=other.authority) as stranger,
        pytest.raises(ApiError) as refused,
    ):
        stranger.list("Node")
    assert refused.value.status == 401
    with (
        Api(other.url, token=other.token, authority=one.authority) as deceived,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        deceived.list("Node")


def test_a_killed_api_server_comes_back_with_its_objects(control_plane: Factory) -> None:
    plane = control_plane()
    plane.api.create_all(node(f"n{i}") for i in range(20))
    uid = plane.api.get("Node", "n7")["metadata"]["uid"]
    plane.kill_api()
    with pytest.raises(httpx.TransportError, match=r"refused|disconnected|closed|reset|EOF"):
        plane.api.list("Node")
    plane.start_api()
    assert len(plane.api.list("Node")) == 20
    assert plane.api.get("Node", "n7")["metadata"]["uid"] == uid
    plane.kill_etcd()
    plane.start_etcd()
    assert len(plane.api.list("Node")) == 20


def test_once_history_is_forgotten_old_watches_and_lists_are_told_so(
    control_plane: Factory,
) -> None:
    plane = control_plane()
    old = plane.api.revision()
    plane.api.create_all(node(f"n{i}") for i in range(3))
    recent = plane.api.watch("Node", resourceVersion=old)
    assert next(recent)["type"] == "ADDED"
    recent.close()
    plane.forget_history()
    told = next(plane.api.watch("Node", resourceVersion=old))
    assert told["type"] == "ERROR"
    assert told["object"]["code"] == 410
    with pytest.raises(ApiError) as expired:  # etcd itself no longer knows
        plane.api.list("Node", resourceVersion=old, resourceVersionMatch="Exact")
    assert expired.value.status == 410


def test_a_paused_api_server_is_silent_and_then_goes_on(control_plane: Factory) -> None:
    plane = control_plane()
    plane.pause()
    try:
        with pytest.raises(httpx.TransportError, match="timed out"):
            next(plane.api.watch("Node", quiet_s=0.5))
    finally:
        plane.resume()
    assert plane.api.list("Node") == []


def test_a_service_account_may_do_what_its_role_says_and_no_more(control_plane: Factory) -> None:
    plane = control_plane(audit=True)
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    role = {"kind": "Role", "metadata": {"name": "reader"}, "rules": rules}
    plane.api.create(role | {"apiVersion": "rbac.authorization.k8s.io/v1"})
    subject = {"kind": "ServiceAccount", "name": "agent", "namespace": "default"}
    binding: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [subject],
    }
    plane.api.create(binding)
    agent = plane.scoped_api("agent")
    assert agent.list("Pod") == []
    with pytest.raises(ApiError) as refused:
        agent.list("Node")
    assert refused.value.status == 403

    who = "system:serviceaccount:default:agent"
    asked = [
        (request["verb"], request["objectRef"]["resource"], request["responseStatus"]["code"])
        for request in plane.requests()
        if request["user"]["username"] == who
    ]
    assert ("list", "pods", 200) in asked
    assert ("list", "nodes", 403) in asked


def test_kubectl_reads_the_kubeconfig(control_plane: Factory, built: Callable[..., None]) -> None:
    built("kubectl")
    plane = control_plane()
    plane.api.create(node("n1"))
    said = subprocess.run(
        [build.program("kubectl"), "--kubeconfig", plane.kubeconfig, "get", "nodes", "-oname"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.split() == ["node/n1"]
    assert plane.kubeconfig.stat().st_mode & 0o077 == 0


_FOREVER = """
import json, sys, time
from pathlib import Path
from tests.kubernetes.plane import ControlPlane

with ControlPlane(Path(sys.argv[1])) as plane:
    pids = [server.pid for server in plane.servers.values()]
    print(json.dumps({"pids": pids, "data": str(plane._data)}), flush=True)
    time.sleep(3600)
"""


def runs(pid: int) -> bool:
    """Dead ones that nobody has waited for yet do not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nothing_survives_a_test_process_that_is_killed(
    tmp_path: Path, built: Callable[..., None]
) -> None:
    built("etcd", "kube-apiserver")
    command = [sys.executable, "-c", _FOREVER, str(tmp_path / "cluster")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout is not None
        made = json.loads(doomed.stdout.readline())
        assert len(made["pids"]) == 2
        assert all(map(runs, made["pids"]))
        os.kill(doomed.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(runs, made["pids"])), "all servers are gone")
    wait_until(lambda: not Path(made["data"]).exists(), "and so is what etcd had stored")


@pytest.mark.parametrize("_time", ["first", "second"])
def test_the_shared_cluster_is_found_empty(plane: Tenant, _time: str) -> None:
    if not plane.ours:
        pytest.skip("it makes nodes, and this is the cluster of CEREBRUM_TEST_KUBECONFIG")
    assert plane.api.list("Node") == []
    plane.api.create(node("n1"))
    plane.api.create(pod("p1", node_name="n1"))


def test_the_shared_cluster_has_a_scheduler_for_who_asks(plane_with_scheduler: Tenant) -> None:
    plane = plane_with_scheduler
    if plane.ours:
        plane.api.create(node("n1"))
    plane.api.create(pod("p1", cpu="1m", memory="1Mi"))
    wait_until(lambda: plane.api.get("Pod", "p1")["spec"].get("nodeName"), "the pod is bound")
