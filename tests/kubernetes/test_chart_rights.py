"""The chart's rights are enough and not one too many.

The agent runs as the chart's service account through a story that needs each right once; then the
API server's audit log is held against the roles: nothing was refused, and nothing is unused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kubernetes.api import Api, ApiError, Json
from tests.kubernetes.chart import of, values
from tests.kubernetes.charted_agent import (
    ACCOUNT,
    RELEASE_NAMESPACE,
    TASK_NAMESPACE,
    asked,
    give_rights,
    rights,
    running,
)
from tests.kubernetes.objects import condition, namespace, node, pod, priority_class
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.test_runs import Kubelets
from tests.waiting import wait_until

APPS = "apps"
GIVEN = values(controller={"enabled": False}, agent={"taskNamespace": TASK_NAMESPACE})
CHAIN = {
    "name": "chain",
    "tasks": [{"name": n, "cpu_milli": 100, "duration_s": 0.5} for n in ("a", "b")],
    "dependencies": [{"before": "a", "after": "b"}],
}
LONG = {"name": "long", "tasks": [{"name": "a", "cpu_milli": 100, "duration_s": 600.0}]}
POD_GROUPS: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "podgroups.scheduling.x-k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
    },
    "spec": {
        "group": "scheduling.x-k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "PodGroup", "plural": "podgroups", "listKind": "PodGroupList"},
        "versions": [{
            "name": "v1alpha1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": True,
            }},
        }],
    },
}  # fmt: skip
NO_BINDING: Json = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "no-binding"},
    "webhooks": [{
        "name": "nobody.example.org", "clientConfig": {"url": "https://127.0.0.1:9/"},
        "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": APPS}},
        "rules": [{
            "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["pods/binding"],
        }],
    }],
}  # fmt: skip


@pytest.fixture
def plane(control_plane: Callable[..., ControlPlane], built: Callable[..., None]) -> ControlPlane:
    built("helm")
    plane = control_plane(audit=True)
    plane.api.create(POD_GROUPS)
    plane.api.create(namespace(APPS))
    plane.api.create(node("n1", "4"))
    wait_until(lambda: _listed(plane.api, "scheduling.x-k8s.io/v1alpha1/podgroups"), "PodGroups")
    return plane


def _listed(api: Api, path: str) -> bool:
    with suppress(ApiError):
        return bool(api.call("GET", f"/apis/{path}"))
    return False


def bound(api: Api, name: str) -> str:
    return api.get("Pod", name)["spec"].get("nodeName", "")


def ours(name: str, cpu: str, **spec: Any) -> Json:
    return pod(name, cpu, scheduler_name="cerebrum", **spec)


# --- what needs each right --------------------------------------------------------------------


def pods_are_bound_refused_and_preempted(api: Api) -> None:
    api.create(priority_class("high", 1000))
    api.create(ours("low", "3"))
    wait_until(lambda: bound(api, "low") == "n1", "a pod is bound")
    api.create(ours("huge", "100"))
    wait_until(lambda: _said(api, "huge", "0/1 nodes"), "why it is not")
    api.create(node("n2", "50m"))
    wait_until(lambda: _said(api, "huge", "0/2 nodes"), "why it is not now")
    wait_until(lambda: _series(api, "huge"), "the event goes on")
    api.create(ours("urgent", "3", priorityClassName="high"))
    wait_until(lambda: bound(api, "urgent") == "n1", "a pod that others make room for")
    assert [p["metadata"]["name"] for p in api.list("Pod")] == ["huge", "urgent"]


def _said(api: Api, name: str, text: str) -> bool:
    return text in condition(api.get("Pod", name), "PodScheduled").get("message", "")


def _series(api: Api, name: str) -> bool:
    events = api.call("GET", f"/apis/events.k8s.io/v1/namespaces/{APPS}/events")["items"]
    about = [e for e in events if e["regarding"]["name"] == name]
    return any(e.get("series") for e in about)


def volumes_are_chosen_with_the_node(api: Api) -> None:
    for name, provisioner in (("late", "kubernetes.io/no-provisioner"), ("made", "example.org/x")):
        api.create({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
        })  # fmt: skip
        api.create({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "storageClassName": name, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        })  # fmt: skip
    terms = [{"matchFields": [], "matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]},
    ]}]  # fmt: skip
    api.create({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
        "spec": {
            "storageClassName": "late", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "local": {"path": "/disk"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    })  # fmt: skip
    free = {"status": {"phase": "Available"}}  # as the volume controller would say
    api.patch("PersistentVolume", "disk", free, subresource="status")
    for name in ("late", "made"):
        claim = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
        api.create(ours(f"with-{name}", "100m", volumes=[claim]))
    wait_until(lambda: api.get("PersistentVolume", "disk")["spec"].get("claimRef"), "a volume")
    wait_until(
        lambda: (
            api.get("PersistentVolumeClaim", "made")["metadata"]
            .get("annotations", {})
            .get("volume.kubernetes.io/selected-node")
            == "n1"
        ),
        "a node for a volume that is to be made",
    )


def a_bind_whose_answer_says_nothing_is_looked_after(plane: ControlPlane, api: Api) -> None:
    api.create(pod("probe", scheduler_name="nobody"))
    api.create(NO_BINDING)
    probe = api.get("Pod", "probe")

    def held_back() -> bool:
        try:
            api.bind({"metadata": {**probe["metadata"], "uid": "of-no-pod"}}, "n1")
        except ApiError as problem:
            return problem.status == 500
        return False

    wait_until(held_back, "nothing can be bound")
    api.create(ours("patient", "100m"))
    looked = ("", "pods", "get")
    wait_until(
        lambda: any((a.right, a.namespace) == (looked, APPS) for a in asked(plane)), "it looks"
    )
    api.delete("ValidatingWebhookConfiguration", "no-binding")
    wait_until(lambda: bound(api, "patient") == "n1", "the pod is bound after all")


def tasks_of_the_federation_run(plane: ControlPlane, http: httpx.Client) -> None:
    api = plane.as_administrator(TASK_NAMESPACE)
    with Kubelets(api):
        http.post("/schedule_subgraph", json=CHAIN).raise_for_status()
        counts = lambda: http.get("/api/v1/snapshot").json()["counts"]  # noqa: E731
        wait_until(lambda: counts().get("succeeded") == 2, "two runs")
        runs = api.list("Pod")
        assert {run["spec"]["nodeName"] for run in runs} == {"n1"}
        http.get(f"/api/v1/runs/{runs[0]['metadata']['name']}/logs")  # there is no kubelet to ask
        http.post("/schedule_subgraph", json=LONG).raise_for_status()
        wait_until(lambda: counts().get("running") == 1, "a long run")
        (task,) = {run["metadata"]["annotations"]["cerebrum.dev/task"] for run in api.list("Pod")
                   if run["status"]["phase"] == "Running"}  # fmt: skip
        http.post(f"/api/v1/cancel/{task}").raise_for_status()
        wait_until(lambda: not counts().get("running"), "it is cancelled")


# --- the rights -------------------------------------------------------------------------------


def test_the_agent_needs_every_right_and_no_other(plane: ControlPlane, tmp_path: Path) -> None:
    objects = give_rights(plane, tmp_path, GIVEN)
    apps = plane.as_administrator(APPS)
    with running(plane, objects, tmp_path) as http:
        pods_are_bound_refused_and_preempted(apps)
        apps.delete("Pod", "urgent")
        tasks_of_the_federation_run(plane, http)
        volumes_are_chosen_with_the_node(apps)
        a_bind_whose_answer_says_nothing_is_looked_after(plane, apps)
        time.sleep(3)  # the lease is renewed every two seconds
    all_asked = asked(plane)
    assert {a.right for a in all_asked if a.status in (401, 403)} == set()
    there = {a.right for a in all_asked if a.namespace in (TASK_NAMESPACE, "")}
    elsewhere = {a.right for a in all_asked if a.namespace != TASK_NAMESPACE}
    assert rights(of(objects, "Role")) - there == set(), "the role allows more than is needed"
    assert rights(of(objects, "ClusterRole")) - elsewhere == set(), "the cluster role does"


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_an_agent_that_binds_nothing_has_enough_with_less(
    mode: str, plane: ControlPlane, tmp_path: Path
) -> None:
    given = values(
        controller={"enabled": False}, agent={"taskNamespace": TASK_NAMESPACE, "mode": mode}
    )
    objects = give_rights(plane, tmp_path, given)
    apps = plane.as_administrator(APPS)
    with running(plane, objects, tmp_path) as http:
        apps.create(pod("theirs", "500m"))
        tasks_of_the_federation_run(plane, http)
        assert bound(apps, "theirs") == ""
    all_asked = asked(plane)
    assert {a.right for a in all_asked if a.status in (401, 403)} == set()
    elsewhere = {a.right for a in all_asked if a.namespace != TASK_NAMESPACE}
    assert rights(of(objects, "ClusterRole")) == elsewhere


def _binding(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": "n1"}}  # fmt: skip


def test_everything_else_is_forbidden(plane: ControlPlane, tmp_path: Path) -> None:
    give_rights(plane, tmp_path, GIVEN)
    agent = plane.scoped_api(ACCOUNT, RELEASE_NAMESPACE)
    assert [found["metadata"]["name"] for found in agent.list("Node")] == ["n1"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "more"}, "rules": []}  # fmt: skip
    everywhere = ("*", RELEASE_NAMESPACE, TASK_NAMESPACE, "kube-system")
    forbidden: list[Callable[[], Any]] = [
        *(lambda n=n: agent.list("Secret", n) for n in everywhere),
        *(lambda n=n: agent.list("ConfigMap", n) for n in everywhere),
        *(lambda n=n: agent.create(pod("p", namespace=n)) for n in (RELEASE_NAMESPACE, APPS)),
        *(lambda n=n: agent.call("GET", f"/api/v1/namespaces/{n}/pods/p/log") for n in (APPS,)),
        lambda: agent.create(secret),
        lambda: agent.create(role),
        lambda: agent.delete("Node", "n1"),
        lambda: agent.patch("Node", "n1", {"spec": {"unschedulable": True}}),
        lambda: agent.delete("Namespace", APPS),
        lambda: agent.delete("PersistentVolumeClaim", "c", APPS),
        lambda: agent.patch("Pod", "p", {"metadata": {"labels": {"a": "b"}}}, namespace=APPS),
        lambda: agent.create(pod("p", namespace=APPS, node_name="n1")),
        lambda: agent.call("POST", f"/api/v1/namespaces/{TASK_NAMESPACE}/pods/p/exec?command=sh"),
        lambda: agent.get("Lease", "somebody-elses", TASK_NAMESPACE),
        lambda: agent.list("Lease", TASK_NAMESPACE),
    ]
    for attempt in forbidden:
        with pytest.raises(ApiError, match="forbidden") as refusal:
            attempt()
        assert refusal.value.status == 403
    # What is allowed there is not forbidden: the same account, the same kinds.
    agent.create(pod("p", namespace=TASK_NAMESPACE))
    with pytest.raises(ApiError, match="404"):
        agent.call("POST", f"/api/v1/namespaces/{APPS}/pods/p/binding", _binding("p"))
