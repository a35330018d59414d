"""Around every request: metrics, security headers, and what is refused at sight.

A plain ASGI middleware: Starlette's own wrapper costs a task per request and breaks streaming.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cerebrum.services.api.bodies import MAX_BODY_BYTES
from cerebrum.services.api.problems import MalformedBody, problem
from cerebrum.services.telemetry import HttpMetrics

TOO_LARGE = f"expected at most {MAX_BODY_BYTES // 2**20} MiB"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
)


class Surroundings:
    """ASGI middleware; `metrics` gets each answered request."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in HEADERS if header[0] not in given),
                ]
            await send(message)

        self.metrics.under_way.inc()
        try:
            refusal = _refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, watched)
            else:
                await self.app(scope, _counted(receive), watched)
        finally:
            self.metrics.under_way.dec()
            seconds = time.perf_counter() - start
            self.metrics.observe(_route(scope), _method(scope), status, seconds)


def _refusal(scope: Scope) -> Response | None:
    """What needs no look at the body."""
    if _has_nul(scope):
        return problem(400, "malformed request", "expected an address without %00")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > MAX_BODY_BYTES:
            # The rest of the body will not be read, so the connection is of no more use.
            return problem(413, "body too large", TOO_LARGE, headers={"Connection": "close"})
    return None


def _counted(receive: Receive) -> Receive:
    """A body without a length is counted as it comes."""
    total = 0

    async def counting() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MAX_BODY_BYTES:
            raise MalformedBody(413, "body too large", TOO_LARGE)
        return message

    return counting


def _has_nul(scope: Scope) -> bool:
    return "\0" in scope["path"] or b"%00" in scope.get("query_string", b"")


def _route(scope: Scope) -> str:
    """The template, such as /api/v1/workflows/{id}: an id in a label would grow without bound."""
    route: Any = scope.get("route")
    return getattr(route, "path", "") or "other"


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"
