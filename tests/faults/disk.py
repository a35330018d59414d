"""Disks of machines: real SQLite, with power cuts, full disks and waits around each transaction.

A `Disk` outlives the processes that use it. A `SimStore` is one process's way to it. The unit that
survives is the committed transaction: a process may die just before the commit or just after it.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.pool import StaticPool

from cerebrum.services.errors import StoreUnavailable
from tests.faults.history import History
from tests.faults.loop import Incarnation, VirtualLoop

T = TypeVar("T")
_COMPILED: dict[MetaData, dict[Any, Any]] = defaultdict(dict)
"""Statements that were compiled before, for all disks with the same tables: a fifth of the work."""
_NEW = "SELECT seq, kind, {workflow}, task, cluster, data FROM events WHERE seq > ? ORDER BY seq"


class Disk:
    """A database and the true time of each event in it. `who` names it in the history."""

    def __init__(self, who: str, metadata: MetaData, loop: VirtualLoop, history: History) -> None:
        self.who, self.full = who, False
        self._loop, self._history, self._seen = loop, history, 0
        self.engine = _engine(_COMPILED[metadata])
        with self.engine.connect() as connection:
            _driver(connection).deserialize(_empty(metadata))
        # The controller names tasks within their workflow, agents in the federation.
        self._short = "workflow_id" in metadata.tables["events"].c
        self._new = _NEW.format(workflow="workflow_id" if self._short else "workflow")
        self._connection = self.engine.connect()
        self._raw = _driver(self._connection)

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` and commit; what it raises rolls back."""
        with self._connection.begin():
            result = work(self._connection)
        self._witness()
        return result

    def _witness(self) -> None:
        """Write down the events of the transaction that was just committed."""
        for seq, kind, workflow, task, cluster, data in self._raw.execute(self._new, (self._seen,)):
            self._seen = seq
            more: dict[str, Any] = json.loads(data)
            more.pop("cluster", None)
            if task and self._short:
                task = f"{workflow}/{task}"
            about = {"workflow": workflow, "task": task, "cluster": cluster}
            self._history.add(self._loop.time(), self.who, kind, **more | about)

    def undo(self, work: Callable[[Connection], Any]) -> None:
        """Run `work` and roll it back: the process did all it does, the disk kept nothing."""
        with self._connection.begin() as transaction:
            work(self._connection)
            transaction.rollback()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on what is committed; nothing it writes stays."""
        with self._connection.begin() as transaction:
            result = work(self._connection)
            transaction.rollback()
        return result

    def close(self) -> None:
        """Let go of the memory."""
        self._connection.close()
        self.engine.dispose()


@cache
def _empty(metadata: MetaData) -> bytes:
    """A database with these tables and nothing in them, as SQLite would keep it in a file."""
    engine = _engine({})
    metadata.create_all(engine)
    with engine.connect() as connection:
        content: bytes = _driver(connection).serialize()
    engine.dispose()
    return content


def _engine(compiled: dict[Any, Any]) -> Engine:
    """SQLite in memory. `compiled` is where it looks for statements that it knows."""
    return create_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "cached_statements": 512},
        execution_options={"compiled_cache": compiled},
    )


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


@dataclass(slots=True)
class DiskFaults:
    """How slow a disk is, and how often a transaction fails. Shares are of all writes."""

    wait_s: float = 0.002
    stall_share: float = 0.0
    stall_s: float = 2.0
    fail_share: float = 0.0


class SimStore:
    """`ports.Store` of one life of a process. `crash` is asked before and after each commit."""

    def __init__(
        self,
        disk: Disk,
        life: Incarnation,
        faults: DiskFaults,
        rng: Random,
        crash: Callable[[str], bool],
    ) -> None:
        self._disk, self._life, self._faults, self._rng = disk, life, faults, rng
        self._crash = crash

    async def write(self, work: Callable[[Connection], T]) -> T:
        """`ports.Store.write`, with everything that may go wrong around it."""
        self._life.check()
        await self._wait()
        if self._crash("before commit"):
            self._disk.undo(work)
            await _never()
        if self._disk.full or self._rng.random() < self._faults.fail_share:
            lost = self._disk.full or self._rng.random() < 0.5
            (self._disk.undo if lost else self._disk.commit)(work)
            await self._wait()
            raise StoreUnavailable("the disk is full" if self._disk.full else "the server is gone")
        result = self._disk.commit(work)
        if self._crash("after commit"):
            await _never()
        await self._wait()
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`ports.Store.read`."""
        self._life.check()
        await self._wait(0.3)
        return self._disk.read(work)

    async def _wait(self, share: float = 1.0) -> None:
        wait_s = self._rng.random() * self._faults.wait_s * share
        if self._rng.random() < self._faults.stall_share:
            wait_s += self._rng.expovariate(1 / self._faults.stall_s)
        await asyncio.sleep(wait_s)


async def _never() -> None:
    """Where the dead wait: the loop runs nothing of theirs any more."""
    await asyncio.get_running_loop().create_future()
