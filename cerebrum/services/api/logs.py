"""Logs of a run, asked of the agent that keeps them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from cerebrum.model.errors import NotFound
from cerebrum.services.errors import Unreachable

LIMIT_BYTES = 2**20
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class LogSource:
    """A run, and the agent to ask. `identity` is the secret that agent registered with."""

    run_id: str
    url: str
    identity: str


def agent_key(identity: str) -> str:
    """The token by which a controller shows itself to an agent.

    Both know the agent's identity, nobody else does; a caller's own token is never passed on.
    """
    return hmac.new(identity.encode(), b"controller", hashlib.sha256).hexdigest()


async def from_agent(
    client: httpx.AsyncClient, source: LogSource, stream: str, offset: int
) -> bytes:
    """At most 1 MiB. Raises `NotFound`, or `Unreachable` when the agent does not answer.

    The address is what an agent said of itself: it is asked for one path, no redirect is followed,
    and what it answers is text.
    """
    if urlsplit(source.url).scheme not in ("http", "https"):
        raise NotFound("the cluster's agent has no address that could be asked for logs")
    url = f"{source.url.rstrip('/')}/api/v1/runs/{source.run_id}/logs"
    query: dict[str, str | int] = {"stream": stream, "offset": offset, "limit": LIMIT_BYTES}
    headers = {"authorization": f"Bearer {agent_key(source.identity)}"}
    try:
        async with client.stream(
            "GET", url, params=query, headers=headers, timeout=TIMEOUT_S
        ) as response:
            if response.status_code == 404:
                raise NotFound(f"the agent has no logs of run {source.run_id}")
            if response.status_code != 200:
                raise Unreachable(f"the cluster's agent answers with {response.status_code}")
            return await _bounded(response)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise Unreachable(f"the cluster's agent does not answer: {type(error).__name__}") from error


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= LIMIT_BYTES:
            break
    return bytes(body[:LIMIT_BYTES])
