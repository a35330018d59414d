"""A small, synchronous client of the Kubernetes API, for tests only: plain dicts in and out.

It shares nothing with the client that it helps to test. `kind` is always a Kubernetes kind, such
as `Pod`; errors are `ApiError` with the server's own words.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.waiting import PATIENCE_S, wait_until

Json = dict[str, Any]

GROUPS = {
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "CSIDriver": "storage.k8s.io/v1",
    "CSINode": "storage.k8s.io/v1",
    "CSIStorageCapacity": "storage.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "Lease": "coordination.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "ReplicaSet": "apps/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "StatefulSet": "apps/v1",
    "StorageClass": "storage.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "VolumeAttachment": "storage.k8s.io/v1",
}
"""The group and version of each kind that is not in `v1`; an object's own `apiVersion` wins."""

CLUSTER_WIDE = frozenset(
    {
        "APIService", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode",
        "CustomResourceDefinition", "Namespace", "Node", "PersistentVolume", "PriorityClass",
        "RuntimeClass", "StorageClass", "ValidatingWebhookConfiguration", "VolumeAttachment",
    }
)  # fmt: skip
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """An answer other than 2xx: `status`, and `reason` and `message` as the server gave them."""

    def __init__(self, status: int, body: bytes) -> None:
        try:
            said = json.loads(body)
        except ValueError:
            said = {}
        said = said if isinstance(said, dict) else {}
        self.status, self.reason = status, str(said.get("reason", ""))
        self.message = str(said.get("message", body[:500].decode(errors="replace")))
        super().__init__(f"{status} {self.reason}: {self.message}")


class Api:
    """One server, one identity. Used by many threads at once; closed by whoever made it.

    `namespace` is the one meant where a namespaced object or call names none. `warnings` are all
    that the server added to its answers.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        authority: Path | None = None,
        socket: Path | None = None,
        namespace: str = "default",
    ) -> None:
        self.url, self.namespace = url, namespace
        self.warnings: list[str] = []
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        verify = ssl.create_default_context(cafile=str(authority)) if authority else False
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            transport=httpx.HTTPTransport(
                verify=verify, limits=limits, uds=str(socket) if socket else None
            ),
            timeout=httpx.Timeout(PATIENCE_S, connect=10),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "", **query: Any
    ) -> Json:
        """One request; the answer as JSON (empty for an empty one)."""
        answer = self._client.request(
            method, path, params=query,
            content=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type or "application/json"},
        )  # fmt: skip
        self.warnings += answer.headers.get_list("warning")
        if not answer.is_success:
            raise ApiError(answer.status_code, answer.content)
        return answer.json() if answer.content else {}

    def text(self, path: str) -> str:
        """A plain text answer, such as `/metrics` or `/readyz`."""
        answer = self._client.get(path)
        if not answer.is_success:
            raise ApiError(answer.status_code, answer.content)
        return answer.text

    def path(
        self,
        kind: str,
        name: str = "",
        *,
        namespace: str | None = None,
        version: str = "",
        subresource: str = "",
    ) -> str:
        """The path of an object or (no `name`) a collection; `namespace='*'` means all of them."""
        version = version or GROUPS.get(kind, "v1")
        parts = ["/apis" if "/" in version else "/api", version]
        namespace = self.namespace if namespace is None else namespace
        if kind not in CLUSTER_WIDE and namespace != "*":
            parts += ["namespaces", namespace]
        return "/".join([*parts, plural(kind), *filter(None, (name, subresource))])

    def create(self, body: Mapping[str, Any], **query: Any) -> Json:
        """Create an object in the namespace that it names, else in ours."""
        namespace = body["metadata"].get("namespace")
        path = self.path(body["kind"], namespace=namespace, version=body.get("apiVersion", ""))
        return self.call("POST", path, body, **query)

    def create_all(self, bodies: Iterable[Mapping[str, Any]], at_once: int = 8) -> list[Json]:
        """Create many over a few connections; in order, and the first error is raised."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(self.create, bodies))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json:
        """One object; `ApiError` 404 when there is none."""
        return self.call("GET", self.path(kind, name, namespace=namespace))

    def list(self, kind: str, namespace: str | None = None, **query: Any) -> list[Json]:
        """All objects of a kind in a namespace; `labelSelector=`, `fieldSelector=` choose."""
        path, items, query = self.path(kind, namespace=namespace), [], {"limit": 1000, **query}
        while True:
            page = self.call("GET", path, **query)
            items += page["items"] or []
            more = page["metadata"].get("continue")
            if not more:
                return items
            query["continue"] = more

    def patch(
        self,
        kind: str,
        name: str,
        body: Any,
        *,
        namespace: str | None = None,
        subresource: str = "",
        how: str = "merge",
        **query: Any,
    ) -> Json:
        """Patch an object or its `subresource`; `how`: merge, strategic, json or apply."""
        path = self.path(kind, name, namespace=namespace, subresource=subresource)
        return self.call("PATCH", path, body, content_type=_PATCH_TYPES[how], **query)

    def bind(self, pod: Mapping[str, Any], node: str) -> Json:
        """Bind a pod, as a scheduler would, with its uid as the precondition."""
        metadata = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        path = self.path(
            "Pod",
            metadata["name"],
            namespace=pod["metadata"]["namespace"],
            subresource="binding",
        )
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        return self.call("POST", path, binding)

    def delete(
        self, kind: str, name: str, namespace: str | None = None, grace_s: int | None = None
    ) -> None:
        """Delete an object; one that is gone already is no error."""
        query = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            self.call("DELETE", self.path(kind, name, namespace=namespace), **query)
        except ApiError as problem:
            if problem.status != 404:
                raise

    def delete_all(
        self, kind: str, namespace: str | None = None, patience_s: float = 600, **query: Any
    ) -> None:
        """Delete a collection at once and without grace, and see it empty.

        Above some 5,000 pods the server answers 504 and goes on: then it is asked again.
        """
        path = self.path(kind, namespace=namespace)
        query = {"gracePeriodSeconds": 0, "propagationPolicy": "Background", **query}
        selectors = {key: value for key, value in query.items() if key.endswith("Selector")}

        def gone() -> bool:
            try:
                self.call("DELETE", path, **query)
            except ApiError as problem:
                if problem.status not in (429, 500, 504):
                    raise
            return not self.call("GET", path, limit=1, **selectors)["items"]

        wait_until(gone, f"{kind} objects are deleted", patience_s)

    def watch(
        self, kind: str, namespace: str | None = None, *, quiet_s: float = PATIENCE_S, **query: Any
    ) -> Iterator[Json]:
        """Events of a watch as they come, until the server ends it or is silent for `quiet_s`."""
        path = self.path(kind, namespace=namespace)
        timeout = httpx.Timeout(10, read=quiet_s)
        with self._client.stream(
            "GET", path, params={"watch": 1, **query}, timeout=timeout
        ) as answer:
            if not answer.is_success:
                raise ApiError(answer.status_code, answer.read())
            for line in answer.iter_lines():
                yield json.loads(line)

    def revision(self, kind: str = "Namespace") -> str:
        """The resourceVersion of now, where a watch may start."""
        page = self.call("GET", self.path(kind, namespace="*"), limit=1)
        return page["metadata"]["resourceVersion"]


def plural(kind: str) -> str:
    """The name of a kind in paths: `NetworkPolicy` is under `networkpolicies`."""
    name = kind.lower()
    if name == "endpoints":
        return name
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch")) else "s")
