"""A process that serves learned models and nothing else: `/schedule`, `/score`.

It holds no state and no database. What a kind of model needs is imported for that kind alone: to
serve a bidder takes NumPy and no compiler, and well under 200 MB.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from contextlib import suppress

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.auction import Auction
from cerebrum.services.api import bidding, serve, service, views
from cerebrum.services.api.auth import Caller, Guard, Scope, TokenBook, hashed
from cerebrum.services.api.problems import declared
from cerebrum.services.api.settings import ModelsSettings
from cerebrum.services.api.shell import bare
from cerebrum.services.telemetry import HttpMetrics, configure_logs, registry

ABOUT = """Learned models of Cerebrum. They answer, nothing is bound and nothing is kept."""
TOKEN_HINT = "set CEREBRUM_API_TOKEN to what callers have to show"
EVERYBODY = Caller("caller", frozenset({Scope.VIEWER}))
_log = structlog.get_logger("cerebrum.models")
router = APIRouter(tags=["service"])


class OneToken:
    """A `TokenBook` of one secret; without it everybody on this machine may ask."""

    def __init__(self, secret: str) -> None:
        self._hash = hashed(secret) if secret else ""

    async def caller(self, secret: str) -> Caller | None:
        """Whose token that is."""
        same = self._hash and hmac.compare_digest(self._hash, hashed(secret))
        return EVERYBODY if same else None

    async def open(self) -> bool:
        """Whether no token was set."""
        return not self._hash


@router.get("/readyz", responses=declared(500))
async def readyz() -> views.Done:
    """The models are loaded: they were before the server listened."""
    return views.Done(status="ready")


@router.get(
    "/metrics", dependencies=[Depends(Guard(Scope.VIEWER))], response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    | declared(401, 403, 500),
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return service.metrics_text(request)


def models_app(tokens: TokenBook, auction: Auction | None = None) -> FastAPI:
    """The application around models that are loaded."""
    found = registry()
    app = bare("Cerebrum models", ABOUT, HttpMetrics(found))
    app.state.tokens, app.state.registry, app.state.role = tokens, found, "models"
    app.state.auction = auction
    if auction is not None:
        app.include_router(bidding.router)
    app.include_router(router)
    app.include_router(service.router)
    return app


async def run_models(
    settings: ModelsSettings, ready: Callable[[str], None] | None = None, *, logs: bool = True
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. `ready` gets the address.

    Raises `ConfigError` before anything is served.
    """
    if logs:
        configure_logs(settings.log_format, settings.log_level)
    path = artefacts.find(settings.model)
    auction = Auction(artefacts.read(path))
    tokens = OneToken(settings.api_token.get_secret_value())
    await serve.check_exposure(settings.host, tokens, TOKEN_HINT)
    with serve.listen(settings) as listening:
        url = serve.address(settings, listening)
        _log.info("listening", url=url, model=auction.card.name, version=auction.card.version)
        if ready is not None:
            ready(url)
        return await serve.serve(models_app(tokens, auction), settings, listening, _for_ever)


async def _for_ever() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
