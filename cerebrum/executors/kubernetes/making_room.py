"""Preemption carried out: victims are told and deleted, and the room is kept until they are gone.

The pod that made them go holds its room in the engine meanwhile (the node is overfull until they
are gone, so that nobody else is placed there), and has the node as its `nominatedNodeName`. When
the last victim is gone and the node has room indeed, it is bound; otherwise it goes back to the
queue, and the nomination is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from cerebrum.executors.kubernetes.binder import Api
from cerebrum.executors.kubernetes.client import ApiError, Unreachable
from cerebrum.executors.kubernetes.counters import Counters
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Held, Mirror, Phase
from cerebrum.executors.kubernetes.reporting import Reporter
from cerebrum.executors.kubernetes.times import second_time

_log = structlog.get_logger(__name__)
_TRIES = 5


@dataclass(slots=True)
class _Nomination:
    held: Held
    node: str
    victims: set[str]


class MakingRoom:
    """All preemptions under way. `bind` is called with a pod whose room has become free."""

    def __init__(
        self,
        api: Api,
        mirror: Mirror,
        reporter: Reporter,
        counters: Counters,
        scheduler_name: str,
        wall: Callable[[], float],
        bind: Callable[[Held], None],
    ) -> None:
        self._api = api
        self._mirror = mirror
        self._reporter = reporter
        self._counters = counters
        self._scheduler_name = scheduler_name
        self._wall = wall
        self._bind = bind
        self._nominations: dict[str, _Nomination] = {}
        self._of_victim: dict[str, set[str]] = {}
        self._deletions: asyncio.Queue[PodFacts] = asyncio.Queue()

    def __len__(self) -> int:
        return len(self._nominations)

    def start(self, victims: Sequence[Held], by: Held | None) -> None:
        """End the victims; `by` holds its room already (None: the policy just wants them gone)."""
        self._counters.preemptions += 1
        real: set[str] = set()
        for victim in victims:
            if victim.phase is Phase.NOMINATED:
                self.cancel(victim)  # it has no room yet: it only loses its claim to it
                continue
            real.add(victim.pod.uid)
            if victim.pod.deleting:
                continue
            self._counters.victims += 1
            self._deletions.put_nowait(victim.pod)
            by_whom = f"pod {by.pod.uid}" if by else self._scheduler_name
            self._reporter.preempted(victim.pod, by_whom, victim.node)
        if by is None:
            return
        self._nominations[by.pod.uid] = _Nomination(by, by.node, real)
        for uid in real:
            self._of_victim.setdefault(uid, set()).add(by.pod.uid)
        self._reporter.nominated(by.pod, by.node)
        if not real:
            self._ripe(by.pod.uid)

    def cancel(self, held: Held) -> None:
        """A nomination does not hold any more: the pod waits like any other."""
        if self._drop(held.pod.uid):
            self._reporter.nominated(held.pod, "")
        self._mirror.release(held)

    def gone(self, held: Held) -> None:
        """A pod is gone: it may have been a victim, or one that waited for victims."""
        self._drop(held.pod.uid)
        for waiting in self._of_victim.pop(held.pod.uid, ()):
            nomination = self._nominations.get(waiting)
            if nomination is not None:
                nomination.victims.discard(held.pod.uid)
                if not nomination.victims:
                    self._ripe(waiting)

    def _drop(self, uid: str) -> bool:
        nomination = self._nominations.pop(uid, None)
        if nomination is None:
            return False
        for victim in nomination.victims:
            self._of_victim.get(victim, set()).discard(uid)
        return True

    def _ripe(self, uid: str) -> None:
        """The victims are gone."""
        nomination = self._nominations[uid]
        held = nomination.held
        if held.phase is not Phase.NOMINATED or held.node != nomination.node:
            self._drop(uid)
        elif self._mirror.overfull(held.node):
            self.cancel(held)  # somebody else took the room
        else:
            self._drop(uid)
            self._mirror.confirm(held)
            self._bind(held)

    # -- asking the API server ----------------------------------------------------------------

    async def run(self) -> None:
        """Delete victims until cancelled."""
        while True:
            victim = await self._deletions.get()
            try:
                await self._end(victim)
            except (ApiError, Unreachable) as problem:
                _log.warning("victim_stays", pod=f"{victim.namespace}/{victim.name}",
                             problem=str(problem))  # fmt: skip
                self._stays(victim.uid)

    def _stays(self, victim: str) -> None:
        for uid in sorted(self._of_victim.get(victim, ())):
            nomination = self._nominations.get(uid)
            if nomination is not None:
                self.cancel(nomination.held)
                if nomination.held.task >= 0:
                    self._mirror.defer(nomination.held, 10.0)

    async def _end(self, victim: PodFacts) -> None:
        """Say why, then delete with the pod's own grace; the uid keeps a namesake safe."""
        path = f"/api/v1/namespaces/{victim.namespace}/pods/{victim.name}"
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{self._scheduler_name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": second_time(self._wall()),
        }
        said: dict[str, Any] = {
            "metadata": {"uid": victim.uid}, "status": {"conditions": [condition]},
        }  # fmt: skip
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": victim.uid},
        }
        patch = msgspec.json.encode(said)
        await self._ask("PATCH", path + "/status", patch, "application/strategic-merge-patch+json")
        await self._ask("DELETE", path, msgspec.json.encode(options), "application/json")

    async def _ask(self, method: str, path: str, body: bytes, content_type: str) -> None:
        """Both requests are harmless twice. 404 and 409: it is gone, or is another pod."""
        wait_s = 0.5
        for left in reversed(range(_TRIES)):
            try:
                await self._api.request(method, path, body=body, content_type=content_type)
                return
            except ApiError as error:
                if error.status in (404, 409):
                    return
                if not left or (error.status < 500 and error.status != 429):
                    raise
            except Unreachable:
                if not left:
                    raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
