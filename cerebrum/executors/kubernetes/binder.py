"""Binds: the one thing a scheduler writes that cannot be taken back.

Every order carries the pod's uid, which the API server checks, and keeps its node until it is known
for certain what became of it: after an answer that proves nothing (a timeout, a cut connection, an
error of the server) the pod is read back before anything else, and the same bind is asked for
again. A pod is bound once in its life, so asking twice for the same node is harmless; giving its
room to somebody else while the first request may still arrive is not.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import msgspec
import structlog

from cerebrum.executors.kubernetes.client import ApiError, Unreachable

_log = structlog.get_logger(__name__)
_MAX_REFUSALS = 3  # server errors in a row that left the pod unbound: then somebody else's turn
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 10.0


class Api(Protocol):
    """What the binder needs of a client."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> bytes:
        """The body of a good answer. Raises `ApiError` for a bad one, `Unreachable` for none."""
        ...


class Fate(Enum):
    """What became of an order."""

    BOUND = "bound"  # it is where we wanted it
    ELSEWHERE = "elsewhere"  # somebody bound it to another node
    GONE = "gone"  # deleted, or another pod has its name
    HELD_BACK = "held back"  # gated or being deleted: nobody binds it now
    REFUSED = "refused"  # the server will not; the pod is unbound


@dataclass(frozen=True, slots=True)
class Order:
    """Bind this pod to this node; `annotations` are written to the pod along with it."""

    namespace: str
    name: str
    uid: str
    node: str
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def path(self) -> str:
        """The pod's path."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`node` where the pod is, if anywhere; `message` what the server said; `conflict` a 409."""

    fate: Fate
    node: str = ""
    message: str = ""
    conflict: bool = False


class _Meta(msgspec.Struct, rename="camel"):
    uid: str = ""
    deletion_timestamp: str | None = None


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    scheduling_gates: list[Any] = []


class _Read(msgspec.Struct):
    metadata: _Meta
    spec: _Spec


class Binder:
    """Carries out orders, so many at a time. `done` hears of each order's outcome exactly once."""

    def __init__(
        self,
        api: Api,
        done: Callable[[Order, Outcome], None],
        concurrency: int = 64,
        timeout_s: float = 10.0,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._done = done
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._pause = pause
        self._orders: deque[Order] = deque()
        self._more = asyncio.Semaphore(0)
        self.conflicts = 0
        self.retries = 0
        self.in_flight = 0

    @property
    def backlog(self) -> int:
        """Orders whose outcome is not known yet."""
        return len(self._orders) + self.in_flight

    def submit(self, order: Order) -> None:
        """Take an order; returns at once."""
        self._orders.append(order)
        self._more.release()

    async def run(self) -> None:
        """Until cancelled. Orders that are under way then have no outcome."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._more.acquire()
            order = self._orders.popleft()
            self.in_flight += 1
            try:
                outcome = await self.bind(order)
            except Exception as bug:  # an order without an outcome would hold its room for ever
                where = traceback.format_exc(limit=-5)
                _log.error(
                    "bind_failed", pod=order.path, where=where
                )  # a log of locals could hold secrets
                outcome = Outcome(Fate.REFUSED, message=f"{type(bug).__name__}: {bug}")
            finally:
                self.in_flight -= 1
            self._done(order, outcome)

    async def bind(self, order: Order) -> Outcome:
        """Ask until the outcome is certain."""
        body, wait_s, refusals, conflict = _body(order), _FIRST_WAIT_S, 0, False
        while True:
            message, answered = "", True
            try:
                await self._api.request(
                    "POST", order.path + "/binding", body=body, timeout_s=self._timeout_s
                )
                return Outcome(Fate.BOUND, order.node, conflict=conflict)
            except ApiError as error:
                message = error.message
                if error.status == 404:
                    return Outcome(Fate.GONE, message=message)
                if error.status == 409:
                    conflict = True
                    self.conflicts += 1
                elif error.status < 500 and error.status not in (408, 429):
                    return Outcome(Fate.REFUSED, message=message)
                if error.status == 429:
                    wait_s = max(wait_s, min(error.retry_after_s or 0.0, _LONGEST_WAIT_S))
                answered = error.status != 504
            except Unreachable as problem:
                message, answered = str(problem), False
            self.retries += 1
            found = await self._read_back(order, conflict)
            if found is not None:
                return found
            refusals = refusals + 1 if answered else 0
            if refusals >= _MAX_REFUSALS:  # each was answered, and the pod is unbound after it
                return Outcome(Fate.REFUSED, message=message, conflict=conflict)
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _read_back(self, order: Order, conflict: bool) -> Outcome | None:
        """What the server has, however long it takes to learn; None while the pod is unbound."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                answer = await self._api.request("GET", order.path, timeout_s=self._timeout_s)
                return _judged(order, msgspec.json.decode(answer, type=_Read), conflict)
            except ApiError as error:
                if error.status == 404:
                    return Outcome(Fate.GONE, message=error.message, conflict=conflict)
                if error.status in (401, 403):
                    return None  # we may not look: the next bind's answer has to do
            except (Unreachable, msgspec.MsgspecError):
                pass
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _judged(order: Order, pod: _Read, conflict: bool) -> Outcome | None:
    if pod.metadata.uid != order.uid:
        return Outcome(Fate.GONE, message="another pod has its name", conflict=conflict)
    if pod.spec.node_name:
        fate = Fate.BOUND if pod.spec.node_name == order.node else Fate.ELSEWHERE
        return Outcome(fate, pod.spec.node_name, conflict=conflict)
    if pod.metadata.deletion_timestamp is not None:
        return Outcome(Fate.HELD_BACK, message="it is being deleted", conflict=conflict)
    if pod.spec.scheduling_gates:
        return Outcome(Fate.HELD_BACK, message="it has scheduling gates", conflict=conflict)
    return None


def _body(order: Order) -> bytes:
    metadata: dict[str, Any] = {
        "name": order.name, "namespace": order.namespace, "uid": order.uid,
    }  # fmt: skip
    if order.annotations:
        metadata["annotations"] = dict(order.annotations)
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": order.node},
        }
    )
