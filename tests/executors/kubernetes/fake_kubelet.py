"""A kubelet that only passes time: what it would say of a pod's containers, as a function of time.

It understands the sleeping shells that runs without a program are, `activeDeadlineSeconds`, and
deletion. `status` is asked again and again and answers with the new status when there is one. It
serves the fake API server and, through status patches, real ones.
"""

from __future__ import annotations

import re
import time
from typing import Any

_SLEEP = re.compile(r"sleep (\S+) &")


def stamp(unix_s: float) -> str:
    """A timestamp as Kubernetes writes it: whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))


class Kubelet:
    """All nodes' kubelets. `broken` images cannot be pulled; `codes` exit codes by pod name."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.codes: dict[str, int] = {}
        self.asleep = False
        self._since: dict[str, float] = {}  # uid -> when it was first seen
        self._began: dict[str, float] = {}

    def status(self, pod: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        """The status to report, None when nothing changes."""
        meta, spec, old = pod["metadata"], pod["spec"], pod.get("status", {})
        if self.asleep or not spec.get("nodeName") or old.get("phase") in ("Succeeded", "Failed"):
            return None
        uid = meta["uid"]
        since = self._since.setdefault(uid, now_s)
        base = {"startTime": old.get("startTime") or stamp(since)}
        if meta.get("deletionTimestamp"):
            return {**base, "phase": "Failed", **self._ended(uid, 143, now_s, old)}
        allowed_s = spec.get("activeDeadlineSeconds")
        if allowed_s is not None and now_s - since >= allowed_s:
            why = {"reason": "DeadlineExceeded", "message": "Pod was active too long"}
            return {**base, "phase": "Failed", **why, **self._ended(uid, 137, now_s, old)}
        new = {**base, **self._going_on(pod, now_s, since, old)}
        return None if new == old else new

    def _going_on(self, pod: Any, now_s: float, since: float, old: Any) -> dict[str, Any]:
        spec, uid = pod["spec"], pod["metadata"]["uid"]
        stage = [c for c in spec.get("initContainers", []) if c["name"] == "stage-in"]
        main = spec["containers"][0]
        if main["image"] in self.broken:
            state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
            return {"phase": "Pending", "containerStatuses": [{"name": "task", "state": state}]}
        staged_s = sum(_seconds(c) for c in stage)
        if now_s - since < staged_s:
            running = {"running": {"startedAt": stamp(since)}}
            waiting = {"waiting": {"reason": "PodInitializing"}}
            return {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "stage-in", "state": running}],
                "containerStatuses": [{"name": "task", "state": waiting}],
            }
        began = self._began.setdefault(uid, now_s)
        if now_s - began >= _seconds(main):
            code = self.codes.get(pod["metadata"]["name"], 0)
            phase = "Failed" if code else "Succeeded"
            return {"phase": phase, **self._ended(uid, code, now_s, old)}
        running = {"running": {"startedAt": stamp(began)}}
        return {"phase": "Running", "containerStatuses": [{"name": "task", "state": running}]}

    def _ended(self, uid: str, code: int, now_s: float, old: Any) -> dict[str, Any]:
        began = self._began.get(uid)
        if began is None:
            return {}
        state = {
            "exitCode": code, "reason": "Error" if code else "Completed",
            "startedAt": stamp(began), "finishedAt": stamp(now_s),
        }  # fmt: skip
        return {"containerStatuses": [{"name": "task", "state": {"terminated": state}}]}


def _seconds(container: Any) -> float:
    found = _SLEEP.search(" ".join(container.get("command", [])))
    return float(found[1]) if found else 0.0
