"""The Kubernetes API over HTTP: pooled connections, a rate limit, and errors that say what to do.

Bytes in, bytes out: decoding is the caller's, who knows which few fields matter. Nothing that
writes is repeated unless the server said that it did not do it (401, or 429 with Retry-After):
after `Unreachable` a write may have happened, and the caller reads back.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from cerebrum.executors.kubernetes._rate import TokenBucket
from cerebrum.executors.kubernetes.access import Access
from cerebrum.model.errors import CerebrumError, ConfigError

ATTEMPTS = 4
CONNECT_S = 10.0
KEEPALIVE_S = 45.0
"""Shorter than the API server's own 90 s, so that it is not it who closes under a request."""
LONGEST_WAIT_S = 10.0
"""A Retry-After beyond this is the caller's to wait for."""
WATCH_MARGIN_S = 30.0
MAX_ANSWER_BYTES = 512 << 20
MAX_LINE_BYTES = 32 << 20
MAX_ERROR_BYTES = 1 << 16
READ_BYTES = 1 << 19
RESET_PAUSE_S = 0.1
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding may raise: not JSON, not the expected types, not UTF-8, nested too deeply."""
_SAFE = ("GET", "HEAD")


class ApiError(CerebrumError):
    """The API server refused. `reason` is its word for programs (`Conflict`, `Expired`), `message`
    the one for people; `retry_after_s` is given where it asked to come back later."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"the API server answered {status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message
        self.retry_after_s = retry_after_s
        self.details: Mapping[str, Any] = details or {}


class Unreachable(CerebrumError):
    """The API server cannot be reached, took too long (`timed_out`), or broke off. It may have done
    what it was asked: read back before asking again."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class _Status(msgspec.Struct):
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: dict[str, Any] | None = None


class ListMeta(msgspec.Struct):
    """`metadata` of a list: its version, and where the next page starts."""

    resourceVersion: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


class RawList(msgspec.Struct):
    """A list whose objects are not looked at yet; `items` is null in an empty one."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


_STATUS = msgspec.json.Decoder(_Status)
_LIST = msgspec.json.Decoder(RawList)
_ENCODER = msgspec.json.Encoder()


def api_error(body: bytes, status: int = 0, retry_after: str | None = None) -> ApiError:
    """The error in an answer, or in the ERROR event of a watch: a `Status` object if it is one."""
    try:
        said = _STATUS.decode(body)
    except UNDECODABLE:
        text = " ".join(body[:500].decode("utf-8", "replace").split())
        said = _Status(text or "no explanation", "Unknown")
    details = said.details or {}
    wait = _seconds(retry_after) or _seconds(details.get("retryAfterSeconds"))
    return ApiError(
        status or said.code or 500, said.reason or "Unknown", said.message or "", wait, details
    )


def _seconds(value: Any) -> float | None:
    """Whole seconds; dates, which API servers do not send, and nonsense count as nothing."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found > 0 else None


class Client:
    """One cluster's API. An async context manager; one per process and account.

    `qps` (0: no limit) and `burst` bound the requests a second as client-go's flow control does,
    `connections` those under way at once; watches and logs have connections of their own.
    `may_write` is asked right before whatever is no GET goes out: a leader that was stopped in mid
    work does not know yet that it leads no more. What may not go out is `Unreachable`.
    """

    def __init__(
        self,
        access: Access,
        *,
        qps: float = 50.0,
        burst: int = 100,
        connections: int = 64,
        timeout_s: float = 30.0,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.access = access
        self._may_write = may_write
        self._bucket = TokenBucket(qps, burst, lambda: asyncio.get_running_loop().time())
        self._connections, self._timeout_s = connections, timeout_s
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._tls: dict[str, Any] = {}
        if access.server_name is not None:
            self._tls["server_hostname"] = access.server_name
        if access.proxy is not None:
            self._tls["proxy"] = access.proxy

    async def __aenter__(self) -> Self:
        self._requests = self._session(self._connections)
        self._streams = self._session(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any | bytes | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
        limited: bool = True,
        attempts: int = ATTEMPTS,
    ) -> bytes:
        """Ask once, and again only where that is safe; what is not bytes goes out as JSON.

        GET: repeated after a broken connection, and after 429 or 503 with Retry-After. Anything
        else: after 429 with Retry-After only, which the server sends before it does anything
        (except on evictions, where it is the answer). `attempts=1` never repeats.
        Raises `ApiError`, `Unreachable`.
        """
        data = body if body is None or isinstance(body, bytes) else _ENCODER.encode(body)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        for left in reversed(range(attempts)):
            try:
                return await self._once(method, path, query, data, content_type, limit_s, limited)
            except (ApiError, Unreachable) as problem:
                wait_s = _pause_s(problem, method, path) if left else None
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s * random.uniform(1.0, 1.2))
        raise AssertionError("attempts is at least 1")

    async def pages(
        self, path: str, *, page_size: int = 500, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[tuple[bytes, ...], None]:
        """A consistent list, page by page: the JSON of each object. Raises `ApiError` 410 where
        the list expired between two pages (start over), `Unreachable`."""
        asks = {**(query or {}), "limit": str(page_size)}
        while True:
            answer = await self.request("GET", path, query=asks)
            try:
                page = _LIST.decode(answer)
            except UNDECODABLE as problem:
                raise Unreachable(f"{path}: not a list: {problem}") from None
            yield tuple(bytes(item) for item in page.items or ())
            if not page.metadata.continue_:
                return
            asks["continue"] = page.metadata.continue_

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Events after a version, one JSON line each, bookmarks among them; see `watch_batches`."""
        batches = self.watch_batches(
            path, resource_version=resource_version, timeout_s=timeout_s, query=query
        )
        async with aclosing(batches):
            async for lines in batches:
                for line in lines:
                    yield line

    async def watch_batches(
        self,
        path: str,
        *,
        resource_version: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[tuple[bytes, ...], None]:
        """As `watch`, all lines that are there now at once (up to about a megabyte), and none when
        the server has answered that it watches. Not held back by `qps`: a queue of writes must not
        make us blind, and who watches keeps his own pace.

        Ends when the server ends it, which is asked to after `timeout_s`. Raises `ApiError` (410:
        the version is too old), `Unreachable` where the stream breaks off.
        """
        asks = {
            **(query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        async with self._stream(path, asks, timeout_s + WATCH_MARGIN_S) as response:
            yield ()
            async for lines in whole_lines(response.content.iter_any()):
                yield lines

    async def text(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        limit_bytes: int = 1 << 20,
        timeout_s: float | None = None,
    ) -> str:
        """The first `limit_bytes` of a text, such as a pod's log; bytes that are not UTF-8 are
        replaced. Raises `ApiError`, `Unreachable`."""
        await self._wait_turn()
        async with self._stream(path, query, timeout_s or self._timeout_s) as response:
            return (await _start(response, limit_bytes)).decode("utf-8", "replace")

    def _session(self, connections: int) -> aiohttp.ClientSession:
        # TCP_NODELAY is aiohttp's default. On loopback compression only costs both sides time.
        tls = self.access.tls if self.access.tls is not None else True
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, ssl=tls, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60
            ),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity" if self.access.loopback else "gzip",
                "User-Agent": "cerebrum",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BYTES,
            trust_env=False,
        )
        # By itself aiohttp repeats a PUT or DELETE whose connection broke, and there is no public
        # switch: a test holds that we do not.
        session._retry_connection = False
        return session

    async def _wait_turn(self) -> None:
        delay_s = self._bucket.reserve()
        if delay_s > 0:
            try:
                await asyncio.sleep(delay_s)
            except asyncio.CancelledError:
                self._bucket.give_back()
                raise

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        timeout_s: float,
        limited: bool,
    ) -> bytes:
        if limited:
            await self._wait_turn()
        if method not in _SAFE and not self._may_write():
            raise Unreachable(f"{method} {path}: not sent, somebody else may be acting by now")
        headers = {} if data is None else {"Content-Type": content_type}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        asked = self._asked(self._requests, method, path, query, headers, timeout, data)
        async with asked as response:
            return await _whole(response)

    @asynccontextmanager
    async def _stream(
        self, path: str, query: Mapping[str, str] | None, timeout_s: float
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        async with self._asked(self._streams, "GET", path, query, {}, timeout) as response:
            yield response

    @asynccontextmanager
    async def _asked(
        self,
        session: aiohttp.ClientSession | None,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
        data: bytes | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """An answer that is not an error; 401 is tried once more with the token read again."""
        if session is None:
            raise RuntimeError("a Client is used inside `async with`")
        url = self.access.server + path + ("?" + urlencode(query) if query else "")
        address = URL(url, encoded=True)
        try:
            token = await self.access.credentials.token()
            for again in (True, False):
                if token is not None:
                    headers["Authorization"] = f"Bearer {token}"
                async with session.request(
                    method, address, data=data, headers=headers, timeout=timeout,
                    allow_redirects=False, **self._tls,
                ) as response:  # fmt: skip
                    if response.status < 300:
                        try:
                            yield response
                        finally:
                            _break_off(response)
                        return
                    body = await _start(response, MAX_ERROR_BYTES)
                    problem = api_error(body, response.status, response.headers.get("Retry-After"))
                if response.status != 401 or not again:
                    raise problem
                rejected, token = token, await self.access.credentials.token(rejected=token)
                if token == rejected:
                    raise problem
        except ConfigError as problem:  # a token file or plugin: may work again in a moment
            raise Unreachable(f"{method} {path}: {problem}") from problem
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            # Cancelled while it connects, the library may say that connecting failed.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from problem
            why = f"{type(problem).__name__}: {problem}".removesuffix(": ")
            late = isinstance(problem, TimeoutError)
            raise Unreachable(f"{method} {path}: {why}", timed_out=late) from problem


def _break_off(response: aiohttp.ClientResponse) -> None:
    """End the connection of an answer that was not read to its end, here and now: a farewell of
    TLS would still be under way, and the socket open, when the event loop is closed."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def whole_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, ...], None]:
    """The complete lines of a stream, as many at once as there are; half a line at its end is
    dropped. Raises `Unreachable` at a line without an end."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise Unreachable(f"a line of the watch is longer than {MAX_LINE_BYTES:,} bytes")
        if whole := tuple(line for line in lines if line):
            yield whole


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    first = await response.content.readany()
    if response.content.at_eof():
        return first
    parts, size = [first], len(first)
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise Unreachable(f"an answer is longer than {MAX_ANSWER_BYTES:,} bytes: use pages")
    return b"".join(parts)


async def _start(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) >= limit_bytes:
            break
    return bytes(found[:limit_bytes])


def _pause_s(problem: ApiError | Unreachable, method: str, path: str) -> float | None:
    """How long to wait before asking again; None where that is not safe, or not worth it."""
    safe = method in _SAFE
    if isinstance(problem, Unreachable):
        return RESET_PAUSE_S if safe and not problem.timed_out else None
    wait_s = problem.retry_after_s
    if wait_s is None or wait_s > LONGEST_WAIT_S:
        return None
    undone = problem.status == 429 and not path.endswith("/eviction")
    return wait_s if undone or (safe and problem.status == 503) else None
