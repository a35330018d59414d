"""Cursor pagination: a page says where the next one starts, and nothing shifts in between."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, cast

from fastapi import Query
from sqlalchemy import Column, Connection, Row, Select, tuple_

from cerebrum.model.errors import InputError

MAX_LIMIT = 1000
V = TypeVar("V")

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page.")]
CursorIn = Annotated[
    str | None, Query(max_length=2000, description="`next` of the page before this one.")
]
NameFilter = Annotated[str | None, Query(max_length=600)]


def encode(key: Sequence[object]) -> str:
    """The sort key of a row as an opaque text."""
    text = json.dumps(list(key), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type[object]]) -> list[Any]:
    """The sort key again. Raises `InputError` for anything that `encode` does not make."""
    try:
        key: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        key = None
    parts = cast(list[Any], key) if isinstance(key, list) else []
    same = [type(part) for part in parts] == list(kinds)
    if not same or any(isinstance(part, int) and abs(part) >= 2**31 for part in parts):
        raise InputError("expected `next` of an earlier page").at(field="cursor")
    return parts


def page(
    connection: Connection,
    query: Select[Any],
    key: Sequence[Column[Any]],
    kinds: Sequence[type[object]],
    view: Callable[[Row[Any]], V],
    *,
    cursor: str | None,
    limit: int,
    newest_first: bool = False,
) -> tuple[list[V], str | None]:
    """A page of `query` in the order of `key`, which must be unique, and the next cursor."""
    if cursor is not None:
        last = decode(cursor, kinds)
        here = tuple_(*key)
        query = query.where(here < last if newest_first else here > last)
    order = [column.desc() if newest_first else column for column in key]
    rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        following = encode([shown[-1]._mapping[column] for column in key])
    return [view(row) for row in shown], following
