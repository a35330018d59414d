"""What every server has: version, health, metrics, documentation."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cerebrum import __version__
from cerebrum.services.api import views

router = APIRouter(tags=["service"])
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
_ASSETS = {
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
}


@router.get("/api/v1/version")
async def version(request: Request) -> views.Version:
    """Version and role of this server."""
    return views.Version(version=__version__, role=request.app.state.role)


@router.get("/healthz", response_class=Response, responses=_TEXT)
async def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", media_type="text/plain")


def metrics_text(request: Request) -> Response:
    """The application's metrics in Prometheus' text form."""
    text = generate_latest(request.app.state.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The API's documentation, from /openapi.json. Nothing of it comes from elsewhere."""
    return await run_in_threadpool(_asset, "docs.html")


async def docs_page(tag: str) -> Response:
    """The documentation of the operations with that tag alone."""
    page = (await run_in_threadpool(_read, "docs.html")).decode()
    return Response(
        page.replace('<main id="operations">', f'<main id="operations" data-tag="{tag}">'),
        media_type=_ASSETS["docs.html"],
    )


@router.get("/docs/{name}", include_in_schema=False)
async def docs_asset(name: str) -> Response:
    """Its script and its style."""
    if name not in _ASSETS:
        return Response(status_code=404)
    return await run_in_threadpool(_asset, name)


@cache
def _read(name: str) -> bytes:
    return files("cerebrum.services.api").joinpath("static", name).read_bytes()


def _asset(name: str) -> Response:
    return Response(_read(name), media_type=_ASSETS[name])
