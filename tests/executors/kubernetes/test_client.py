"""The client over real connections: what it sends, what it repeats, and what it never repeats."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec
import pytest
from aiohttp import web

from cerebrum.executors.kubernetes import client as module
from cerebrum.executors.kubernetes._credentials import TokenFile
from cerebrum.executors.kubernetes._rate import TokenBucket
from cerebrum.executors.kubernetes.access import Access, tls_context
from cerebrum.executors.kubernetes.client import ApiError, Client, Unreachable, whole_lines
from cerebrum.model.errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Script:
    """Answers from a list, the last one for ever; remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer == "late":
            await asyncio.sleep(5)
        if isinstance(answer, int):
            return status(answer)
        return answer() if callable(answer) else web.Response(text=str(answer))


def status(code: int, retry_after: str | None = None, **more: Any) -> web.Response:
    said = {"kind": "Status", "code": code, "reason": f"Because{code}", "message": "no", **more}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return web.json_response(said, status=code, headers=headers)


def play(script: Script, story: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with answering(script) as url:
            access = Access(url, **options.pop("access", {}))
            async with Client(access, **({"qps": 0} | options)) as client:
                return await story(client)

    return asyncio.run(run())


class Tokens:
    """Gives another token after each refusal."""

    def __init__(self) -> None:
        self.n = 0

    async def token(self, rejected: str | None = None) -> str | None:
        self.n += rejected == f"token-{self.n}"
        return f"token-{self.n}"


def test_a_request_carries_body_query_type_and_token() -> None:
    script = Script("fine")

    class Body(msgspec.Struct):
        x: int

    async def story(client: Client) -> bytes:
        query = {"fieldManager": "a b&c"}
        await client.request("POST", "/api/v1/pods/a/binding", body=Body(3), query=query)
        return await client.request(
            "PATCH", "/api/v1/x", body=b"[]", content_type="application/json-patch+json"
        )

    assert play(script, story, access={"credentials": Tokens()}) == b"fine"
    post, patch = script.asked
    assert post.query["fieldManager"] == "a b&c"
    assert script.bodies == [b'{"x":3}', b"[]"]
    assert post.headers["Content-Type"] == "application/json"
    assert patch.headers["Content-Type"] == "application/json-patch+json"
    assert post.headers["Authorization"] == "Bearer token-0"
    assert post.headers["Accept-Encoding"] == "identity"  # on loopback
    assert post.transport is patch.transport  # one connection, kept


def test_who_may_not_write_any_more_sends_nothing_but_reads_on() -> None:
    script = Script("fine")

    async def story(client: Client) -> bytes:
        with pytest.raises(Unreachable, match="not sent"):
            await client.request("POST", "/api/v1/pods/a/binding", body=b"{}")
        return await client.request("GET", "/api/v1/pods/a")

    assert play(script, story, may_write=lambda: False) == b"fine"
    assert [request.method for request in script.asked] == ["GET"]


def test_a_refusal_is_told_in_the_servers_words() -> None:
    script = Script(lambda: status(409, details={"retryAfterSeconds": 7, "name": "pod"}))
    with pytest.raises(ApiError) as caught:
        play(script, lambda c: c.request("POST", "/x", body={}))
    error = caught.value
    assert (error.status, error.reason, error.message) == (409, "Because409", "no")
    assert error.retry_after_s == 7
    assert error.details["name"] == "pod"


def test_a_refusal_that_is_not_json_is_shown_as_text() -> None:
    script = Script(lambda: web.Response(status=502, text="<html>bad\n gateway"))
    with pytest.raises(ApiError, match="502 Unknown: <html>bad gateway"):
        play(script, lambda c: c.request("GET", "/x"))


# --- what is repeated ---


@pytest.mark.parametrize(
    ("method", "answers", "asked"),
    [
        ("GET", ["reset", "reset", "fine"], 3),
        ("GET", [lambda: status(503, "0.01"), "fine"], 2),
        ("GET", [lambda: status(429, "0.01"), "fine"], 2),
        ("POST", [lambda: status(429, "0.01"), "fine"], 2),
        ("PATCH", [lambda: status(429, "0.01"), "fine"], 2),
    ],
)
def test_what_is_safe_is_repeated(method: str, answers: list[Any], asked: int) -> None:
    script = Script(*answers)
    assert play(script, lambda c: c.request(method, "/x")) == b"fine"
    assert len(script.asked) == asked


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/x", "reset"),
        ("PUT", "/x", "reset"),
        ("DELETE", "/x", "reset"),
        ("POST", "/x", lambda: status(503, "0.01")),
        ("POST", "/x", lambda: status(500, "0.01")),
        ("POST", "/pods/a/eviction", lambda: status(429, "0.01")),
        ("POST", "/x", lambda: status(429)),
        ("GET", "/x", lambda: status(429, "3600")),
        ("GET", "/x", lambda: status(429, "nan")),
        ("GET", "/x", 500),
        ("GET", "/x", 410),
        ("GET", "/x", lambda: web.Response(status=302, headers={"Location": "/y"})),
    ],
)
def test_what_may_have_been_done_is_asked_once(method: str, path: str, answer: Any) -> None:
    script = Script(answer, "fine")
    with pytest.raises((ApiError, Unreachable)):
        play(script, lambda c: c.request(method, path, body=b"{}"))
    assert len(script.asked) == 1


def test_attempts_end() -> None:
    script = Script("reset")
    with pytest.raises(Unreachable):
        play(script, lambda c: c.request("GET", "/x"))
    assert len(script.asked) == module.ATTEMPTS
    script = Script("reset")
    with pytest.raises(Unreachable):
        play(script, lambda c: c.request("GET", "/x", attempts=1))
    assert len(script.asked) == 1


def test_a_late_answer_is_unreachable_and_not_asked_for_again() -> None:
    script = Script("late")
    with pytest.raises(Unreachable) as caught:
        play(script, lambda c: c.request("GET", "/x", timeout_s=0.05))
    assert caught.value.timed_out
    assert len(script.asked) == 1


def test_after_401_the_token_is_read_again_once() -> None:
    script = Script(401, "fine")
    options = {"access": {"credentials": Tokens()}}
    assert play(script, lambda c: c.request("POST", "/x", body=b"1"), **options) == b"fine"
    assert [r.headers["Authorization"][-1] for r in script.asked] == ["0", "1"]
    assert script.bodies == [b"1", b"1"]
    script, options = Script(401), {"access": {"credentials": Tokens()}}
    with pytest.raises(ApiError, match="401"):
        play(script, lambda c: c.request("POST", "/x"), **options)
    assert len(script.asked) == 2


def test_a_token_that_cannot_be_had_is_trouble_like_any_other(tmp_path: Path) -> None:
    options = {"access": {"credentials": TokenFile(tmp_path / "gone")}}
    with pytest.raises(Unreachable, match="gone: cannot be read"):
        play(Script("fine"), lambda c: c.request("GET", "/x", attempts=1), **options)


def test_nobody_listens() -> None:
    async def story() -> None:
        async with Client(Access("http://127.0.0.1:9")) as client:
            with pytest.raises(Unreachable, match="Connect"):
                await client.request("GET", "/x")

    asyncio.run(story())


# --- streams ---


def stream(*chunks: bytes, cut: bool = False) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return handle


def test_a_watch_gives_whole_lines_and_drops_half_a_line() -> None:
    async def story() -> None:
        handler = stream(b'{"a":1}\n{"b"', b":2}\n", b'{"c":3}\n{"d":', cut=True)
        async with answering(handler) as url, Client(Access(url)) as client:
            watch = client.watch("/w", resource_version="7", timeout_s=5)
            assert await anext(watch) == b'{"a":1}'
            assert await anext(watch) == b'{"b":2}'
            assert await anext(watch) == b'{"c":3}'
            with pytest.raises(Unreachable):
                await anext(watch)

    asyncio.run(story())


def test_a_watch_says_that_it_is_answered_before_anything_happens() -> None:
    """Of a kind that never changes nothing else is heard: it is the sign of life."""

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async def story() -> None:
        async with answering(silent) as url, Client(Access(url)) as client:
            watch = client.watch_batches("/w", resource_version="7", timeout_s=5)
            async with aclosing(watch):
                assert await asyncio.wait_for(anext(watch), 5) == ()

    asyncio.run(story())


def test_a_watch_asks_for_bookmarks_from_its_version_on() -> None:
    script = Script("")

    async def story(client: Client) -> None:
        watch = client.watch(
            "/w", resource_version="7", timeout_s=9.6, query={"labelSelector": "a"}
        )
        assert [line async for line in watch] == []

    play(script, story)
    assert dict(script.asked[0].query) == {
        "labelSelector": "a", "watch": "true", "allowWatchBookmarks": "true",
        "resourceVersion": "7", "timeoutSeconds": "10",
    }  # fmt: skip


def test_watches_do_not_take_the_connections_of_requests() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/x":
            return web.Response(text="fine")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"1\n")
        await asyncio.sleep(60)
        return response

    async def story() -> None:
        async with answering(handle) as url, Client(Access(url), connections=1) as client:
            watches = [client.watch("/w", resource_version="1", timeout_s=60) for _ in range(5)]
            assert [await anext(watch) for watch in watches] == [b"1"] * 5
            assert await client.request("GET", "/x", timeout_s=5) == b"fine"
            for watch in watches:
                await watch.aclose()

    asyncio.run(story())


def test_a_line_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10

    async def story() -> None:
        with pytest.raises(Unreachable, match="longer than"):
            async for _ in whole_lines(chunks()):
                pass

    asyncio.run(story())


def test_an_answer_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1000)

    async def story() -> None:
        async with answering(stream(*[b"x" * 100] * 50)) as url, Client(Access(url)) as client:
            with pytest.raises(Unreachable, match="use pages"):
                await client.request("GET", "/x")

    asyncio.run(story())


def test_text_is_read_up_to_a_limit() -> None:
    async def story() -> None:
        handler = stream("zwölf\n".encode() * 10, b"\xff\n" * 1000)
        async with answering(handler) as url, Client(Access(url)) as client:
            assert await client.text("/log", limit_bytes=7) == "zwölf\n"
            assert (await client.text("/log", limit_bytes=100)).endswith(
                "\N{REPLACEMENT CHARACTER}\n"
            )

    asyncio.run(story())


def test_pages_follow_the_token_and_an_empty_list_is_null() -> None:
    def page(token: str, *items: str) -> str:
        metadata = {"resourceVersion": "5", "continue": token}
        return json.dumps({"metadata": metadata, "items": list(items) or None})

    script = Script(page("next", "a", "b"), page(""))

    async def story(client: Client) -> list[tuple[bytes, ...]]:
        return [objects async for objects in client.pages("/x", page_size=2)]

    assert play(script, story) == [(b'"a"', b'"b"'), ()]
    assert [dict(r.query) for r in script.asked] == [
        {"limit": "2"}, {"limit": "2", "continue": "next"},
    ]  # fmt: skip


# --- how often ---


def test_the_bucket_lets_a_burst_pass_and_then_so_many_a_second() -> None:
    now = [0.0]
    bucket = TokenBucket(10.0, 3, lambda: now[0])
    assert [round(bucket.reserve(), 6) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]
    now[0] = 0.2
    assert round(bucket.reserve(), 6) == 0.1
    bucket.give_back()
    assert round(bucket.reserve(), 6) == 0.1
    now[0] = 100.0
    assert [round(bucket.reserve(), 6) for _ in range(4)] == [0, 0, 0, 0.1]


def test_requests_wait_for_their_turn_unless_they_must_not() -> None:
    script = Script("fine")

    async def story(client: Client) -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await asyncio.gather(*[client.request("GET", "/x") for _ in range(12)])
        lasted_s = loop.time() - began_s
        await asyncio.wait_for(client.request("GET", "/x", limited=False), 5)
        return lasted_s

    assert play(script, story, qps=20, burst=2) >= 0.49  # ten of them wait 50 ms each


@pytest.mark.parametrize("bad", [{"qps": -1.0}, {"qps": float("nan")}, {"burst": 0}])
def test_limits_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="or more"):
        Client(Access("http://127.0.0.1:9"), **bad)


# --- TLS ---


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server and for us; it names the host `kube`."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=kube",
         "-addext", "subjectAltName=DNS:kube"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return served, tls_context((folder / "cert.pem").read_text())


@contextmanager
def elsewhere(handler: Handler, tls: ssl.SSLContext) -> Iterator[str]:
    """A server on an event loop of its own, which goes on when ours is closed."""
    found, over = Queue[str](), threading.Event()

    async def serve() -> None:
        async with answering(handler, tls) as url:
            found.put(url)
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield found.get(timeout=60)
    finally:
        over.set()
        thread.join()


@pytest.mark.needs(command="openssl")
def test_an_answer_that_is_left_leaves_no_open_socket(tmp_path: Path) -> None:
    """An event loop that is about to be closed has no time for a server's farewell."""
    served, tls = certificate(tmp_path)

    async def begins(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        time.sleep(0.5)  # and answers nobody meanwhile
        return response

    async def story(url: str) -> None:
        async with Client(Access(url, tls=tls, server_name="kube")) as client:
            watch = client.watch("/x", resource_version="1", timeout_s=60)
            async with aclosing(watch):
                assert await anext(watch) == b"{}"

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        with elsewhere(begins, served) as url:
            asyncio.run(story(url))
            gc.collect()
    assert [str(one.message) for one in said if "unclosed" in str(one.message)] == []


@pytest.mark.needs(command="openssl")
def test_the_servers_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    served, tls = certificate(tmp_path)

    async def ask(access: Access) -> bytes:
        async with Client(access) as client:
            return await client.request("GET", "/x", attempts=1)

    async def story() -> None:
        async with answering(Script("fine"), served) as url:
            assert await ask(Access(url, tls=tls, server_name="kube")) == b"fine"
            with pytest.raises(Unreachable, match="certificate"):
                await ask(Access(url, tls=tls))
            with pytest.raises(Unreachable, match="certificate"):
                await ask(Access(url, tls=tls_context(), server_name="kube"))

    asyncio.run(story())
