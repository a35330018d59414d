"""An API server for pods and nodes, over HTTP in a thread of its own, with a fake kubelet.

It keeps the rules that runs rely on: names are unique (409), a patch with another uid or an old
resourceVersion is refused (409), deletion is by precondition, with grace, and held up by
finalizers; lists are paged, watches are by label and end with what left the selection as DELETED.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import web

from cerebrum.executors.kubernetes.access import Access
from tests.executors.kubernetes.fake_kubelet import Kubelet, stamp

_TICK_S = 0.01
Key = tuple[str, str, str]


class FakeApi:
    """Use as a context manager; `access` is how to reach it. `refuse` answers a request first."""

    def __init__(self) -> None:
        self.kubelet = Kubelet()
        self.objects: dict[Key, dict[str, Any]] = {}
        self.history: list[tuple[int, str, str, dict[str, Any], dict[str, Any] | None]] = []
        self.version = 100
        self.requests: list[tuple[str, str]] = []
        self.refuse: Callable[[str, str], web.Response | None] = lambda _method, _path: None
        self.log = b""
        self.lock = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._port = 0
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeApi:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def access(self) -> Access:
        return Access(f"http://127.0.0.1:{self._port}")

    # -- for tests --------------------------------------------------------------------------

    def put(self, kind: str, name: str, namespace: str = "", **parts: Any) -> dict[str, Any]:
        """Make or replace an object by hand."""
        with self.lock:
            old = self.objects.get((kind, namespace, name))
            meta = {"name": name, **({"namespace": namespace} if namespace else {})}
            meta |= {"uid": old["metadata"]["uid"] if old else str(uuid.uuid4())}
            meta |= {"creationTimestamp": stamp(time.time()), **parts.pop("metadata", {})}
            return self._store((kind, namespace, name), {"metadata": meta, **parts})

    def drop(self, kind: str, name: str, namespace: str = "") -> None:
        """It is gone, finalizers or not."""
        with self.lock:
            key = (kind, namespace, name)
            self._remove(key, self.objects[key])

    def pod(self, name: str, namespace: str = "default") -> dict[str, Any] | None:
        with self.lock:
            return copy.deepcopy(self.objects.get(("pods", namespace, name)))

    def pods(self) -> list[dict[str, Any]]:
        with self.lock:
            return [copy.deepcopy(o) for k, o in self.objects.items() if k[0] == "pods"]

    def patch_pod(self, name: str, change: dict[str, Any], namespace: str = "default") -> None:
        with self.lock:
            key = ("pods", namespace, name)
            self._store(key, _merged(self.objects[key], change))

    # -- the store --------------------------------------------------------------------------

    def _store(self, key: Key, new: dict[str, Any]) -> dict[str, Any]:
        old = self.objects.get(key)
        self.version += 1
        new = copy.deepcopy(new)
        new["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = new
        kind = "ADDED" if old is None else "MODIFIED"
        self.history.append((self.version, kind, key[0], new, old))
        return new

    def _remove(self, key: Key, old: dict[str, Any]) -> None:
        self.version += 1
        gone = copy.deepcopy(old)
        gone["metadata"]["resourceVersion"] = str(self.version)
        del self.objects[key]
        self.history.append((self.version, "DELETED", key[0], gone, old))

    # -- the server -------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        kubelet = asyncio.create_task(self._be_kubelet())
        self._up.set()
        await self._stop.wait()
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)
        await runner.cleanup()

    async def _be_kubelet(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            with self.lock:
                for key, pod in list(self.objects.items()):
                    if key[0] != "pods":
                        continue
                    status = self.kubelet.status(pod, time.time())
                    if status is not None:
                        pod = self._store(key, {**pod, "status": status})
                    over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
                    meta = pod["metadata"]
                    if over and meta.get("deletionTimestamp") and not meta.get("finalizers"):
                        self._remove(key, pod)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        refusal = self.refuse(request.method, request.path)
        if refusal is not None:
            return refusal
        parts = request.path.strip("/").split("/")
        namespace = parts[3] if len(parts) > 3 and parts[2] == "namespaces" else ""
        rest = parts[4:] if namespace else parts[2:]
        kind, name, sub = (*rest, "", "", "")[:3]
        if request.method == "GET" and not name and request.query.get("watch"):
            return await self._watch(request, kind, namespace)
        body = await request.json() if request.can_read_body else {}
        with self.lock:
            match request.method, sub:
                case "GET", "":
                    return self._get(request, (kind, namespace, name))
                case "GET", "log":
                    limit = int(request.query["limitBytes"])
                    return web.Response(body=self.log[:limit])
                case "POST", "":
                    return self._create(kind, namespace, body)
                case "PATCH", _:
                    return self._patch((kind, namespace, name), body)
                case "DELETE", "":
                    return self._delete((kind, namespace, name), body)
        return refused(405, "MethodNotAllowed")

    def _get(self, request: web.Request, key: Key) -> web.Response:
        if key[2]:
            found = self.objects.get(key)
            return refused(404, "NotFound") if found is None else web.json_response(found)
        chosen = [o for k, o in sorted(self.objects.items()) if _meant(k, o, key, request.query)]
        first, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 500))
        meta = {"resourceVersion": str(self.version)}
        if first + limit < len(chosen):
            meta["continue"] = str(first + limit)
        return web.json_response({"metadata": meta, "items": chosen[first : first + limit] or None})

    def _create(self, kind: str, namespace: str, body: dict[str, Any]) -> web.Response:
        meta = body["metadata"]
        key = (kind, namespace, meta["name"])
        if key in self.objects:
            return refused(409, "AlreadyExists")
        names = [v["name"] for c in body["spec"]["containers"] for v in c.get("env", [])]
        if any(" " in name for name in names):
            return refused(422, "Invalid", "a name with a blank")
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(time.time())}
        made = self._store(key, {**body, "status": {"phase": "Pending"}})
        return web.json_response(made, status=201)

    def _patch(self, key: Key, body: dict[str, Any]) -> web.Response:
        old = self.objects.get(key)
        if old is None:
            return refused(404, "NotFound")
        for field in ("uid", "resourceVersion"):
            wanted = body.get("metadata", {}).get(field)
            if wanted is not None and wanted != old["metadata"][field]:
                return refused(409, "Conflict", f"another {field}")
        new = _merged(old, body)
        free = new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers")
        over = new.get("status", {}).get("phase") in ("Succeeded", "Failed") or _unbound(new)
        if free and (over or new["metadata"].get("deletionGracePeriodSeconds") == 0):
            self._remove(key, new)
            return web.json_response(new)
        return web.json_response(self._store(key, new))

    def _delete(self, key: Key, body: dict[str, Any]) -> web.Response:
        old = self.objects.get(key)
        if old is None:
            return refused(404, "NotFound")
        uid = body.get("preconditions", {}).get("uid")
        if uid is not None and uid != old["metadata"]["uid"]:
            return refused(409, "Conflict", "the UID in the precondition does not match")
        over = old.get("status", {}).get("phase") in ("Succeeded", "Failed")
        grace = 0 if over or _unbound(old) else body.get("gracePeriodSeconds", 30)
        meta = {
            "deletionTimestamp": old["metadata"].get("deletionTimestamp") or stamp(time.time()),
            "deletionGracePeriodSeconds": grace,
        }
        if grace == 0 and not old["metadata"].get("finalizers"):
            self._remove(key, old)
            return web.json_response(old)
        return web.json_response(self._store(key, _merged(old, {"metadata": meta})))

    async def _watch(self, request: web.Request, kind: str, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        told = int(request.query["resourceVersion"])
        until = time.monotonic() + float(request.query.get("timeoutSeconds", 60))
        while time.monotonic() < until and self._stop is not None and not self._stop.is_set():
            with self.lock:
                lines = [
                    line
                    for version, event, of, new, old in self.history[told - 100 :]
                    if of == kind
                    for line in _event(event, new, old, namespace, request.query, version)
                ]
                told = self.version
            if lines:
                await response.write(b"".join(lines))
            await asyncio.sleep(_TICK_S)
        return response


def refused(status: int, reason: str, message: str = "") -> web.Response:
    """A `Status` object."""
    said = {"kind": "Status", "code": status, "reason": reason, "message": message or reason}
    return web.json_response(said, status=status)


def _event(event: str, new: Any, old: Any, namespace: str, query: Any, version: int) -> list[bytes]:
    """One line of a watch, or none: what enters a selection is ADDED, what leaves it DELETED."""
    if namespace and new["metadata"].get("namespace") != namespace:
        return []
    now, before = _selected(new, query), old is not None and _selected(old, query)
    if event == "DELETED":
        now = False
    if not now and not before:
        return []
    kind = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
    shown = copy.deepcopy(new)
    shown["metadata"]["resourceVersion"] = str(version)
    return [json.dumps({"type": kind, "object": shown}).encode() + b"\n"]


def _meant(key: Key, item: Any, wanted: Key, query: Any) -> bool:
    return key[0] == wanted[0] and wanted[1] in ("", key[1]) and _selected(item, query)


def _selected(item: Any, query: Any) -> bool:
    labels = item["metadata"].get("labels", {})
    for part in filter(None, query.get("labelSelector", "").split(",")):
        key, equals, value = part.partition("=")
        if equals and labels.get(key) != value:
            return False
        if not equals and (key.lstrip("!") in labels) == key.startswith("!"):
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        field, _, value = part.partition("!=")
        of, name = field.split(".")
        if item.get(of, {}).get(name, "") == value:
            return False
    return True


def _unbound(pod: Any) -> bool:
    return not pod["spec"].get("nodeName")


def _merged(base: Any, change: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    found = copy.deepcopy(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found
