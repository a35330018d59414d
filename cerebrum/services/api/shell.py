"""What every server has around its routes: problems for errors, a limit on bodies."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from cerebrum import __version__
from cerebrum.services.api import openapi, problems
from cerebrum.services.api.middleware import Surroundings
from cerebrum.services.telemetry import HttpMetrics


def bare(title: str, about: str, metrics: HttpMetrics, lifespan: Any = None) -> FastAPI:
    """An application without routes."""
    app = FastAPI(
        title=title, version=__version__, description=about, docs_url=None, redoc_url=None,
        lifespan=lifespan, redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )  # fmt: skip
    app.add_middleware(Surroundings, metrics=metrics)
    problems.install(app)
    openapi.install(app)
    return app
