"""A process that serves learned models and nothing else: `/schedule`, `/score`.

It holds no state and no database. What a kind of model needs is imported for that kind alone: to
serve a bidder takes NumPy and no compiler, and well under 200 MB.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from cerebrum.model.errors import ConfigError
from cerebrum.policies import LEARNED
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.auction import Auction
from cerebrum.services.api import bidding, serve, service, views
from cerebrum.services.api.auth import Caller, Guard, Scope, TokenBook, hashed
from cerebrum.services.api.problems import declared
from cerebrum.services.api.server_settings import ModelsSettings
from cerebrum.services.api.shell import bare
from cerebrum.services.telemetry import HttpMetrics, configure_logs, registry

if TYPE_CHECKING:
    from cerebrum.services.scoring import Scoring

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


def models_app(
    tokens: TokenBook, auction: Auction | None = None, scoring: Scoring | None = None
) -> FastAPI:
    """The application around models that are loaded: the routes that they can answer."""
    found = registry()
    app = bare("Cerebrum models", ABOUT, HttpMetrics(found))
    app.state.tokens, app.state.registry, app.state.role = tokens, found, "models"
    app.state.auction = auction
    if auction is not None:
        app.include_router(bidding.router)
    if scoring is not None:
        from cerebrum.services.api import scoring as routes

        app.state.desk = routes.Desk(scoring)
        app.include_router(routes.router)
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
    auction, scoring = loaded(settings)
    tokens = OneToken(settings.api_token.get_secret_value())
    await serve.check_exposure(settings.host, tokens, TOKEN_HINT)
    with serve.listen(settings) as listening:
        url = serve.address(settings, listening)
        _log.info("listening", url=url, model=settings.model, policy=settings.policy)
        if ready is not None:
            ready(url)
        app = models_app(tokens, auction, scoring)
        return await serve.serve(app, settings, listening, _for_ever)


def loaded(settings: ModelsSettings) -> tuple[Auction | None, Scoring | None]:
    """What is to be served. Raises `ConfigError`."""
    if not settings.model and not settings.policy:
        raise ConfigError("expected a model, or a policy that scores").at(field="model")
    auction, policy = None, settings.policy
    if settings.model:
        artefact = artefacts.read(artefacts.find(settings.model))
        if artefact.card.kind == "bidder":
            auction = Auction(artefact)
        elif policy:
            raise ConfigError(f"scores too, as policy {policy!r} does: one of them").at(
                field="model"
            )
        else:
            policy = f"{LEARNED}:{settings.model}"
    return auction, _scoring(policy, settings.typical) if policy else None


def _scoring(policy: str, typical: str) -> Scoring:
    from cerebrum.policies import get_policy
    from cerebrum.services.scoring import Scoring, typical_of_scenario

    return Scoring(get_policy(policy), typical_of_scenario(typical) if typical else None)


async def _for_ever() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
