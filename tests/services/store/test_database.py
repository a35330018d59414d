"""What the store promises: durable together, undone alone, honest about failure; on both kinds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text

from cerebrum.model.errors import ConfigError
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.store import Database, _migrate
from cerebrum.services.store import schema as db
from tests.services.postgres import postgres  # noqa: F401

KINDS = ["sqlite", "postgresql"]


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """An empty database of a kind."""

    def fresh(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/c.db"
        return request.getfixturevalue("postgres").new_database()

    return fresh


def put(key: str, value: str = "v") -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(insert(db.meta), {"key": key, "value": value})

    return work


def keys(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(db.meta.c.key)))


@pytest.mark.parametrize("tables", ["controller", "agent"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_revisions_make_exactly_the_tables_of_the_schema(kind, tables, address):
    url = address(kind)
    for revision in (f"{tables}_0001", "head", "head"):
        Database(url, tables).upgrade(revision)

    async def tell() -> None:
        async with Database(url, tables) as store:
            assert await store.read(lambda c: _migrate.differences(c, tables)) == []

    asyncio.run(tell())


@pytest.mark.parametrize("kind", KINDS)
def test_one_write_that_raises_undoes_only_itself(kind, address):
    async def tell() -> None:
        async with Database(address(kind)) as store:

            def wrong(connection: Connection) -> None:
                put("wrong")(connection)
                raise ValueError("no")

            twice = [put("a"), wrong, put("a"), put("b")]
            done = await asyncio.gather(*map(store.write, twice), return_exceptions=True)
            assert [type(one).__name__ for one in done] == [
                "NoneType", "ValueError", "IntegrityError", "NoneType",
            ]  # fmt: skip
            assert await store.read(keys) == ["a", "b"]

    asyncio.run(tell())


@pytest.mark.parametrize("kind", KINDS)
def test_many_writes_share_few_commits_and_keep_their_order(kind, address):
    async def tell() -> None:
        async with Database(address(kind)) as store:
            commits: list[int] = []

            def work(number: int) -> Callable[[Connection], int]:
                def run(connection: Connection) -> int:
                    put(f"{number:04}")(connection)
                    if connection.info.get("seen") != id(connection.get_transaction()):
                        connection.info["seen"] = id(connection.get_transaction())
                        commits.append(number)
                    return connection.scalar(select(func.count()).select_from(db.meta)) or 0

                return run

            counts = await asyncio.gather(*(store.write(work(i)) for i in range(500)))
            assert counts == list(range(1, 501))
            assert len(commits) < 250

    asyncio.run(tell())


def test_a_full_disk_is_said_to_everyone_it_concerns_and_later_writes_work(tmp_path):
    async def tell() -> None:
        async with Database(f"sqlite:///{tmp_path}/c.db") as store:

            def limit(pages: int) -> Callable[[Connection], None]:
                return lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")) and None

            await store.write(limit(1))
            done = await asyncio.gather(
                *(store.write(put(str(i), "x" * 100_000)) for i in range(3)), return_exceptions=True
            )
            assert all(isinstance(one, StoreUnavailable) for one in done)
            assert await store.read(keys) == []
            await store.write(limit(100_000))
            await store.write(put("again"))
            assert await store.read(keys) == ["again"]

    asyncio.run(tell())


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_cannot_write(kind, address):
    async def tell() -> None:
        async with Database(address(kind)) as store:
            with pytest.raises(Exception, match="read"):
                await store.read(put("x"))
            assert await store.read(keys) == []

    asyncio.run(tell())


def test_more_writes_than_the_queue_holds_wait_instead_of_piling_up(tmp_path):
    async def tell() -> None:
        async with Database(f"sqlite:///{tmp_path}/c.db", queue=3) as store:
            await asyncio.gather(*(store.write(put(str(i))) for i in range(50)))
            assert len(await store.read(keys)) == 50

    asyncio.run(tell())


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    program = f"""
        import asyncio, sys
        from cerebrum.services.store import Database
        from tests.services.store.test_database import put
        async def main():
            async with Database("sqlite:///{tmp_path}/c.db") as store:
                async def one(i):
                    await store.write(put(str(i)))
                    print(i, flush=True)
                await asyncio.gather(*(one(i) for i in range(100000)))
        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().decode().strip() for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [line.decode().strip() for line in process.stdout if line.endswith(b"\n")]
    process.stdout.close()
    process.wait()

    async def tell() -> None:
        async with Database(f"sqlite:///{tmp_path}/c.db") as store:
            assert set(acknowledged) <= set(await store.read(keys))

    asyncio.run(tell())


def test_after_close_everything_is_refused_and_nothing_hangs(tmp_path):
    async def tell() -> None:
        store = Database(f"sqlite:///{tmp_path}/c.db")
        await store.open()
        last = asyncio.ensure_future(store.write(put("last")))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        await last
        with pytest.raises(StoreUnavailable):
            await store.write(put("x"))
        with pytest.raises(StoreUnavailable):
            await store.read(keys)

    asyncio.run(tell())


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "no address", ""]
)
def test_an_address_that_is_no_database_of_ours_is_refused(url):
    with pytest.raises(ConfigError, match="db"):
        Database(url)


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable):
        asyncio.run(Database(f"sqlite:///{tmp_path}/no/c.db").open())


def test_a_server_restarted_under_load_costs_some_writes_but_no_acknowledged_one(postgres):  # noqa: F811
    async def tell() -> None:
        acknowledged: list[str] = []
        failed = 0
        async with Database(postgres.new_database()) as store:

            async def client(name: str) -> None:
                nonlocal failed
                for number in range(60):
                    key = f"{name}-{number}"
                    try:
                        await store.write(put(key))
                        acknowledged.append(key)
                    except StoreUnavailable:
                        failed += 1
                    await asyncio.sleep(0.02)

            async def operator() -> None:
                await asyncio.sleep(0.3)
                await asyncio.to_thread(postgres.restart, immediately=True)

            await asyncio.gather(operator(), *(client(name) for name in "abcdefgh"))
            stored = set(await store.read(keys))
            assert failed > 0
            assert set(acknowledged) <= stored
            await store.write(put("after"))

    asyncio.run(tell())
