"""Kubernetes objects as the API server would send them."""

from __future__ import annotations

from typing import Any

from cerebrum.kube.objects import Pod, convert


def pod_data(name: str = "p", **spec: Any) -> dict[str, Any]:
    """A pod as plain data; `metadata` and `status` apart, everything else is its spec."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    metadata |= spec.pop("metadata", {})
    status = spec.pop("status", {"phase": "Pending"})
    spec.setdefault("containers", [container()])
    return {"metadata": metadata, "spec": spec, "status": status}


def pod(name: str = "p", **spec: Any) -> Pod:
    """A pod as decoded from the API's JSON."""
    return convert(pod_data(name, **spec), Pod)


def container(name: str = "main", ports: Any = None, **requests: Any) -> dict[str, Any]:
    """A container that asks for these resources."""
    found: dict[str, Any] = {"name": name, "image": "x", "resources": {"requests": requests}}
    if ports is not None:
        found["ports"] = ports
    return found
