"""Who asks, and what they may: bearer tokens with scopes, kept as SHA-256 hashes.

A token is 256 random bits, so one round of SHA-256 is enough to store it, and looking up a hash
tells an attacker nothing about the token by its timing. Without any token in the database a server
is open, and then it serves loopback only (`serve.check_exposure`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fastapi import Request
from sqlalchemy import Connection, Row, func, insert, select, update

from cerebrum.model.errors import ConfigError, NotFound
from cerebrum.services.errors import Refused
from cerebrum.services.ports import Clock, Store
from cerebrum.services.store.schema import tokens

PREFIX = "cbr_"
DEFAULT_TENANT = "default"
CACHE_TTL_S = 2.0
"""How long a revoked token may still work in a server that has just seen it."""
CACHE_SIZE = 4096


class Scope(StrEnum):
    """What a token allows. An operator may do all a submitter may, a submitter all a viewer may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    AGENT = "agent"


_INCLUDES = {
    Scope.VIEWER: {Scope.VIEWER},
    Scope.SUBMITTER: {Scope.VIEWER, Scope.SUBMITTER},
    Scope.OPERATOR: {Scope.VIEWER, Scope.SUBMITTER, Scope.OPERATOR},
    Scope.AGENT: {Scope.AGENT},
}


@dataclass(frozen=True, slots=True)
class Caller:
    """`tenant` empty: sees all tenants. `cluster` empty: may speak for any."""

    name: str
    scopes: frozenset[Scope]
    tenant: str = ""
    cluster: str = ""

    @property
    def submits_as(self) -> str:
        """The tenant that what they submit belongs to."""
        return self.tenant or DEFAULT_TENANT


OPEN = Caller("anonymous", frozenset(Scope))
"""Everybody, where there is no token: loopback only."""


class TokenBook(Protocol):
    """Where a server looks tokens up."""

    async def caller(self, secret: str) -> Caller | None:
        """Whose token that is; None for a wrong or revoked one."""
        ...

    async def open(self) -> bool:
        """Whether nobody needs one."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A token and its secret, which no log shows."""

    name: str
    scope: Scope
    secret: str = field(repr=False)
    tenant: str = ""
    cluster: str = ""


@dataclass
class Tokens:
    """The tokens of a database, with a short memory of those seen last."""

    store: Store
    clock: Clock
    _seen: OrderedDict[str, tuple[float, Caller | None]] = field(
        default_factory=lambda: OrderedDict[str, tuple[float, Caller | None]]()
    )
    _open: tuple[float, bool] = (-1e18, False)

    async def caller(self, secret: str) -> Caller | None:
        """Whose token that is; None for a wrong or revoked one."""
        digest, now = hashed(secret), self.clock.monotonic_s()
        known = self._seen.get(digest)
        if known is None or now - known[0] >= CACHE_TTL_S:
            known = now, await self.store.read(lambda connection: _find(connection, digest))
            self._seen[digest] = known
            self._seen.move_to_end(digest)
            while len(self._seen) > CACHE_SIZE:
                self._seen.popitem(last=False)
        return known[1]

    async def open(self) -> bool:
        """Whether there is no token at all, revoked ones counted: who had one stays protected."""
        since, value = self._open
        now = self.clock.monotonic_s()
        if now - since >= CACHE_TTL_S:
            value = not await self.store.read(_any)
            self._open = now, value
        return value

    async def create(self, name: str, scope: Scope, tenant: str = "", cluster: str = "") -> str:
        """A new token; the only time it is ever seen. Raises `ConfigError`."""
        given = Given(name, scope, PREFIX + secrets.token_urlsafe(32), tenant, cluster)
        row = _row(given, self.clock.unix_s())
        await self.store.write(lambda connection: _insert(connection, row))
        self.forget()
        return given.secret

    async def adopt(self, prefix: str, given: Sequence[Given]) -> None:
        """Of the tokens called `prefix...`, make these valid and revoke all others.

        One that was revoked before stays revoked. Raises `ConfigError`.
        """
        now = self.clock.unix_s()
        rows = [_row(token, now) for token in given]
        await self.store.write(lambda connection: _adopt(connection, prefix, rows, now))
        self.forget()

    async def revoke(self, name: str) -> None:
        """From now on (a server that has just seen it: in two seconds) it is worth nothing."""
        now = self.clock.unix_s()
        change = update(tokens).where(tokens.c.name == name, tokens.c.revoked_unix_s.is_(None))
        count = await self.store.write(
            lambda connection: connection.execute(change.values(revoked_unix_s=now)).rowcount
        )
        if not count:
            raise NotFound(f"there is no token named {name!r} that is not revoked yet")
        self.forget()

    async def every(self) -> Sequence[Row[Any]]:
        """name, scopes, tenant, cluster, created_unix_s, revoked_unix_s; never the hashes."""
        shown = [column for column in tokens.c if column.name != "hash"]
        order = (tokens.c.created_unix_s, tokens.c.name)
        return await self.store.read(
            lambda connection: connection.execute(select(*shown).order_by(*order)).all()
        )

    def forget(self) -> None:
        """Ask the database about everybody again."""
        self._seen.clear()
        self._open = (-1e18, False)


def hashed(secret: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _row(given: Given, now_unix_s: float) -> dict[str, Any]:
    """What is stored of a token, never its secret; `ConfigError` if it makes no sense."""
    _check_binding(given)
    return {
        "hash": hashed(given.secret), "name": given.name, "scopes": given.scope.value,
        "tenant": given.tenant, "cluster": given.cluster, "created_unix_s": now_unix_s,
    }  # fmt: skip


def _check_binding(given: Given) -> None:
    name, scope = given.name, given.scope
    if not name or not name.isprintable() or len(name) > 100:
        raise ConfigError("expected 1 to 100 printable characters").at(field="name")
    if scope is Scope.AGENT and not given.cluster:
        raise ConfigError("an agent's token belongs to one cluster").at(field="cluster")
    if scope is not Scope.AGENT and given.cluster:
        raise ConfigError("only an agent's token has a cluster").at(field="cluster")
    if scope is Scope.SUBMITTER and not given.tenant:
        raise ConfigError("a submitter's token belongs to one tenant").at(field="tenant")
    if scope in (Scope.OPERATOR, Scope.AGENT) and given.tenant:
        raise ConfigError(f"a token of scope {scope} has no tenant").at(field="tenant")


def _insert(connection: Connection, row: dict[str, Any]) -> None:
    same = (tokens.c.name == row["name"], tokens.c.revoked_unix_s.is_(None))
    if connection.execute(select(tokens.c.name).where(*same)).first():
        raise ConfigError(f"there is a token named {row['name']!r} already").at(field="name")
    connection.execute(insert(tokens).values(**row))


def _adopt(
    connection: Connection, prefix: str, rows: Sequence[dict[str, Any]], now_unix_s: float
) -> None:
    wanted = {row["hash"] for row in rows}
    known = connection.execute(select(tokens)).all()
    for row in known:
        stale = row.name.startswith(prefix) and row.hash not in wanted
        if stale and row.revoked_unix_s is None:
            change = update(tokens).where(tokens.c.hash == row.hash)
            connection.execute(change.values(revoked_unix_s=now_unix_s))
    held = {row.hash for row in known}
    for row in rows:
        if row["hash"] in held:  # the same secret: what it allows is as the file says now
            change = update(tokens).where(tokens.c.hash == row["hash"])
            kept = {key: row[key] for key in ("name", "scopes", "tenant", "cluster")}
            connection.execute(change.values(**kept))
        else:
            connection.execute(insert(tokens).values(**row))


def _any(connection: Connection) -> bool:
    return connection.execute(select(func.count()).select_from(tokens)).scalar_one() > 0


def _find(connection: Connection, digest: str) -> Caller | None:
    row = connection.execute(
        select(tokens).where(tokens.c.hash == digest, tokens.c.revoked_unix_s.is_(None))
    ).first()
    if row is None:
        return None
    granted = {scope for word in row.scopes.split() for scope in _INCLUDES[Scope(word)]}
    return Caller(row.name, frozenset(granted), row.tenant, row.cluster)


class Guard:
    """A FastAPI dependency: the caller, who must have a scope.

    `Depends(Guard(Scope.VIEWER))` finds the tokens in `app.state.tokens`.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller. Raises `Refused` 401 or 403."""
        caller = await identified(request)
        if self.scope not in caller.scopes:
            raise Refused(403, "not allowed", f"this needs a token of scope {self.scope}")
        return caller


async def identified(request: Request) -> Caller:
    """Who asks, whatever they may. Raises `Refused` 401, or 403 for a foreign page in a browser."""
    known: TokenBook = request.app.state.tokens
    header = request.headers.get("authorization", "")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() == "bearer" and secret:
        caller = await known.caller(secret.strip())
        if caller is not None:
            return caller
        raise Unauthenticated("this token is not valid (any more)")
    if not await known.open():
        raise Unauthenticated("send Authorization: Bearer TOKEN")
    if not is_loopback(request.url.hostname or ""):
        # DNS rebinding: a page that resolves its own name to 127.0.0.1 still sends that name.
        raise Refused(403, "not allowed", "without tokens, ask by a loopback address")
    return OPEN


class Unauthenticated(Refused):
    """No token, or not a valid one."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, "a token is needed", detail)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
