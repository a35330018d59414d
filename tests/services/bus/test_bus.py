"""The bus carries every event at least once, in order, and never holds up the controller."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert

from cerebrum.model.errors import ConfigError
from cerebrum.services.bus import Bus, check, read_cursor, routing_key, write_cursor
from cerebrum.services.clock import MachineClock
from cerebrum.services.store.database import Database
from cerebrum.services.store.schema import events
from tests.services.bus.broker import Broker

QUEUES = {"#": "everything", "task.*": "tasks"}


class Source:
    """Stands for the controller: it leads, and says when there is something new."""

    def __init__(self) -> None:
        self.leader = SimpleNamespace(is_leader=True)

    async def wait_events(self, after_seq: int, timeout_s: float) -> bool:
        await asyncio.sleep(0.02)
        return True


async def add(store: Database, kinds: list[str]) -> None:
    rows = [
        {"unix_s": 1e9, "kind": kind, "workflow_id": None, "task": f"t{i}",
         "data": json.dumps({"i": i})}
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    await store.write(lambda connection: connection.execute(insert(events), rows))


async def until(true: Callable[[], Awaitable[bool]], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not await true():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.05)


async def ended(carrying: asyncio.Task[None]) -> None:
    carrying.cancel()
    done, _ = await asyncio.wait([carrying], timeout=30)
    assert done, "one cancel is to end it"


async def carried(store: Database, seq: int) -> bool:
    return await store.read(read_cursor) >= seq


async def subscribe(url: str, key: str = "#") -> tuple[Any, Any]:
    """A connection and a durable queue: what arrives there has crossed the broker."""
    import aio_pika

    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("cerebrum", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue(QUEUES[key], durable=True)
    await queue.bind(exchange, key)
    return connection, queue


async def take_all(queue: Any) -> list[Any]:
    found: list[Any] = []
    while (message := await queue.get(fail=False, timeout=10)) is not None:
        await message.ack()
        found.append(message)
    return found


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, require: Any) -> Iterator[Broker]:
    from tests.services.bus.broker import SERVER

    require(SERVER.exists(), "there is no rabbitmq-server")
    found = Broker(tmp_path_factory.mktemp("rabbit") / "broker")
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.mark.needs(command="rabbitmq-server", module="aio_pika")
class TestWithABroker:
    def test_events_arrive_in_order_with_their_number_and_key(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        async def story() -> None:
            connection, queue = await subscribe(broker.url)
            async with Database(f"sqlite:///{tmp_path}/a.db") as store, connection:
                await add(store, ["submitted", "assigned", "running", "succeeded"] * 300)
                carrying = asyncio.create_task(
                    Bus(store, Source(), MachineClock(), broker.url).run()
                )
                await until(lambda: carried(store, 1200))
                await ended(carrying)
                found = await take_all(queue)
            assert [int(message.message_id) for message in found] == list(range(1, 1201))
            assert [message.routing_key for message in found[:4]] == [
                "workflow.submitted", "task.assigned", "task.running", "task.succeeded",
            ]  # fmt: skip
            assert json.loads(found[2].body)["data"] == {"i": 2}

        asyncio.run(story())

    def test_a_broker_that_dies_loses_nothing_and_holds_up_nobody(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        async def story() -> None:
            connection, queue = await subscribe(broker.url, "task.*")
            await connection.close()
            async with Database(f"sqlite:///{tmp_path}/b.db") as store:
                bus = Bus(store, Source(), MachineClock(), broker.url)
                carrying = asyncio.create_task(bus.run())
                await add(store, ["assigned"] * 700)
                await until(lambda: carried(store, 500))
                broker.kill()
                await add(store, ["running"] * 700)  # the store is written all the same
                assert not carrying.done()
                await asyncio.to_thread(broker.start)
                await until(lambda: carried(store, 1400))
                await ended(carrying)
            connection, queue = await subscribe(broker.url, "task.*")
            async with connection:
                seen = {int(message.message_id) for message in await take_all(queue)}
            assert seen >= set(range(1, 1401)), "each at least once"

        asyncio.run(story())

    def test_a_standby_does_not_publish(self, broker: Broker, tmp_path: Path) -> None:
        async def story() -> None:
            source = Source()
            source.leader.is_leader = False
            async with Database(f"sqlite:///{tmp_path}/c.db") as store:
                await add(store, ["submitted"])
                bus = Bus(store, source, MachineClock(), broker.url)
                carrying = asyncio.create_task(bus.run())
                await until(lambda: _connected(bus))
                await asyncio.sleep(0.3)
                assert bus.published == 0
                source.leader.is_leader = True
                await until(lambda: carried(store, 1))
                await ended(carrying)

        asyncio.run(story())


class Hurry(MachineClock):
    """Waits for nothing, and remembers how long it should have."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def _connected(bus: Bus) -> bool:
    return bus.connected


def test_without_a_broker_the_bus_goes_on_trying(tmp_path: Path) -> None:
    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/d.db") as store:
            clock = Hurry()
            carrying = asyncio.create_task(
                Bus(store, Source(), clock, "amqp://guest:guest@127.0.0.1:1/").run()
            )
            await until(lambda: _longer(clock.waits, 6))
            assert clock.waits[:6] == [2, 4, 8, 16, 30, 30]
            assert not carrying.done()
            await ended(carrying)

    async def _longer(waits: list[float], count: int) -> bool:
        return len(waits) >= count

    asyncio.run(story())


@pytest.mark.needs(module="aio_pika")
@pytest.mark.parametrize("name", ["ChannelInvalidStateError", "ChannelClosed", "ConnectionClosed"])
def test_however_the_connection_breaks_it_connects_again(tmp_path: Path, name: str) -> None:
    """A channel may be found closed between two messages, which is no error of the protocol."""
    import aiormq

    class Breaks(Bus):
        async def _session(self) -> None:
            sessions.append(len(sessions))
            raise getattr(aiormq.exceptions, name)()

    async def again() -> bool:
        return len(sessions) > 2

    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/f.db") as store:
            carrying = asyncio.create_task(Breaks(store, Source(), Hurry(), "amqp://x/").run())
            await until(again, limit_s=5)
            assert not carrying.done()
            await ended(carrying)

    sessions: list[int] = []
    asyncio.run(story())


def test_it_ends_when_told_to_while_it_connects(tmp_path: Path) -> None:
    """The client library takes a cancellation in mid-connect for a connection that failed."""

    class Quick(MachineClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0.001)

    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/d.db") as store:
            for step in range(30):
                bus = Bus(store, Source(), Quick(), "amqp://guest:guest@127.0.0.1:1/")
                carrying = asyncio.create_task(bus.run())
                await asyncio.sleep(0.002 + 0.0002 * step)
                carrying.cancel()
                done, _ = await asyncio.wait([carrying], timeout=2)
                if not done:  # end it, so that the failure is a failure and not a hang
                    bus.clock = MachineClock()
                    while not done:
                        carrying.cancel()
                        done, _ = await asyncio.wait([carrying], timeout=0.1)
                    pytest.fail(f"cancelled in step {step}, it went on")

    asyncio.run(story())


def test_the_cursor_never_goes_back(tmp_path: Path) -> None:
    async def story() -> list[int]:
        async with Database(f"sqlite:///{tmp_path}/e.db") as store:
            seen: list[int] = []
            for seq in (5, 9, 3):
                await store.write(lambda connection, seq=seq: write_cursor(connection, seq))
                seen.append(await store.read(read_cursor))
            return seen

    assert asyncio.run(story()) == [5, 9, 9]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("submitted", "workflow.submitted"),
        ("workflow_ended", "workflow.ended"),
        ("cluster_lost", "cluster.lost"),
        ("registered", "cluster.registered"),
        ("succeeded", "task.succeeded"),
        ("elected", "controller.elected"),
    ],
)
def test_routing_keys_say_subject_and_kind(kind: str, key: str) -> None:
    assert routing_key(kind) == key


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="amqp://user"):
        check("http://127.0.0.1:5672")
