"""A `Store` over SQLite or PostgreSQL, by address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self, TypeVar

from sqlalchemy import Connection, Engine

from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.store import _engines, _migrate
from cerebrum.services.store._writer import Writer, failed

T = TypeVar("T")
QUEUE = 4096
READERS = 2


class Database:
    """One database of the controller or of an agent.

    `url` is `sqlite:///file.db` or `postgresql://...`. Writes go through one thread that commits
    all waiting ones together; each is in a savepoint of its own, so one that raises undoes only
    itself. Reads run in a few threads on connections that cannot write. More than `queue` waiting
    writes wait to be let in. Use between `open` and `close`, or as an async context manager.
    """

    def __init__(
        self,
        url: str,
        migrations: Literal["controller", "agent"] = "controller",
        *,
        queue: int = QUEUE,
        readers: int = READERS,
    ) -> None:
        self._url = _engines.parsed(url)
        self._migrations: Literal["controller", "agent"] = migrations
        self._room = asyncio.Semaphore(queue)
        self._readers = readers
        self._engines: list[Engine] = []
        self._writer: Writer | None = None
        self._pool: ThreadPoolExecutor | None = None

    def upgrade(self, revision: str = "head") -> None:
        """Bring the tables up to date; safe from several processes at once. Blocks."""
        engine = _engines.writing(self._url)
        try:
            _migrate.upgrade(engine, self._migrations, revision)
        except Exception as error:
            if failed(error):
                raise StoreUnavailable(f"the database cannot be opened: {error}") from error
            raise
        finally:
            engine.dispose()

    async def open(self) -> None:
        """Upgrade, then take reads and writes. Raises `StoreUnavailable`."""
        await asyncio.to_thread(self.upgrade)
        writing = _engines.writing(self._url)
        reading = _engines.reading(self._url, self._readers)
        self._engines = [writing, reading]
        self._writer = Writer(writing, asyncio.get_running_loop())
        self._pool = ThreadPoolExecutor(self._readers, "store-reader")

    async def close(self) -> None:
        """Finish what is queued, then let go of the database. Again: nothing happens."""
        writer, pool, engines = self._writer, self._pool, self._engines
        self._writer, self._pool, self._engines = None, None, []
        if writer is not None:
            await asyncio.to_thread(writer.stop)
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
        for engine in engines:
            engine.dispose()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See `ports.Store`."""
        async with self._room:
            if self._writer is None:
                raise StoreUnavailable("the database is closed")
            return await self._writer.put(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `ports.Store`."""
        if self._pool is None:
            raise StoreUnavailable("the database is closed")
        engine = self._engines[1]

        def run() -> T:
            try:
                with engine.connect() as connection, connection.begin():
                    return work(connection)
            except Exception as error:
                if failed(error):
                    raise StoreUnavailable(f"the database does not answer: {error}") from error
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
