"""OpenAPI 3.1: what FastAPI finds, with the bodies that it does not parse for us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from cerebrum.services.api.bodies import BODIES
from cerebrum.services.api.problems import Problem

TEMPLATE = "#/components/schemas/{model}"
_SECURITY = {"bearer": {"type": "http", "scheme": "bearer"}}


def install(app: FastAPI) -> None:
    """Replace the application's document; it is made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    wanted = [BODIES[name] for name in _mentioned(found) if name in BODIES]
    _, extra = models_json_schema(
        [(model, "validation") for model in (*wanted, Problem)], ref_template=TEMPLATE
    )
    schemas.update(extra.get("$defs", {}))
    # FastAPI's own form of a 422, which nothing here answers with.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    found["components"]["securitySchemes"] = _SECURITY
    found["security"] = [{"bearer": []}, {}]
    return found


def _mentioned(document: dict[str, Any]) -> Iterable[str]:
    """Models that a request body refers to."""
    for path in document["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                reference = content.get("schema", {}).get("$ref", "")
                if reference:
                    yield reference.rpartition("/")[2]
