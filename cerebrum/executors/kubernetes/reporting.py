"""What operators and autoscalers see: events, the PodScheduled condition, the nominated node.

`PodScheduled=False, reason Unschedulable` is what autoscalers act on; it is written when it changes
and not otherwise. Conditions are never dropped; events are, when there are more than can be told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from cerebrum.executors.kubernetes._reporting_events import (
    EventWriter,
    Subject,
    Write,
    cut,
)
from cerebrum.executors.kubernetes.binder import Api
from cerebrum.executors.kubernetes.client import ApiError, Unreachable
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.times import second_time

Status = dict[str, Any]
_STRATEGIC = "application/strategic-merge-patch+json"
_MESSAGE_BYTES = 32 * 1024
_MAX_EVENTS = 10_000
_TRIES = 5


class Reporter:
    """Writes reports with a few workers of its own, conditions before events."""

    def __init__(
        self,
        api: Api,
        scheduler_name: str,
        identity: str,
        wall: Callable[[], float],
        concurrency: int = 8,
        max_events: int = _MAX_EVENTS,
    ) -> None:
        self._api = api
        self._writer = EventWriter(scheduler_name, identity, wall)
        self._wall = wall
        self._concurrency = concurrency
        self._max_events = max_events
        self._events: deque[Write] = deque()
        self._patches: dict[str, tuple[PodFacts, Status]] = {}  # by uid: only the newest matters
        self._more = asyncio.Event()
        self.dropped = 0
        self.written = 0
        self.failed = 0

    @property
    def backlog(self) -> int:
        """Reports that are still to be written."""
        return len(self._events) + len(self._patches)

    # -- what can be said ---------------------------------------------------------------------

    def scheduled(self, pod: PodFacts, node: str) -> None:
        """It is bound."""
        note = f"Successfully assigned {pod.namespace}/{pod.name} to {node}"
        self._event(pod, "Normal", "Scheduled", "Binding", note)

    def unschedulable(
        self, pod: PodFacts, message: str, first: bool = True, reason: str = "Unschedulable"
    ) -> None:
        """It is not, and why. `first`: nothing was said before, the condition turns False now."""
        self._event(pod, "Warning", "FailedScheduling", "Scheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": cut(message, _MESSAGE_BYTES),
            "lastProbeTime": None,
        }
        if first:
            condition["lastTransitionTime"] = second_time(self._wall())
        self._patch(pod, {"conditions": [condition]})

    def nominated(self, pod: PodFacts, node: str) -> None:
        """Room is being made for it on a node ('': no more)."""
        self._patch(pod, {"nominatedNodeName": node or None})

    def preempted(self, victim: PodFacts, by: str, node: str) -> None:
        """It has to go; `by` whom."""
        note = f"Preempted by {by} on node {node}"
        self._event(victim, "Normal", "Preempted", "Preempting", note)

    def failed_binding(self, pod: PodFacts, message: str, first: bool) -> None:
        """The server would not bind it; it is tried again."""
        self.unschedulable(pod, f"binding rejected: {message}", first, "SchedulerError")

    def told_no_more(self, pod: PodFacts) -> None:
        """It is bound or gone: what was still to be written to its status is not true any more."""
        self._patches.pop(pod.uid, None)

    # -- writing ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            write = self._next()
            if write is None:
                self._more.clear()
                await self._more.wait()
                continue
            await self._write(write)

    def _next(self) -> Write | None:
        if self._patches:
            return _status_patch(*self._patches.pop(next(iter(self._patches))))
        return self._events.popleft() if self._events else None

    async def _write(self, write: Write) -> None:
        wait_s = 0.5
        for _ in range(_TRIES):
            try:
                await self._api.request(
                    write.method, write.path, body=write.body, content_type=write.content_type
                )
                self.written += 1
                return
            except ApiError as error:
                if error.status < 500 and error.status != 429:
                    break  # the pod or its namespace went away, or we may not
                wait_s = max(wait_s, error.retry_after_s or 0.0)
            except Unreachable:
                pass
            await asyncio.sleep(min(wait_s, 10.0))
            wait_s *= 2
        self.failed += 1

    def _event(self, pod: PodFacts, kind: str, reason: str, action: str, note: str) -> None:
        if len(self._events) >= self._max_events:
            self.dropped += 1
            return
        about = Subject(pod.namespace, pod.name, pod.uid)
        write = self._writer.event(about, kind, reason, action, note)
        if write is not None:
            self._events.append(write)
            self._more.set()

    def _patch(self, pod: PodFacts, status: Status) -> None:
        _, waiting = self._patches.get(pod.uid, (pod, {}))
        self._patches[pod.uid] = pod, {**waiting, **status}
        self._more.set()


def _status_patch(pod: PodFacts, status: Status) -> Write:
    """The uid makes the server refuse the patch for another pod of the same name."""
    body = msgspec.json.encode({"metadata": {"uid": pod.uid}, "status": status})
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
    return Write("PATCH", path, body, _STRATEGIC)
