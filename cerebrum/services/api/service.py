"""What every server has: version, health, metrics, documentation."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, Response

from cerebrum import __version__
from cerebrum.services.api import views

router = APIRouter(tags=["service"])
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
_OURS = files("cerebrum.services.api") / "static"
_ASSETS = {"docs.js": _OURS, "swagger-ui-bundle.js": None, "swagger-ui.css": None}
"""Which folder each is in; None: that of the package that carries Swagger UI."""


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
    """Swagger UI on /openapi.json. Nothing of it comes from elsewhere."""
    return await docs_page("")


async def docs_page(tag: str) -> Response:
    """The same with the operations of one tag opened, and the others filtered out."""
    page = (await run_in_threadpool((_OURS / "docs.html").read_bytes)).decode()
    return HTMLResponse(page.replace('data-tag=""', f'data-tag="{tag}"'))


@router.get("/docs/{name}", include_in_schema=False)
async def docs_asset(name: str) -> Response:
    """Its scripts and its style."""
    if name not in _ASSETS:
        return Response(status_code=404)
    folder = _ASSETS[name] or files("fastapi_offline") / "static"
    return FileResponse(str(folder / name), headers={"cache-control": "max-age=3600"})
