"""The extender's routes: kube-scheduler asks at `/extender/{filter,prioritize,bind,preempt}`.

kube-scheduler waits for each answer before it goes on, and with a thousand names a body, so these
are bare routes: the body goes from bytes into typed structs and back, without pydantic. It can send
no bearer token; an address such as `https://kube-scheduler:TOKEN@agent:8001/extender` makes it send
Basic credentials, whose password is the token.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cerebrum.model.errors import NotFound
from cerebrum.services.api.auth import Scope, TokenBook, Unauthenticated, identified
from cerebrum.services.api.problems import MalformedBody
from cerebrum.services.errors import Refused

if TYPE_CHECKING:
    from cerebrum.executors.kubernetes.extender import Extender
    from cerebrum.services.api.kubernetes import KubernetesCluster

T = TypeVar("T")
MAX_BYTES = 32 * 2**20
"""A thousand whole nodes are about ten."""


def routes(cluster: KubernetesCluster, tokens: TokenBook, open_: bool) -> list[Route]:
    """The four routes. `open_` answers questions without a token; binds always need one."""
    from cerebrum.executors.kubernetes import extender_forms as forms

    async def filter_(extender: Extender, body: bytes) -> Any:
        return extender.filter(_read(forms.ExtenderArgs, body))

    async def prioritize(extender: Extender, body: bytes) -> Any:
        return extender.prioritize(_read(forms.ExtenderArgs, body))

    async def bind(extender: Extender, body: bytes) -> Any:
        return forms.BindingResult(await extender.bind(_read(forms.BindingArgs, body)))

    async def preempt(extender: Extender, body: bytes) -> Any:
        return forms.PreemptionResult(extender.preempt(_read(forms.PreemptionArgs, body)))

    def route(verb: str, answer: Callable[[Extender, bytes], Awaitable[Any]]) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope["route"] = made  # as FastAPI's routes do, for the metrics
            if not open_ or verb == "bind":
                await _check_caller(request, tokens)
            body = await _body(request)
            said = await answer(_extender(cluster), body)
            return Response(_encoder.encode(said), media_type="application/json")

        made = Route(f"/extender/{verb}", endpoint, methods=["POST"])
        return made

    return [
        route("filter", filter_),
        route("prioritize", prioritize),
        route("bind", bind),
        route("preempt", preempt),
    ]


_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _read(kind: type[T], body: bytes) -> T:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        args: Any = decoder.decode(body)
        _check_size(args)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise MalformedBody(400, "malformed request", f"{kind.__name__}: {wrong}") from None
    return args


def _check_size(args: Any) -> None:
    """As many nodes as the largest clusters have, ten times over; whole ones have names."""
    from cerebrum.executors.kubernetes import extender_forms as forms

    if isinstance(args, forms.ExtenderArgs):
        count = len(forms.names_of(args))
    else:
        count = len(getattr(args, "meta", None) or getattr(args, "whole", None) or ())
    if count > forms.MAX_NODES:
        raise MalformedBody(400, "malformed request", f"expected at most {forms.MAX_NODES} nodes")


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) <= MAX_BYTES:
        return await request.body()
    parts: list[bytes] = []
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > MAX_BYTES:
            raise MalformedBody(413, "body too large", f"expected at most {MAX_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _extender(cluster: KubernetesCluster) -> Extender:
    """Raises `Refused` 503: an `ignorable` extender is left out then."""
    if problem := cluster.problem():
        raise Refused(503, "cluster unknown", problem, 1.0)
    if cluster.scheduler is None:
        raise Refused(503, "not the leader", "another process advises this cluster", 1.0)
    try:
        return cluster.scheduler.extender
    except NotFound as problem:
        raise Refused(503, "cluster unknown", str(problem), 1.0) from None


async def _check_caller(request: Request, tokens: TokenBook) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        caller = await tokens.caller(_password(given))
        if caller is None:
            raise Unauthenticated("this token is not valid (any more)")
    else:
        caller = await identified(request)
    if Scope.OPERATOR not in caller.scopes:
        raise Refused(403, "not allowed", f"this needs a token of scope {Scope.OPERATOR}")


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("expected Basic base64(name:TOKEN)") from None
