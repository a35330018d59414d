"""An API server for tests: one versioned store over HTTP, with the rules a scheduler depends on.

Lists and watches are of one order of versions; `pods/binding` checks the uid and binds once; status
patches merge conditions by type. `faults` decides for each request whether something goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
Fault = Callable[[str, str], str]
"""Method and path -> '' (all is well), 'drop-before' or 'drop-after' (the connection breaks before
or after it is done), '500-before', '500-after', '429', '403'."""


def _fine(method: str, path: str) -> str:
    return ""


@dataclass
class FakeApi:
    """The store: objects by (collection path, key); `log` every change in order."""

    faults: Fault = _fine
    lag_s: float = 0.0
    lacking: tuple[str, ...] = ()
    objects: dict[str, dict[str, Json]] = field(default_factory=dict)
    log: list[tuple[int, str, str, Json]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    binds: Counter[str] = field(default_factory=Counter)
    version: int = 100
    url: str = ""
    deletes: list[str] = field(default_factory=list)
    ends_at_once: bool = True

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()

    # -- writing -----------------------------------------------------------------------------

    def put(self, collection: str, obj: Json, kind: str = "") -> Json:
        """Create or replace, as another client would."""
        meta = obj.setdefault("metadata", {})
        key = _key(meta)
        there = self.objects.setdefault(collection, {})
        what = "MODIFIED" if key in there else "ADDED"
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self._write(kind or what, collection, key, obj)
        there[key] = obj
        return obj

    def remove(self, collection: str, key: str) -> None:
        """Gone for good."""
        obj = self.objects[collection].pop(key)
        self._write("DELETED", collection, key, obj)

    def _write(self, kind: str, collection: str, key: str, obj: Json) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, collection, kind, json.loads(json.dumps(obj))))
        self._changed.set()
        self._changed = asyncio.Event()

    # -- short ways for tests ----------------------------------------------------------------

    def node(self, name: str, cpu: str = "4", memory: str = "8Gi", **more: Any) -> Json:
        """A node that is ready."""
        offers = {"cpu": cpu, "memory": memory, "pods": "110", **more.pop("offers", {})}
        spec = {k: v for k, v in more.items() if k in ("taints", "unschedulable")}
        labels = {"kubernetes.io/hostname": name, **more.get("labels", {})}
        status = {"allocatable": offers, "capacity": offers,
                  "conditions": [{"type": "Ready", "status": "True"}]}  # fmt: skip
        return self.put("/api/v1/nodes", {"metadata": {"name": name, "labels": labels},
                                          "spec": spec, "status": status})  # fmt: skip

    def pod(self, name: str, cpu: str = "1", memory: str = "64Mi", **more: Any) -> Json:
        """A pod of ours; `spec` and `metadata` are merged in."""
        spec = {
            "schedulerName": "cerebrum",
            "containers": [
                {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
            ],
            **more.get("spec", {}),
        }
        meta = {"name": name, "namespace": "default", **more.get("metadata", {})}
        status = {"phase": "Pending", **more.get("status", {})}
        return self.put("/api/v1/pods", {"metadata": meta, "spec": spec, "status": status})

    def get_pod(self, name: str, namespace: str = "default") -> Json:
        """A pod as it is."""
        return self.objects["/api/v1/pods"][f"{namespace}/{name}"]

    def where(self) -> dict[str, str]:
        """Pod -> its node, '' for none."""
        pods = self.objects.get("/api/v1/pods", {})
        return {key: pod["spec"].get("nodeName", "") for key, pod in pods.items()}

    def condition(self, name: str, kind: str = "PodScheduled") -> Json:
        """A pod's condition of a type, {} without."""
        found = self.get_pod(name)["status"].get("conditions", [])
        return next((c for c in found if c["type"] == kind), {})

    def events(self, reason: str) -> list[Json]:
        """Events with that reason."""
        there = self.objects.get("/apis/events.k8s.io/v1/events", {})
        return [event for event in there.values() if event["reason"] == reason]

    # -- serving -----------------------------------------------------------------------------

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[FakeApi]:
        """Listen on a port of loopback."""
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, method = request.path, request.method
        if request.query.get("watch") == "true":
            return await self._watch(request)
        fault = self.faults(method, path)
        self.requests[f"{method} {path.rsplit('/', 1)[-1]}"] += 1
        if fault == "drop-before":
            return self._drop(request)
        if fault == "429":
            return _status(429, "TooManyRequests", "slow down", {"Retry-After": "1"})
        if fault == "403":
            return _status(403, "Forbidden", "you may not")
        if fault == "500-before":
            return _status(500, "InternalError", "etcd is away")
        answer = await self._answer(request, method, path)
        if fault == "drop-after":
            return self._drop(request)
        if fault == "500-after":
            return _status(500, "InternalError", "etcd was away")
        return answer

    def _drop(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answer(self, request: web.Request, method: str, path: str) -> web.Response:
        collection, namespace, name, sub = _split(path)
        if any(part in path for part in self.lacking):
            return _status(404, "NotFound", "the server could not find the requested resource")
        there = self.objects.setdefault(collection, {})
        key = f"{namespace}/{name}" if namespace else name
        if method == "GET" and not name:
            return self._list(collection, request)
        body = json.loads(await request.read() or b"{}")
        if method == "POST" and not name:
            body["metadata"].setdefault("namespace", namespace)
            key = _key(body["metadata"])
            if key in there:
                return _status(409, "AlreadyExists", f"{key} exists")
            return web.json_response(self.put(collection, body), status=201)
        if key not in there:
            return _status(404, "NotFound", f"{key} not found")
        obj = there[key]
        if method == "GET":
            return web.json_response(obj)
        if method == "POST" and sub == "binding":
            return self._bind(collection, key, obj, body)
        if method == "PATCH":
            return self._patch(collection, key, obj, body)
        if method == "DELETE":
            return self._delete(collection, key, obj, body)
        return _status(405, "MethodNotAllowed", method)

    def _list(self, collection: str, request: web.Request) -> web.Response:
        items = list(self.objects.get(collection, {}).values())
        if namespace := _split(request.path)[1]:
            items = [item for item in items if item["metadata"].get("namespace") == namespace]
        first = int(request.query.get("continue") or 0)
        end = first + int(request.query.get("limit") or len(items) or 1)
        meta: Json = {"resourceVersion": str(self.version)}
        if end < len(items):
            meta["continue"] = str(end)
        return web.json_response({"metadata": meta, "items": items[first:end]})

    def _bind(self, collection: str, key: str, obj: Json, body: Json) -> web.Response:
        meta, spec = obj["metadata"], obj["spec"]
        wanted = body["metadata"].get("uid")
        if wanted and wanted != meta["uid"]:
            return _status(409, "Conflict", f"uid {wanted} is not {meta['uid']}")
        if meta.get("deletionTimestamp"):
            return _status(409, "Conflict", f"pod {key} is being deleted")
        if spec.get("schedulingGates"):
            return _status(409, "Conflict", f"pod {key} has scheduling gates")
        if spec.get("nodeName"):
            return _status(409, "Conflict", f"pod {key} is already assigned to {spec['nodeName']}")
        spec["nodeName"] = body["target"]["name"]
        meta.setdefault("annotations", {}).update(body["metadata"].get("annotations") or {})
        conditions = obj["status"].setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True"})
        self.binds[meta["uid"]] += 1
        self._write("MODIFIED", collection, key, obj)
        return web.json_response({"kind": "Status", "status": "Success"}, status=201)

    def _patch(self, collection: str, key: str, obj: Json, body: Json) -> web.Response:
        uid = body.get("metadata", {}).get("uid")
        if uid and uid != obj["metadata"]["uid"]:
            return _status(409, "Conflict", "the uid in the precondition does not match")
        _merge(obj, body)
        self._write("MODIFIED", collection, key, obj)
        return web.json_response(obj)

    def _delete(self, collection: str, key: str, obj: Json, body: Json) -> web.Response:
        uid = body.get("preconditions", {}).get("uid")
        if uid and uid != obj["metadata"]["uid"]:
            return _status(409, "Conflict", "the uid in the precondition does not match")
        self.deletes.append(key)
        if self.ends_at_once:
            self.remove(collection, key)
        else:
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
            self._write("MODIFIED", collection, key, obj)
        return web.json_response(obj)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        collection = _split(request.path)[0]
        seen = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        position = next((i for i, e in enumerate(self.log) if e[0] > seen), len(self.log))
        while True:
            changed = self._changed
            if self.lag_s:
                await asyncio.sleep(self.lag_s)
            lines: list[bytes] = []
            for _, where, kind, obj in self.log[position:]:
                if where == collection:
                    lines.append(json.dumps({"type": kind, "object": obj}).encode() + b"\n")
            position = len(self.log)
            if lines:
                await response.write(b"".join(lines))
            if changed is self._changed:
                await changed.wait()


def _split(path: str) -> tuple[str, str, str, str]:
    """Collection path, namespace, name, subresource."""
    parts = path.strip("/").split("/")
    root = 2 if parts[0] == "api" else 3
    group, rest, namespace = "/" + "/".join(parts[:root]), parts[root:], ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return f"{group}/{rest[0]}", namespace, name, rest[2] if len(rest) > 2 else ""


def _key(meta: Json) -> str:
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


def _merge(into: Json, patch: Json) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif name == "conditions":
            into[name] = _merged_conditions(into.get(name, []), value)
        elif isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def _merged_conditions(old: list[Json], new: list[Json]) -> list[Json]:
    by_type = {c["type"]: dict(c) for c in old}
    for condition in new:
        by_type.setdefault(condition["type"], {}).update(condition)
    return list(by_type.values())


def _status(
    code: int, reason: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason,
            "message": message}  # fmt: skip
    return web.json_response(body, status=code, headers=headers)
