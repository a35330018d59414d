"""The simulator itself: time that jumps, processes that die without a farewell, disks that lie."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from random import Random
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select

from cerebrum.services import wire
from cerebrum.services.errors import StoreUnavailable, Unreachable
from tests.faults.clock import MachineClock
from tests.faults.disk import Disk, DiskFaults, SimStore
from tests.faults.history import History
from tests.faults.loop import OWNER, Deadlock, Incarnation, VirtualLoop
from tests.faults.network import Line, NetworkFaults, Server, SimNetwork

METADATA = MetaData()
EVENTS = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True),
    *(Column(name, Text, default="") for name in ("kind", "workflow", "task", "cluster")),
    Column("data", Text, default="{}"),
)


def life(name: str = "p") -> tuple[Incarnation, Context]:
    """A process's life and the context its callbacks belong to."""
    born, context = Incarnation(name, 1), Context()
    context.run(OWNER.set, born)
    return born, context


def in_virtual_time(work: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    """Run to the end, then clear away what is left."""
    try:
        return loop.run_until_complete(work)
    finally:
        loop.bury()
        loop.close()


def test_an_hour_passes_at_once() -> None:
    loop = VirtualLoop()

    async def wait() -> float:
        await asyncio.sleep(3600.0)
        return loop.time()

    assert in_virtual_time(wait(), loop) == 3600.0


def test_waiting_for_nothing_is_noticed() -> None:
    loop = VirtualLoop()

    async def wait() -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        in_virtual_time(wait(), loop)


def test_the_dead_do_not_clean_up() -> None:
    loop, said = VirtualLoop(), list[str]()
    born, context = life()

    async def program() -> None:
        try:
            said.append("alive")
            await asyncio.sleep(10.0)
            said.append("still alive")
        finally:
            said.append("farewell")

    async def story() -> list[str]:
        loop.create_task(program(), context=context)
        await asyncio.sleep(1.0)
        born.alive = False
        await asyncio.sleep(100.0)
        return list(said)

    assert in_virtual_time(story(), loop) == ["alive"]


def test_a_paused_process_goes_on_unaware() -> None:
    loop, said = VirtualLoop(), list[float]()
    born, context = life()

    async def program() -> None:
        await asyncio.sleep(2.0)
        said.append(loop.time())

    async def story() -> None:
        loop.create_task(program(), context=context)
        await asyncio.sleep(1.0)
        born.paused = True
        await asyncio.sleep(50.0)
        loop.resume(born)
        await asyncio.sleep(1.0)

    in_virtual_time(story(), loop)
    assert said == [51.0]


@pytest.mark.parametrize("point", ["before commit", "after commit"])
def test_a_power_cut_keeps_what_was_committed_and_nothing_else(point: str) -> None:
    loop, history = VirtualLoop(), History()
    disk = Disk("p", METADATA, loop, history)
    born, context = life()

    def crash(at: str) -> bool:
        born.alive = born.alive and at != point
        return not born.alive

    store = SimStore(disk, born, DiskFaults(), Random(1), crash)

    async def program() -> None:
        await store.write(lambda c: c.execute(insert(EVENTS).values(kind="written")))
        raise AssertionError("the dead went on")

    async def story() -> None:
        loop.create_task(program(), context=context)
        await asyncio.sleep(10.0)

    in_virtual_time(story(), loop)
    kept = disk.read(lambda c: c.scalar(select(func.count()).select_from(EVENTS)))
    assert kept == (point == "after commit") == len(history.entries)
    disk.close()


def test_a_full_disk_keeps_nothing() -> None:
    loop, history = VirtualLoop(), History()
    disk = Disk("p", METADATA, loop, history)
    disk.full = True
    store = SimStore(disk, life()[0], DiskFaults(), Random(1), lambda at: False)
    write = store.write(lambda c: c.execute(insert(EVENTS).values(kind="written")))
    with pytest.raises(StoreUnavailable):
        in_virtual_time(write, loop)
    assert not history.entries
    disk.close()


class _Echo:
    """A controller that counts polls."""

    polls = 0

    async def poll(self, message: wire.Poll) -> wire.Offers:
        self.polls += 1
        return wire.Offers(epoch=message.epoch)


def network(faults: NetworkFaults) -> tuple[VirtualLoop, SimNetwork, Line, _Echo]:
    """A controller `gcc` and a line to it from `lca`."""
    loop, echo = VirtualLoop(), _Echo()
    sim = SimNetwork(loop, Random(7), faults)
    born, context = life("gcc")
    sim.listen("gcc", Server(context, echo, lambda: born.alive, lambda problem: None))

    async def guard(point: str) -> None:
        """Nobody dies here."""

    return loop, sim, Line(sim, "lca", ["gcc"], guard, lambda *_: None), echo


POLL = wire.Poll(cluster="c", identity="x" * 16, epoch=3)


def test_a_message_arrives_and_is_answered() -> None:
    loop, _, line, echo = network(NetworkFaults())
    assert in_virtual_time(line.poll(POLL), loop).epoch == 3
    assert echo.polls == 1


def test_a_lost_answer_does_not_undo_the_request() -> None:
    loop, sim, line, echo = network(NetworkFaults())
    sim.cut("gcc", "lca")
    with pytest.raises(Unreachable):
        in_virtual_time(line.poll(POLL), loop)
    assert echo.polls == 1


def test_a_repeated_message_is_carried_out_twice() -> None:
    loop, _, line, echo = network(NetworkFaults(repeat_share=1.0))

    async def story() -> None:
        await line.poll(POLL)
        await asyncio.sleep(60.0)

    in_virtual_time(story(), loop)
    assert echo.polls == 2


def test_clocks_drift_and_a_wall_clock_jumps() -> None:
    loop = VirtualLoop()
    machine = MachineClock(loop, Random(3), drift=0.01)
    before_s, wall_s = machine.monotonic_s(), machine.unix_s()
    machine.set_wall(-3600.0)
    in_virtual_time(asyncio.sleep(1000.0), loop)
    passed_s = machine.monotonic_s() - before_s
    assert passed_s != 1000.0
    assert abs(passed_s - 1000.0) <= 10.0
    assert machine.unix_s() < wall_s
