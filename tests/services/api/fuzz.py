"""Schemathesis against the controller's API: what the document promises, the server keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cerebrum.services.controller import ControllerSettings
from tests.services.api.worlds import World, world

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


class Background:
    """A world whose event loop runs in a thread: schemathesis and its client are synchronous."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run)
        self.world: World

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._live())
        self._loop.close()

    async def _live(self) -> None:
        # On a busy machine nobody may run for a minute, and renewing is not what is asked here.
        settings = ControllerSettings(leader_ttl_s=86_400.0)
        async with world(self._folder, settings=settings) as self.world:
            await self.world.register("east")
            self._end = asyncio.Event()
            self._ready.set()
            await self._end.wait()

    def __enter__(self) -> Background:
        self._thread.start()
        if not self._ready.wait(60):
            raise RuntimeError("the world did not come to be")
        return self

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def send(self, method: str, path: str, **options: Any) -> Any:
        """One request, in the world's own loop."""
        asking = self.world.http.request(method, path, **options)
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result(60)


@contextmanager
def background(folder: Path) -> Iterator[Background]:
    with Background(folder) as found:
        yield found


def fuzz(folder: Path, cases: int, key: int) -> int:
    """Send the controller at least that many cases, over all operations; how many were sent."""
    with background(folder) as live:
        return fuzz_live(live, cases, key)


class Live(Protocol):
    """A server to send requests to."""

    def send(self, method: str, path: str, **options: Any) -> Any:
        """The answer to one request."""
        ...


def fuzz_live(live: Live, cases: int, key: int) -> int:
    """The same to any server. Raises what fails.

    Operations with few parameters run out of cases that differ. What they leave over goes to the
    others, in further rounds, each with a seed of its own.
    """
    sent = 0

    def check(case: Any) -> None:
        nonlocal sent
        _ask(live, case)
        sent += 1

    fresh, rounds = _strategies(live), 0
    while fresh and sent < cases:
        each = max(2, -(-(cases - sent) // len(fresh)))
        more: list[Any] = []
        for strategy in fresh:
            before = sent
            _drive(strategy, check, each, key + 1000 * rounds)
            if sent - before >= each:  # else there are no more that differ
                more.append(strategy)
        fresh, rounds = more, rounds + 1
    return sent


def _strategies(live: Live) -> list[Any]:
    """Valid and invalid cases of each operation; the stream of events never ends, so not of it."""
    schema = schemathesis.openapi.from_dict(live.send("GET", "/openapi.json").json())
    found = [
        _cases(operation, mode)
        for operation in (result.ok() for result in schema.get_all_operations())
        if operation.path != "/api/v1/events"
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    ]
    return [strategy for strategy in found if strategy is not None]


def _ask(live: Live, case: Any) -> None:
    """Send a case, and hold the answer to the document."""
    import requests

    given = case.as_transport_kwargs(base_url="http://127.0.0.1")
    kept = {name: value for name, value in given.items() if name in _REQUEST}
    request = requests.Request(**kept).prepare()
    headers = {n: value for n, value in request.headers.items() if n.lower() != "host"}
    answer = live.send(
        str(request.method), str(request.url), content=request.body or b"", headers=headers
    )
    case.validate_response(schemathesis.Response.from_httpx(answer, verify=False), checks=CHECKS)


_REQUEST = {"method", "url", "headers", "params", "data", "json", "cookies"}


def _cases(operation: Any, mode: Any) -> Any:
    try:
        return operation.as_strategy(generation_mode=mode)
    except schemathesis.errors.InvalidSchema:
        return None


def _drive(strategy: Any, check: Any, cases: int, key: int) -> None:
    @seed(key)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def drive(data: Any) -> None:
        check(data.draw(strategy))

    # An operation without parameters has nothing that could be wrong.
    with suppress(Unsatisfiable):
        drive()
