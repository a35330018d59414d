"""`/api/v1/events`: the history, as a page or as a stream that goes on (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from cerebrum.services.api import reads, views
from cerebrum.services.api._shared import READ_ERRORS, TheController, TheStore, Viewer
from cerebrum.services.api.pages import Limit, NameFilter
from cerebrum.services.api.problems import declared
from cerebrum.services.controller import Controller
from cerebrum.services.errors import Refused
from cerebrum.services.ports import Store

router = APIRouter(prefix="/api/v1", tags=["events"])
MAX_STREAMS = 256
PAGE = 500
KEEP_ALIVE_S = 15.0
Seq = Annotated[int | None, Query(ge=0, le=2**53, description="Events after this one.")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


@router.get("/events", response_model=views.Events, responses=_STREAM | declared(*READ_ERRORS, 429))
async def list_events(
    request: Request,
    caller: Viewer,
    store: TheStore,
    controller: TheController,
    after: Seq = None,
    workflow: NameFilter = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
    stream: Annotated[bool, Query(description="false: one page of JSON.")] = True,
    limit: Limit = 100,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,15}$")] = None,
) -> Any:
    """What happened. As a stream it starts with what comes from now on, unless `after` is given.

    A browser that reconnects sends `Last-Event-ID` and misses nothing.
    """
    if workflow is not None:
        await store.read(partial(reads.visible, caller=caller, id=workflow))
    read = partial(reads.events_after, caller=caller, workflow_id=workflow, kind=kind)
    if not stream:
        start = after or 0
        items = await store.read(partial(read, after=start, limit=limit))
        page = views.Events(items=items, next=items[-1].seq if items else start)
        return Response(page.model_dump_json(), media_type="application/json")
    if last_event_id is not None:
        after = int(last_event_id)
    if after is None:
        after = await store.read(reads.last_seq)
    return _streamed(request, _Follow(store, controller, request.app.state.stopping, read, after))


def _streamed(request: Request, follow: _Follow) -> Response:
    streams: set[_Follow] = request.app.state.streams
    if len(streams) >= MAX_STREAMS:
        raise Refused(429, "too much at once", f"{MAX_STREAMS} streams are open", 10.0)
    streams.add(follow)

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for chunk in follow.lines():
                yield chunk
        finally:
            streams.discard(follow)

    return StreamingResponse(lines(), media_type="text/event-stream")


class _Follow:
    """One reader's place in the history. A slow one holds up nobody: it reads pages at its pace."""

    def __init__(
        self, store: Store, controller: Controller, stopping: asyncio.Event, read: Any, after: int
    ) -> None:
        self._store, self._controller, self._stopping = store, controller, stopping
        self._read, self._after = read, after

    async def lines(self) -> AsyncIterator[bytes]:
        """Events as they come, and a comment now and then, so that no proxy ends the silence."""
        yield b"retry: 2000\n\n"
        while not self._stopping.is_set():
            upto = await self._store.read(reads.last_seq)
            found: list[views.EventView] = await self._store.read(
                partial(self._read, after=self._after, limit=PAGE)
            )
            if found:
                yield b"".join(map(_event, found))
            if found:
                self._after = found[-1].seq
            if len(found) < PAGE:
                # With a filter, what it skips need not be looked at again.
                self._after = max(upto, self._after)
                if not await self._more():
                    yield b": still here\n\n"

    async def _more(self) -> bool:
        """Wait for something new, or for the end of the server; whether there may be."""
        waits = [
            asyncio.ensure_future(self._controller.wait_events(self._after, KEEP_ALIVE_S)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return any(wait.result() for wait in done)
        finally:
            for wait in waits:
                wait.cancel()


def _event(event: views.EventView) -> bytes:
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n".encode()
