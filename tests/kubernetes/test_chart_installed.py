"""The chart on a real API server: every field is known, every pod keeps to Pod Security
`restricted`, and Helm installs, changes, takes back and removes it.

Nothing runs in the pods here, since that needs a container engine: `test_chart_rights.py` runs the
agent as its service account, and `deploy/check-image.sh` what is in the image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.chart import CHART, helm, render, values, values_file
from tests.kubernetes.objects import namespace
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.test_chart import WAYS
from tests.waiting import wait_until

LEVELS = ("enforce", "audit", "warn")
RESTRICTED = {f"pod-security.kubernetes.io/{level}": "restricted" for level in LEVELS}


@pytest.fixture
def cluster(control_plane: Callable[..., ControlPlane], built: Callable[..., None]) -> ControlPlane:
    """With the controllers, and with the admission plug-ins that clusters have."""
    built("helm")
    plane = control_plane(
        controller_manager=True, kwok=True, disable_admission=["StorageObjectInUseProtection"]
    )
    plane.api.create(namespace("cerebrum", RESTRICTED))
    plane.api.create(namespace("batch"))
    return plane


def apply(api: Api, body: dict[str, Any]) -> None:
    """As `helm install` does it: on the server's side, with nothing unknown let through."""
    meta = body["metadata"]
    api.patch(
        body["kind"], meta["name"], body, namespace=meta.get("namespace"), how="apply",
        fieldManager="helm", fieldValidation="Strict",
    )  # fmt: skip


def pods(api: Api) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in api.list("Pod", "cerebrum"))


def complaints(api: Api) -> list[str]:
    return [e["message"] for e in api.list("Event", "cerebrum") if e["reason"] == "FailedCreate"]


def test_every_way_of_installing_is_taken_without_a_warning(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    api = cluster.as_administrator("cerebrum")
    for way, given in WAYS.items():
        for body in render(tmp_path, given):
            apply(api, body)
        assert not api.warnings, (way, api.warnings)
        for kind in ("StatefulSet", "Service", "NetworkPolicy", "ConfigMap", "PodDisruptionBudget"):
            if kind != "ConfigMap":
                api.delete_all(kind, "cerebrum", labelSelector="app.kubernetes.io/name=cerebrum")


def test_a_field_that_does_not_exist_would_have_been_noticed(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    body = next(b for b in render(tmp_path, values()) if b["kind"] == "StatefulSet")
    body["spec"]["template"]["spec"]["readOnlyRoot"] = True
    with pytest.raises(ApiError, match="readOnlyRoot"):
        apply(cluster.api, body)


def test_helm_installs_changes_takes_back_and_removes_it(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    api = cluster.as_administrator("cerebrum")

    def run(*arguments: str | Path) -> str:
        common = ("--namespace", "cerebrum", "--kubeconfig", cluster.kubeconfig)
        done = helm(tmp_path, *arguments, *common)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr.lower(), done.stderr
        return done.stdout

    def installed(given: dict[str, Any], command: str) -> str:
        return run(command, "cerebrum", CHART, "-f", values_file(tmp_path, given))

    said = installed(values(controller={"database": {"existingSecret": "database"}}), "install")
    assert "Agent of cluster berlin, mode bind" in said
    # The controllers make pods of the sets: admission has let them through as they are.
    names = ["cerebrum-agent-0", "cerebrum-controller-0", "cerebrum-controller-1"]
    wait_until(lambda: pods(api) == names or complaints(api), "the sets have their pods")
    assert not complaints(api)
    assert [c["metadata"]["name"] for c in api.list("PersistentVolumeClaim")] == [
        "data-cerebrum-agent-0"
    ]
    role = "cerebrum-cerebrum-agent"
    before = api.get("ClusterRole", role)["rules"]
    installed(
        values(
            controller={"database": {"existingSecret": "database"}, "replicas": 3},
            agent={"mode": "shadow"},
        ),
        "upgrade",
    )
    assert len(api.get("ClusterRole", role)["rules"]) < len(before)
    wait_until(lambda: len(pods(api)) == 4, "a third replica")
    run("rollback", "cerebrum", "1")
    assert api.get("ClusterRole", role)["rules"] == before
    wait_until(lambda: pods(api) == names, "two replicas again")
    run("uninstall", "cerebrum")
    with pytest.raises(ApiError, match="404"):
        api.get("ClusterRole", role)
    # The state stays until somebody deletes it.
    assert len(api.list("PersistentVolumeClaim")) == 1
