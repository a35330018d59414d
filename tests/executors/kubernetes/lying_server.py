"""An API server with a true, versioned store, which lies about it on a seeded plan.

`Store` is the truth. `LyingServer` answers lists and watches from it, badly while `lying`. The same
server stands behind real HTTP (`serving`) and behind a stand-in for the client without sockets
(`Wire`), which runs in virtual time.

A server that silently leaves out events cannot be told from an honest one; nor can one that changes
the order and breaks off between the two. So these two are not among the random lies.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web

from cerebrum.executors.kubernetes.client import Unreachable, api_error, whole_lines

PATH = "/api/v1/things"
LIST_LIES = ("429", "500", "503", "reset", "half", "slow", "page-410", "garbage")
WATCH_LIES = ("429", "500", "410", "reset", "silent", "bookmarks-only", "ends")
BURST_LIES = ("half-line", "duplicates", "reordered", "error-410", "error-500", "cut", "slow",
              "early-bookmark", "not-json", "not-utf-8", "repeat-past",
              "late-bookmark")  # fmt: skip


class Cut(Exception):
    """The connection is gone."""


class Store:
    """Objects by key, everything that ever happened to them, and how much of that is forgotten."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.version, self.forgotten = rng, 100, 100
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, str, dict[str, Any]]] = []
        self.news = asyncio.Event()
        self._uids = 0

    def put(self, name: str, value: Any) -> None:
        """Create or change an object."""
        old = self.objects.get(f"ns/{name}")
        self._uids += old is None
        uid = f"uid-{self._uids}" if old is None else old["metadata"]["uid"]
        meta = {"name": name, "namespace": "ns", "uid": uid, "managedFields": [{"ignored": True}]}
        thing = {"metadata": meta, "value": value}
        self.objects[f"ns/{name}"] = self._happen("ADDED" if old is None else "MODIFIED", thing)

    def delete(self, name: str) -> None:
        self._happen("DELETED", self.objects.pop(f"ns/{name}"))

    def compact(self) -> None:
        """Forget the past: watches from before must list anew."""
        self.forgotten = self.version

    def change_something(self) -> None:
        """One random step, often on few names, so that names are reused."""
        name = f"thing-{self.rng.randrange(12)}"
        if f"ns/{name}" not in self.objects or self.rng.random() < 0.5:
            self.put(name, self.rng.randrange(1000))
            return
        self.delete(name)
        if self.rng.random() < 0.3:
            self.put(name, -1)  # the same name, another uid

    def _happen(self, kind: str, thing: dict[str, Any]) -> dict[str, Any]:
        self.version += self.rng.choice((1, 1, 1, 3))  # other kinds take versions as well
        meta = {**thing["metadata"], "resourceVersion": str(self.version)}
        thing = {**thing, "metadata": meta}
        self.history.append((self.version, kind, thing))
        self.news.set()
        self.news = asyncio.Event()
        return thing


@dataclass
class Answer:
    """What goes over the wire; the chunks may end in `Cut`."""

    status: int
    chunks: AsyncGenerator[bytes, None]
    headers: dict[str, str] = field(default_factory=dict)


def _status(code: int, reason: str) -> bytes:
    return json.dumps(
        {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "a lie"}
    ).encode()


async def _once(*chunks: bytes, cut: bool = False) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    if cut:
        raise Cut


@dataclass
class LyingServer:
    """`rate` is how often it lies, `unit_s` how long a short wait is, `allowed` which lies (None:
    all); bookmarks carry the store's version if it `tells_version`, else the last event's. `told`
    counts the lies that were told, `asked` and `asked_s` hold what was asked, and when."""

    store: Store
    rng: Random
    rate: float = 0.4
    unit_s: float = 1.0
    lying: bool = True
    allowed: set[str] | None = None
    bookmark_s: float = 10.0
    tells_version: bool = False
    told: Counter[str] = field(default_factory=Counter)
    asked_s: list[float] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def answer(self, query: Mapping[str, str]) -> Answer:
        self.asked_s.append(asyncio.get_running_loop().time())
        self.asked.append(dict(query))
        if query.get("watch") == "true":
            return self._watch(query)
        return self._list(query)

    def _lie(self, lies: tuple[str, ...]) -> str:
        if not self.lying or self.rng.random() >= self.rate:
            return ""
        lie = self.rng.choice([lie for lie in lies if self.allowed is None or lie in self.allowed]
                              or [""])  # fmt: skip
        self.told[lie] += lie != ""
        return lie

    def _refusal(self, lie: str) -> Answer | None:
        match lie:
            case "429":
                return Answer(429, _once(_status(429, "TooManyRequests")), {"Retry-After": "2"})
            case "500":
                return Answer(500, _once(b"<html>not even JSON"))
            case "503":
                return Answer(503, _once(_status(503, "ServiceUnavailable")), {"Retry-After": "1"})
            case "410":
                return Answer(410, _once(_status(410, "Expired")))
            case "reset":
                return Answer(200, _once(cut=True))
            case _:
                return None

    # --- list ---

    def _list(self, query: Mapping[str, str]) -> Answer:
        lie, token = self._lie(LIST_LIES), query.get("continue", "")
        if refusal := self._refusal(lie):
            return refusal
        if token and (lie == "page-410" or token not in self.lists):
            return Answer(410, _once(_status(410, "Expired")))
        body = json.dumps(self._page(token, int(query["limit"]))).encode()
        if lie == "garbage":
            return Answer(200, _once(body[: len(body) // 2]))
        if lie == "half":
            return Answer(200, _once(body[: len(body) // 2], cut=True))
        return Answer(200, self._slowly(body) if lie == "slow" else _once(body))

    def _page(self, token: str, limit: int) -> dict[str, Any]:
        """A page of the list as it was at its first page; the last one says `items: null`."""
        if token:
            rest, version = self.lists.pop(token), token.split("/")[0]
        else:
            rest, version = list(self.store.objects.values()), str(self.store.version)
        meta = {"resourceVersion": version}
        if len(rest) > limit:
            meta["continue"] = f"{version}/{len(rest)}/{self.rng.random()}"
            self.lists[meta["continue"]] = rest[limit:]
        return {"kind": "ThingList", "metadata": meta, "items": rest[:limit] or None}

    async def _slowly(self, body: bytes) -> AsyncGenerator[bytes, None]:
        step = max(1, len(body) // 7)
        for at in range(0, len(body), step):
            yield body[at : at + step]
            await asyncio.sleep(self.unit_s * 0.1)

    # --- watch ---

    def _watch(self, query: Mapping[str, str]) -> Answer:
        lie, after = self._lie(WATCH_LIES), int(query["resourceVersion"])
        if lie == "ends":
            return Answer(200, _once())
        if refusal := self._refusal(lie):
            return refusal
        if after < self.store.forgotten:
            return Answer(410, _once(_status(410, "Expired")))
        return Answer(200, self._events(after, float(query["timeoutSeconds"]), lie))

    async def _events(self, at: int, timeout_s: float, lie: str) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while lie == "silent":
            await asyncio.sleep(self.unit_s)
        while loop.time() < end_s:
            burst = [event for event in self.store.history if event[0] > at]
            if not burst:
                news = self.store.news
                wait_s = max(0.0, min(self.bookmark_s, end_s - loop.time()))
                try:
                    await asyncio.wait_for(news.wait(), wait_s)
                    await asyncio.sleep(self.unit_s * self.rng.random())
                except TimeoutError:
                    yield self._bookmark(self.store.version if self.tells_version else at)
                continue
            start, at = at, burst[-1][0]
            if lie == "bookmarks-only":  # the past it tells of is not forgotten: nothing is lost
                yield self._bookmark(start)
                at = start
                await asyncio.sleep(self.unit_s)
                lie = "bookmarks-only" if self.lying else ""
                continue
            async for chunk in self._tell([_event(kind, it) for _, kind, it in burst], start):
                yield chunk

    async def _tell(self, lines: list[bytes], start: int) -> AsyncGenerator[bytes, None]:
        lie = self._lie(BURST_LIES)
        text, some = b"".join(lines), self.rng.randrange(len(lines))
        match lie:
            case "half-line":
                yield (
                    b"".join(lines[:some]) + lines[some][: self.rng.randrange(1, len(lines[some]))]
                )
                raise Cut
            case "cut":
                yield b"".join(lines[:some])
                raise Cut
            case "duplicates":
                yield b"".join(line * self.rng.choice((1, 2, 3)) for line in lines) + lines[some]
            case "reordered":
                self.rng.shuffle(lines)
                yield b"".join(lines)
            case "early-bookmark":
                yield self._bookmark(start + 1 if len(lines) == 1 else self.store.version) + text
            case "error-410":
                yield b"".join(lines[:some]) + _error(410, "Expired")
                raise Cut
            case "error-500":
                yield b"".join(lines[:some]) + _error(500, "InternalError")
                raise Cut
            case "not-json":
                yield b"".join(lines[:some]) + b'{"type":"MODIFIED","object":{"meta]}\n'
                raise Cut
            case "late-bookmark":
                yield text + self._bookmark(start)
            case "not-utf-8":
                yield b"".join(lines[:some]) + lines[some].replace(b"thing-", b"\xff\xfe")
                raise Cut
            case "repeat-past":
                past = [_event(kind, it) for _, kind, it in self.store.history[-20:]]
                yield text + past[self.rng.randrange(len(past))]
            case "slow":
                async for chunk in self._slowly(text):
                    yield chunk
            case _:
                yield text

    def _bookmark(self, version: int) -> bytes:
        meta = {"resourceVersion": str(version), "creationTimestamp": None}
        return _event("BOOKMARK", {"kind": "Thing", "metadata": meta, "value": None})


def _event(kind: str, thing: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _error(code: int, reason: str) -> bytes:
    return b'{"type":"ERROR","object":' + _status(code, reason) + b"}\n"


# --- two ways to ask it ---


class Wire:
    """What an informer asks of a client, without sockets: bytes go straight to the server."""

    def __init__(self, server: LyingServer) -> None:
        self.server = server

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        limited: bool,
        attempts: int,
    ) -> bytes:
        assert (method, path, limited, attempts) == ("GET", PATH, False, 1)
        await asyncio.sleep(0.001)
        return b"".join([chunk async for chunk in self._answer(query or {})])

    async def watch_batches(
        self, path: str, *, resource_version: str, timeout_s: float, query: Mapping[str, str] | None
    ) -> AsyncGenerator[tuple[bytes, ...], None]:
        asks = {"watch": "true", "allowWatchBookmarks": "true", **(query or {})}
        asks |= {"resourceVersion": resource_version, "timeoutSeconds": str(timeout_s)}
        await asyncio.sleep(0.001)
        async with aclosing(self._answer(asks)) as chunks:
            await anext(chunks)
            yield ()
            async for lines in whole_lines(chunks):
                yield lines

    async def _answer(self, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        answer = self.server.answer(query)
        try:
            async with aclosing(answer.chunks) as chunks:
                if answer.status >= 300:
                    body = b"".join([chunk async for chunk in chunks])
                    raise api_error(body, answer.status, answer.headers.get("Retry-After"))
                yield b""
                async for chunk in chunks:
                    yield chunk
        except Cut:
            raise Unreachable("cut") from None


@asynccontextmanager
async def serving(server: LyingServer) -> AsyncIterator[str]:
    """The server on real HTTP on loopback; yields its address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = server.answer(request.query)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        try:
            async with aclosing(answer.chunks) as chunks:
                async for chunk in chunks:
                    await response.write(chunk)
        except Cut:
            assert request.transport is not None
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_get(PATH, handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
