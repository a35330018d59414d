"""Engines for the two dialects: one that writes, one that reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cerebrum.model.errors import ConfigError, MissingDependency

BUSY_TIMEOUT_MS = 10_000


def parsed(url: str) -> URL:
    """The address, with our driver named. Raises `ConfigError` for what is not a database of ours.

    SQLite has to be a file: reads and writes use connections of their own.
    """
    try:
        found = make_url(url)
    except ArgumentError:
        raise ConfigError("expected an address such as sqlite:///file.db").at(field="db") from None
    kind = found.get_backend_name()
    if kind == "sqlite":
        if found.database in (None, "", ":memory:"):
            raise ConfigError("expected a file, such as sqlite:////var/lib/cerebrum.db").at(
                field="db"
            )
        return found.set(drivername="sqlite+pysqlite")
    if kind == "postgresql":
        return found.set(drivername="postgresql+psycopg")
    raise ConfigError(f"expected sqlite or postgresql, got {kind!r}").at(field="db")


def writing(url: URL) -> Engine:
    """An engine with one connection; on SQLite each transaction takes the write lock at once."""
    return _sqlite(url, "BEGIN IMMEDIATE") if _is_sqlite(url) else _postgresql(url, 1)


def reading(url: URL, connections: int) -> Engine:
    """An engine whose connections cannot write, each transaction on one snapshot."""
    if _is_sqlite(url):
        return _sqlite(url, "BEGIN", connections)
    engine = _postgresql(url, connections)
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _sqlite(url: URL, begin: str, connections: int = 1) -> Engine:
    engine = create_engine(url, pool_size=connections, max_overflow=0)

    def connected(connection: Any, _record: object) -> None:
        # The driver's own idea of transactions begins them late and deferred: ours is said below.
        connection.isolation_level = None
        cursor = connection.cursor()
        # A commit is on the disk when it returns: what is acknowledged survives a power cut.
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -32768")
        cursor.execute(f"PRAGMA query_only = {int(begin == 'BEGIN')}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _postgresql(url: URL, connections: int) -> Engine:
    try:
        # pre_ping: a server that was restarted costs one failed batch, not all that follow.
        return create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
        )
    except ModuleNotFoundError:
        raise MissingDependency("PostgreSQL", "postgres") from None
