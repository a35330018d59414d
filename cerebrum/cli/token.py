"""`cerebrum token create|list|revoke`: who may talk to a controller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import say

if TYPE_CHECKING:
    from cerebrum.services.api.auth import Tokens

T = TypeVar("T")


class Role(StrEnum):
    """What a token allows."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    AGENT = "agent"


Database = Annotated[
    str,
    typer.Option(
        "--database", envvar="CEREBRUM_DATABASE", help="The controller's: sqlite:///... or postgresql://..."
    ),
]  # fmt: skip
DEFAULT = "sqlite:///cerebrum.db"


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(help=line, no_args_is_help=True, rich_markup_mode=None)
    group.command("create", help="Make a token and print it: it is never shown again.")(create)
    group.command("list", help="List tokens, without their secrets.")(list_)
    group.command("revoke", help="Make a token worthless.")(revoke)
    app.add_typer(group, name="token")


def create(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    scope: Annotated[Role, typer.Option(help="What it allows.")],
    tenant: Annotated[
        str, typer.Option(help="Whose workflows: of submitters; of viewers, else all.")
    ] = "",
    cluster: Annotated[str, typer.Option(help="Which cluster an agent speaks for.")] = "",
    database: Database = DEFAULT,
) -> None:
    """Make a token."""
    from cerebrum.services.api.auth import Scope

    async def work(tokens: Tokens) -> str:
        return await tokens.create(name, Scope(scope.value), tenant, cluster)

    secret = _with(database, work)
    say(f"token {name!r}, scope {scope.value}; keep it, it is not stored")
    print(secret)


def list_(database: Database = DEFAULT, output: options.Form = Output.TABLE) -> None:
    """List tokens."""

    async def work(tokens: Tokens) -> list[dict[str, object]]:
        return [
            {
                "name": row.name, "scopes": row.scopes, "tenant": row.tenant,
                "cluster": row.cluster, "created": _time(row.created_unix_s),
                "revoked": None if row.revoked_unix_s is None else _time(row.revoked_unix_s),
            }
            for row in await tokens.every()
        ]  # fmt: skip

    emit(_with(database, work), output)


def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")], database: Database = DEFAULT
) -> None:
    """Make a token worthless; running controllers notice within two seconds."""

    async def work(tokens: Tokens) -> None:
        await tokens.revoke(name)

    _with(database, work)
    say(f"token {name!r} is revoked")


def _with(database: str, work: Callable[[Tokens], Awaitable[T]]) -> T:
    from cerebrum.services.api.auth import Tokens
    from cerebrum.services.clock import MachineClock
    from cerebrum.services.store.database import Database as Store

    async def run() -> T:
        async with Store(database) as store:
            return await work(Tokens(store, MachineClock()))

    return asyncio.run(run())


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
