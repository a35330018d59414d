"""Events as kube-scheduler writes them (events.k8s.io/v1), repeated ones as a series of the first.

They are told to people, so they never hold up a bind: the queue is bounded, and what finds it full
is dropped and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from cerebrum.executors.kubernetes.times import micro_time

_NOTE_BYTES = 1024
"""What the API server takes of an event's note."""
_SERIES_S = 360.0  # a repetition within this long continues a series
_TELL_EVERY_S = 30.0  # a series is written at most this often
_KNOWN = 4096


@dataclass(slots=True)
class Subject:
    """The pod that an event is about."""

    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class _Series:
    path: str
    last_s: float
    told_s: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Write:
    """One request to make."""

    method: str
    path: str
    body: bytes
    content_type: str = "application/json"


class EventWriter:
    """Makes requests of events. `reporter` and `instance` say who tells; `wall` is Unix time."""

    def __init__(self, reporter: str, instance: str, wall: Callable[[], float]) -> None:
        self._reporter = reporter
        self._instance = instance[:128]
        self._wall = wall
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._number = int(wall() * 1e9)

    def event(self, about: Subject, kind: str, reason: str, action: str, note: str) -> Write | None:
        """The request for one event; None if it only continues a series that was told of."""
        now_s = self._wall()
        key = (about.uid, reason, action)
        known = self._series.get(key)  # a clock that was set back begins a new series
        if known is not None and 0 <= now_s - known.last_s < _SERIES_S:
            return self._again(known, now_s)
        self._number += 1
        name = f"{about.name[:200]}.{self._number:x}"
        folder = f"/apis/events.k8s.io/v1/namespaces/{about.namespace}/events"
        self._series[key] = _Series(f"{folder}/{name}", now_s, now_s)
        self._series.move_to_end(key)
        if len(self._series) > _KNOWN:
            self._series.popitem(last=False)
        body: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": about.namespace},
            "eventTime": micro_time(now_s),
            "reportingController": self._reporter,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": kind,
            "note": cut(note, _NOTE_BYTES),
            "regarding": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
        }
        return Write("POST", folder, msgspec.json.encode(body))

    def _again(self, known: _Series, now_s: float) -> Write | None:
        known.count += 1
        known.last_s = now_s
        if now_s - known.told_s < _TELL_EVERY_S and known.count > 2:
            return None
        known.told_s = now_s
        series = {"count": known.count, "lastObservedTime": micro_time(now_s)}
        body = msgspec.json.encode({"series": series})
        return Write("PATCH", known.path, body, "application/strategic-merge-patch+json")


def cut(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, with dots where something is missing."""
    raw = text.encode()
    if len(raw) <= size:
        return text
    return raw[: size - 3].decode(errors="ignore") + "..."
