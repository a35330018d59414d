"""Bodies: read once, parsed once, straight from bytes into a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel

from cerebrum.services.api.problems import MalformedBody

M = TypeVar("M", bound=BaseModel)
MIB = 2**20
MAX_BODY_BYTES = 64 * MIB
"""A workflow of 100,000 tasks takes about 30 MB."""
LARGE_BYTES = 128 * 1024
"""Above this, parsing would hold up the event loop: it goes to a thread."""

JSON_TYPES = ("application/json", "application/octet-stream")
# U+0000 cannot be stored by PostgreSQL, and no text of ours needs it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def json_body(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A FastAPI dependency: the body as `model`. Describe it with `documented(model)`."""

    async def read(request: Request) -> M:
        content_type(request, JSON_TYPES[:1])
        return await parsed(model, await request.body())

    return read


async def parsed(model: type[M], body: bytes) -> M:
    """Validate, off the event loop when it is much."""
    refuse_nul(body)
    if len(body) > LARGE_BYTES:
        return await asyncio.to_thread(model.model_validate_json, body)
    return model.model_validate_json(body)


def refuse_nul(body: bytes) -> None:
    """Raises `MalformedBody` for a NUL character, written out or escaped."""
    # The plain look-up is a hundred times faster, and nearly always the end of it.
    if b"\0" in body or (b"\\u0000" in body and _NUL.search(body)):
        raise MalformedBody(400, "malformed request", "expected text without NUL characters")


def content_type(request: Request, accepted: tuple[str, ...]) -> str:
    """The media type of the body, which must be one of `accepted`.

    A page in a browser can send text/plain or a form to any address without being asked; these
    are refused also because a controller on loopback may be open.
    """
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in accepted:
        raise MalformedBody(
            415, "unsupported media type",
            f"expected Content-Type {' or '.join(accepted)}, got {given[:100]!r}",
        )  # fmt: skip
    return kind


def documented(*models: type[BaseModel], media_types: tuple[str, ...] = ()) -> dict[str, Any]:
    """`openapi_extra` of a route that takes one of these bodies. See `openapi.document`."""
    refs = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    content.update({kind: {"schema": {"type": "string"}} for kind in media_types})
    BODIES.update({model.__name__: model for model in models})
    return {"requestBody": {"required": True, "content": content}}


BODIES: dict[str, type[BaseModel]] = {}
"""Models that only occur as bodies, which FastAPI does not see."""
