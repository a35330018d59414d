"""Every error as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cerebrum.model.errors import InputError, NotFound
from cerebrum.services.errors import (
    LeadershipLost,
    Refused,
    StoreUnavailable,
    Unreachable,
)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
STORE_RETRY_S = 1.0
_log = structlog.get_logger("cerebrum.api")


class FieldError(BaseModel):
    """One field that is wrong: where, as `tasks.3.cpu_milli`, and why."""

    where: str
    problem: str


class Problem(BaseModel):
    """What went wrong. `errors` names the fields; `id` finds the line in the server's log."""

    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] | None = None
    id: str | None = Field(None, description="Of an internal error, as in the server's log.")


class MalformedBody(Exception):
    """A body that is not what was announced: `status` 400 or 415."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        self.status, self.title, self.detail = status, title, detail
        super().__init__(detail)


def problem(
    status: int,
    title: str,
    detail: str = "",
    *,
    errors: Sequence[FieldError] | None = None,
    id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer."""
    body = Problem(
        title=title, status=status, detail=detail[:4000], errors=list(errors) if errors else None,
        id=id,
    )  # fmt: skip
    return Response(
        body.model_dump_json(exclude_none=True),
        status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these error statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    out: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        entry: dict[str, Any] = {"description": _TITLES[status]}
        if status == 307:
            entry["headers"] = {"Location": {"schema": {"type": "string"}}}
        if status in (429, 503):
            entry["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
        entry["content"] = {MEDIA_TYPE: {"schema": schema}}
        out[status] = entry
    return out


_TITLES = {
    307: "ask the leader, at Location",
    400: "malformed request",
    401: "a token is needed",
    403: "not allowed",
    404: "not found",
    405: "method not allowed",
    409: "conflict",
    413: "body too large",
    415: "unsupported media type",
    421: "another replica leads",
    422: "invalid content",
    429: "too much at once",
    500: "internal error",
    502: "an agent did not answer",
    503: "storage unavailable",
}


def install(app: FastAPI) -> None:
    """Answer each kind of exception; what nobody foresaw becomes a 500 with an id."""
    handlers: Mapping[Any, Any] = {
        Refused: _refused,
        NotFound: _not_found,
        InputError: _input_error,
        MalformedBody: _malformed,
        ValidationError: _validation,
        RequestValidationError: _validation,
        StoreUnavailable: _store_unavailable,
        LeadershipLost: _store_unavailable,
        Unreachable: _unreachable,
        HTTPException: _http,
        Exception: _unforeseen,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _asynchronous(handler))


def _asynchronous(handler: Any) -> Any:
    """Starlette runs plain functions in a thread; ours only build an answer."""

    async def answer(request: Request, error: Exception) -> Response:
        return handler(request, error)

    return answer


def _refused(request: Request, error: Refused) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="cerebrum"'
    if error.leader:
        query = f"?{request.url.query}" if request.url.query else ""
        headers["Location"] = error.leader.rstrip("/") + request.url.path + query
    return problem(error.status, error.title, error.detail, headers=headers)


def _not_found(_: Request, error: NotFound) -> Response:
    return problem(404, _TITLES[404], str(error))


def _malformed(_: Request, error: MalformedBody) -> Response:
    return problem(error.status, error.title, error.detail)


def _unreachable(_: Request, error: Unreachable) -> Response:
    return problem(502, _TITLES[502], str(error))


def _input_error(_: Request, error: InputError) -> Response:
    field = error.place.field
    errors = [FieldError(where=field, problem=error.problem)] if field else None
    return problem(422, _TITLES[422], str(error), errors=errors)


def _validation(_: Request, error: ValidationError | RequestValidationError) -> Response:
    details: Any = (
        error.errors()
        if isinstance(error, RequestValidationError)
        else error.errors(include_url=False, include_input=False, include_context=False)
    )
    if any(item["type"] == "json_invalid" for item in details):
        return problem(400, _TITLES[400], details[0]["msg"])
    errors = [
        FieldError(where=".".join(str(part) for part in item["loc"])[:200], problem=item["msg"])
        for item in details[:MAX_ERRORS]
    ]
    more = f" and {len(details) - 1} more" if len(details) > 1 else ""
    first = f"{errors[0].where}: {errors[0].problem}" if errors[0].where else errors[0].problem
    return problem(422, _TITLES[422], first + more, errors=errors)


def _store_unavailable(_: Request, error: Exception) -> Response:
    return problem(
        503, _TITLES[503], str(error), headers={"Retry-After": str(math.ceil(STORE_RETRY_S))}
    )


def _http(_: Request, error: HTTPException) -> Response:
    title = _TITLES.get(error.status_code, "refused")
    return problem(error.status_code, title, str(error.detail or ""), headers=error.headers)


def _unforeseen(request: Request, error: Exception) -> Response:
    """The person gets an id, the log gets everything: a traceback may hold secrets."""
    name = secrets.token_hex(8)
    _log.error(
        "internal_error", id=name, method=request.method, path=request.url.path,
        exc_info=(type(error), error, error.__traceback__),
    )  # fmt: skip
    return problem(500, _TITLES[500], "see the server's log", id=name)
