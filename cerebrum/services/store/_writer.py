"""The one thread that writes: whatever waits is committed together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from cerebrum.services.errors import StoreUnavailable

BATCH = 256
BATCH_S = 0.05


@dataclass(eq=False, slots=True)
class _Job:
    """Something to write, and who waits for it."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def run(self, connection: Connection) -> None:
        """Do the work in a savepoint. What it raises is its own; a failing database is not."""
        # In plain words: SQLAlchemy's own savepoints are compiled anew each time.
        connection.exec_driver_sql("SAVEPOINT job")
        try:
            self.result = self.work(connection)
        except Exception as error:
            if failed(error):
                raise
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
            self.error = error
        connection.exec_driver_sql("RELEASE SAVEPOINT job")

    def settle(self) -> None:
        """Wake who waits, in its event loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


def failed(error: Exception) -> bool:
    """Whether this is the database (disk full, server gone), not the statement: after it, the
    transaction may be gone, with everything in it."""
    return isinstance(error, OperationalError | InterfaceError | InternalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


class Writer:
    """Runs jobs in the order they came. Group commit: while one batch is being made durable the
    next one gathers, so the cost of a commit is shared by all who wait."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._loop = engine, loop
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queue `work`; the future is done when it is durable or has failed."""
        job = _Job(work, self._loop.create_future())
        self._queue.put(job)
        return job.future

    def stop(self) -> None:
        """Finish what is queued, then end. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            first = self._queue.get()
            if first is None:
                return
            batch: list[_Job] = []
            try:
                with self._engine.connect() as connection, connection.begin():
                    ended = self._fill(connection, first, batch)
            except Exception as error:
                reason = StoreUnavailable(f"the database did not store it: {error}")
                for job in batch or [first]:
                    # A result or refusal was computed from what the batch had written: void too.
                    job.error = reason
            self._settle(batch or [first])

    def _fill(self, connection: Connection, first: _Job, batch: list[_Job]) -> bool:
        """Run jobs until none waits or the batch is full; True when told to end."""
        until_s = time.monotonic() + BATCH_S
        job: _Job | None = first
        while job is not None:
            batch.append(job)
            job.run(connection)
            if len(batch) >= BATCH or time.monotonic() >= until_s:
                return False
            try:
                job = self._queue.get_nowait()
            except Empty:
                return False
        return True

    def _settle(self, batch: list[_Job]) -> None:
        def all_of_them() -> None:
            for job in batch:
                job.settle()

        # The loop is gone when the process ends in the middle of a write: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(all_of_them)
