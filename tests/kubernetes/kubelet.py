"""Plays kubelet for every bound pod, without kwok: runs it for a while, ends it, lets it go.

    with Kubelet(plane.as_administrator()):
        ...  # what is bound becomes Running, then Succeeded or Failed

The annotations of `objects.pod` say how long and how. A pod without them runs as long as its
command sleeps, after its init containers, as the federation's runs without a program do. One whose
`restartPolicy` is `Always` runs on. A bound pod that is deleted waits for its kubelet, so without
one a preemption never ends.
"""

from __future__ import annotations

import heapq
import itertools
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from tests.kubernetes.api import Api, ApiError, Json
from tests.kubernetes.objects import EXIT_CODE, RUN

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SLEEP = re.compile(r"\bsleep ([\d.]+) & wait")
_BOUND = "spec.nodeName!="
_QUIET_S = 1.0
"""After so long without news the watch starts again, and sees whether it is to end."""


class Kubelet:
    """All kubelets of a cluster over a few connections. Closes the client it is given."""

    def __init__(self, api: Api, at_once: int = 8) -> None:
        self._api, self._at_once = api, at_once
        self._due: list[tuple[float, int, Json]] = []
        self._order, self._changed, self._over = itertools.count(), threading.Condition(), False
        self._seen: set[tuple[str, str]] = set()
        self._threads = [
            threading.Thread(target=work, name=f"kubelet-{work.__name__}", daemon=True)
            for work in (self._watch, self._work)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._api.close()

    def _watch(self) -> None:
        """List, then watch on and on; a server that was away, or forgot, is listed again."""
        revision = ""
        while not self._over:
            try:
                revision = revision or self._list()
                for event in self._api.watch(
                    "Pod", "*", quiet_s=_QUIET_S, resourceVersion=revision, fieldSelector=_BOUND
                ):
                    if event["type"] == "ERROR":
                        revision = ""
                        break
                    revision = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "DELETED":
                        self._look_at(event["object"])
            except httpx.ReadTimeout:
                continue  # no news
            except (httpx.TransportError, ApiError):
                revision = ""
                time.sleep(_QUIET_S / 4)

    def _list(self) -> str:
        """Look at all there is; a revision from which to watch for what comes."""
        revision = self._api.revision("Pod")
        for found in self._api.list("Pod", "*", fieldSelector=_BOUND):
            self._look_at(found)
        return revision

    def _look_at(self, found: Json) -> None:
        """Plan the next thing that happens to a pod, once for each of the things."""
        metadata, phase = found["metadata"], found.get("status", {}).get("phase", "Pending")
        wait_s = 0.0
        if metadata.get("deletionTimestamp"):
            step = "gone"
        elif phase == "Pending":
            step, wait_s = "Running", staging_s(found)
        elif phase == "Running" and found["spec"]["restartPolicy"] != "Always":
            step, wait_s = "end", run_s(found)
        else:
            return
        if (metadata["uid"], step) in self._seen:
            return
        with self._changed:
            self._seen.add((metadata["uid"], step))
            heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._order), found))
            self._changed.notify_all()

    def _work(self) -> None:
        with ThreadPoolExecutor(self._at_once) as pool:
            while (found := self._next()) is not None:
                pool.submit(self._advance, found)

    def _next(self) -> Json | None:
        """The pod that is due, when it is; None at the end."""
        with self._changed:
            while not self._over:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait_s)
        return None

    def _advance(self, found: Json) -> None:
        """Tell the API server what has become of a pod; on failure the next list tries again."""
        metadata = found["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        try:
            if metadata.get("deletionTimestamp"):
                self._api.delete("Pod", name, namespace, grace_s=0)
            else:
                news = {"metadata": {"uid": metadata["uid"]}, "status": _next_status(found)}
                self._api.patch(
                    "Pod", name, news, namespace=namespace, subresource="status", how="strategic"
                )
        except (ApiError, httpx.TransportError) as problem:
            if not (isinstance(problem, ApiError) and problem.status in (404, 409)):
                with self._changed:
                    self._seen = {seen for seen in self._seen if seen[0] != metadata["uid"]}


def run_s(found: Mapping[str, Any]) -> float:
    """How long a pod runs: as its annotation says, else as its command sleeps."""
    said = _annotations(found).get(RUN)
    return slept_s(found["spec"]["containers"][0]) if said is None else seconds(said)


def staging_s(found: Mapping[str, Any]) -> float:
    """How long a pod's init containers sleep, one after the other; sidecars keep nobody waiting."""
    first = found["spec"].get("initContainers") or []
    return sum(slept_s(c) for c in first if c.get("restartPolicy") != "Always")


def slept_s(container: Mapping[str, Any]) -> float:
    """The length of the sleep that is all a container does; 0 if that is not what it does."""
    slept = _SLEEP.search(" ".join(container.get("command") or []))
    return float(slept[1]) if slept else 0.0


def seconds(duration: str) -> float:
    """Seconds of a Go duration such as `1.5s` or `1m30s`."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", duration)
    if not parts or "".join(map("".join, parts)) != duration:
        raise ValueError(f"{duration!r} is not a duration such as 1.5s")
    return sum(float(amount) * _UNITS_S[unit] for amount, unit in parts)


def _next_status(found: Json) -> Json:
    """The status of a pod that starts, or of a running one that ends."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if found.get("status", {}).get("phase", "Pending") == "Pending":
        state, phase, ready = {"running": {"startedAt": now}}, "Running", "True"
    else:
        code = int(_annotations(found).get(EXIT_CODE, "0"))
        started = found["status"].get("startTime", now)
        reason = "Error" if code else "Completed"
        ended = {"exitCode": code, "startedAt": started, "finishedAt": now, "reason": reason}
        state, phase, ready = {"terminated": ended}, "Failed" if code else "Succeeded", "False"
    containers = [
        {
            "name": container["name"], "image": container["image"], "imageID": "none",
            "ready": ready == "True", "restartCount": 0, "state": state,
        }
        for container in found["spec"]["containers"]
    ]  # fmt: skip
    conditions = [
        {"type": kind, "status": ready, "lastTransitionTime": now}
        for kind in ("ContainersReady", "Ready")
    ]
    status: Json = {"phase": phase, "conditions": conditions, "containerStatuses": containers}
    return status | ({"startTime": now} if phase == "Running" else {})


def _annotations(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found["metadata"].get("annotations") or {}
