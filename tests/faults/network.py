"""The network between clients, agents and controllers: drops, delays, repeats, reorders, cuts.

Each leg of a call (the request, the answer) has its own luck. A request that the caller gave up may
still arrive, long after. Messages travel as JSON, so each side has its own objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel

from cerebrum.services.errors import (
    LeadershipLost,
    Refused,
    ServiceError,
    StoreUnavailable,
    Unreachable,
)
from tests.faults.loop import VirtualLoop

Request = Callable[[Any], Awaitable[Any]]
MAX_HOPS = 3


@dataclass(slots=True)
class NetworkFaults:
    """Shares of all messages, and the mean and the tail of their delays."""

    drop_share: float = 0.0
    repeat_share: float = 0.0
    delay_s: float = 0.01
    slow_share: float = 0.0
    slow_s: float = 5.0
    timeout_s: float = 10.0


@dataclass(slots=True)
class Server:
    """A life of a process that answers: `service` is what requests are functions of."""

    context: Context
    service: Any
    alive: Callable[[], bool]
    complain: Callable[[BaseException], None]


class SimNetwork:
    """Names of processes, who of them listens, and which ways are cut."""

    def __init__(self, loop: VirtualLoop, rng: Random, faults: NetworkFaults) -> None:
        self.loop, self.faults = loop, faults
        self._rng = rng
        self._servers: dict[str, Server] = {}
        self._cut: dict[tuple[str, str], int] = {}

    def listen(self, name: str, server: Server) -> None:
        """From now on calls to `name` go to this life of the process."""
        self._servers[name] = server

    def cut(self, source: str, target: str) -> None:
        """Nothing sent from `source` reaches `target` any more; the other way is its own."""
        self._cut[source, target] = self._cut.get((source, target), 0) + 1

    def join(self, source: str, target: str) -> None:
        """Undo one `cut`."""
        self._cut[source, target] = max(0, self._cut.get((source, target), 0) - 1)

    def heal(self) -> None:
        """All ways open, no more bad luck."""
        self._cut.clear()
        self.faults = NetworkFaults(timeout_s=self.faults.timeout_s)

    async def call(self, source: str, target: str, request: Request, patience_s: float) -> Any:
        """One request and its answer, seen from `source`. Raises `Unreachable` or `Refused`."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._send(source, target, request, answer)
        if self._rng.random() < self.faults.repeat_share:
            self._send(source, target, request, answer)
        try:
            result = await asyncio.wait_for(answer, patience_s)
        except TimeoutError:
            raise Unreachable(f"{target} does not answer") from None
        if isinstance(result, Exception):
            raise result
        return result

    def _send(
        self, source: str, target: str, request: Request, answer: asyncio.Future[Any]
    ) -> None:
        def arrive() -> None:
            server = self._servers.get(target)
            if server is not None and server.alive():
                work = self._carry_out(server, target, source, request, answer)
                self.loop.create_task(work, context=server.context.copy())
            else:
                self._reply(target, source, answer, Unreachable(f"{target}: connection refused"))

        if not self._lost(source, target):
            self.loop.call_later(self._delay_s(), arrive, context=Context())

    async def _carry_out(
        self,
        server: Server,
        target: str,
        source: str,
        request: Request,
        answer: asyncio.Future[Any],
    ) -> None:
        """What the server's HTTP shell does: a refusal is said, anything else is a 5xx."""
        try:
            result: Any = await request(server.service)
        except Refused as refusal:
            result = (
                refusal
                if refusal.status < 500 and refusal.status != 421
                else Unreachable(f"{target}: {refusal}")
            )
        except (StoreUnavailable, LeadershipLost, Unreachable) as problem:
            result = Unreachable(f"{target}: status 503: {problem}")
        except ServiceError as problem:
            result = problem
        except Exception as problem:
            if server.alive():
                server.complain(problem)
            result = Unreachable(f"{target}: status 500: {problem!r}")
        self._reply(target, source, answer, result)

    def _reply(self, source: str, target: str, answer: asyncio.Future[Any], result: Any) -> None:
        def deliver() -> None:
            if not answer.done():
                answer.set_result(result)

        if not self._lost(source, target):
            self.loop.call_later(self._delay_s(), deliver, context=Context())

    def _lost(self, source: str, target: str) -> bool:
        cut = self._cut.get((source, target), 0) > 0
        return cut or self._rng.random() < self.faults.drop_share

    def _delay_s(self) -> float:
        delay_s = self._rng.expovariate(1 / self.faults.delay_s)
        if self._rng.random() < self.faults.slow_share:
            delay_s += self._rng.expovariate(1 / self.faults.slow_s)
        return delay_s


class Line:
    """A process's way to the controllers it knows: the next one after each failure, the leader when
    it is told who leads. With `register`, `poll` and so on it is a `ports.ControllerPeer`."""

    def __init__(
        self,
        network: SimNetwork,
        source: str,
        controllers: list[str],
        guard: Callable[[str], Awaitable[None]],
        heard: Callable[[BaseModel, float], None],
    ) -> None:
        self._network, self._source, self._guard = network, source, guard
        self._controllers, self._at, self._leader = controllers, 0, ""
        self._heard = heard

    async def register(self, message: Any) -> Any:
        """See `ports.ControllerPeer`."""
        return await self._exchange("register", message)

    async def poll(self, message: Any) -> Any:
        """See `ports.ControllerPeer`."""
        return await self._exchange("poll", message, message.wait_s)

    async def ack(self, message: Any) -> Any:
        """See `ports.ControllerPeer`."""
        return await self._exchange("ack", message)

    async def report(self, message: Any) -> Any:
        """See `ports.ControllerPeer`."""
        return await self._exchange("report", message)

    async def sync(self, message: Any) -> Any:
        """See `ports.ControllerPeer`."""
        return await self._exchange("sync", message)

    async def ask(self, request: Request, wait_s: float = 0.0) -> Any:
        """Have `request` carried out by the leader."""
        target = self._leader or self._controllers[self._at % len(self._controllers)]
        patience_s = self._network.faults.timeout_s + wait_s
        for _ in range(MAX_HOPS):
            try:
                return await self._network.call(self._source, target, request, patience_s)
            except Unreachable:
                self._leader, self._at = "", self._at + 1
                raise
            except Refused as refusal:
                if refusal.status != 307:
                    raise
                if not refusal.leader:
                    self._leader, self._at = "", self._at + 1
                    raise Unreachable(f"{target} does not lead") from None
                target = self._leader = refusal.leader
        self._leader = ""
        raise Unreachable("sent from one replica to the next")

    async def _exchange(self, method: str, message: BaseModel, wait_s: float = 0.0) -> Any:
        await self._guard(f"before {method}")
        kind, text = type(message), message.model_dump_json()

        async def request(controller: Any) -> tuple[type[BaseModel], str]:
            arrived_s = self._network.loop.time()
            answer = await getattr(controller, method)(kind.model_validate_json(text))
            self._heard(message, arrived_s)
            return type(answer), answer.model_dump_json()

        answer_kind, body = await self.ask(request, wait_s)
        await self._guard(f"after {method}")
        return answer_kind.model_validate_json(body)
