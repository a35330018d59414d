"""Kubernetes objects for tests, as plain dicts; what is not given is left to the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

RUN = "cerebrum.test/run"
"""Annotation of a pod: how long it runs, as Go writes durations (`1.5s`); none: not at all."""
EXIT_CODE = "cerebrum.test/exit-code"
"""Annotation of a pod: how its containers end; anything but `0` fails the pod."""


def node(
    name: str,
    cpu: str = "8",
    memory: str = "32Gi",
    pods: int = 110,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    extended: Mapping[str, str | int] | None = None,
    unschedulable: bool = False,
) -> Json:
    """A ready node; `extended` are further resources, such as `{"nvidia.com/gpu": 4}`."""
    extra = {key: str(amount) for key, amount in (extended or {}).items()}
    room = {"cpu": cpu, "memory": memory, "pods": str(pods), **extra}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": [dict(taint) for taint in taints], "unschedulable": unschedulable},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }


def pod(
    name: str,
    cpu: str | None = "100m",
    memory: str | None = "128Mi",
    *,
    namespace: str | None = None,
    scheduler_name: str = "default-scheduler",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    run: str = "",
    exit_code: int = 0,
    extended: Mapping[str, str | int] | None = None,
    node_name: str = "",
    **spec: Any,
) -> Json:
    """A pod of one container that asks for `cpu` and `memory` (None: for nothing of it).

    `run` and `exit_code` are what kwok or `kubelet.Kubelet` make of it once it is bound. `spec`
    holds further fields of the pod's `spec` under their own names: `nodeSelector={...}`.
    """
    asked = {"cpu": cpu, "memory": memory, **(extended or {})}
    requests = {key: str(amount) for key, amount in asked.items() if amount is not None}
    limits = {key: str(amount) for key, amount in (extended or {}).items()}
    container = {
        "name": "main",
        "image": "none",
        "resources": {"requests": requests, "limits": limits},
    }
    metadata: Json = {
        "name": name,
        "labels": dict(labels or {}),
        "annotations": {
            **({RUN: run} if run else {}),
            **({EXIT_CODE: str(exit_code)} if exit_code else {}),
            **(annotations or {}),
        },
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    base: Json = {
        "schedulerName": scheduler_name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    if node_name:
        base["nodeName"] = node_name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**base, **spec}}


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Json:
    """A namespace."""
    metadata = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def priority_class(name: str, value: int, preemption: str = "PreemptLowerPriority") -> Json:
    """A priority class; `preemption='Never'` for one that does not preempt."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "preemptionPolicy": preemption,
    }


def condition(body: Mapping[str, Any], kind: str) -> Json:
    """The condition of this type in an object's status; empty when there is none."""
    found = [c for c in body.get("status", {}).get("conditions") or [] if c["type"] == kind]
    return found[0] if found else {}
