"""The controller on real databases and the real clock: the same path, two replicas, a fence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from cerebrum.services import wire
from cerebrum.services.clock import MachineClock
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.errors import LeadershipLost, Refused, StoreUnavailable
from cerebrum.services.store import Database
from cerebrum.services.store import schema as db
from tests.services.controller.rig import chain, job
from tests.services.postgres import postgres  # noqa: F401

ME: dict[str, Any] = {"cluster": "a", "identity": "identity-of-a---"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/c.db"
    return request.getfixturevalue("postgres").new_database()


@contextlib.asynccontextmanager
async def replica(url: str, name: str, ttl_s: float = 3.0) -> AsyncIterator[Controller]:
    settings = ControllerSettings(leader_ttl_s=ttl_s, lease_s=5.0)
    async with Database(url) as store:
        rng = np.random.default_rng(len(name))
        yield Controller(store, MachineClock(), settings, rng, name, f"http://{name}")


async def until(holds) -> None:
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def serve(controller: Controller, ended: set[str]) -> None:
    """An agent that runs everything at once."""
    nodes = [wire.NodeSpec(name="n", cpu_milli=8000, memory_mib=8000)]
    await controller.register(wire.Register(nodes=nodes, epoch=0, **ME))
    seq = 0
    while True:
        answer = await controller.poll(wire.Poll(epoch=0, wait_s=1.0, **ME))
        stored = [(offer.assignment, offer.generation) for offer in answer.offers]
        await controller.ack(wire.Ack(epoch=0, stored=stored, **ME))
        reports: list[wire.TaskReport] = []
        for offer in answer.offers:
            for task in offer.tasks:
                for change in ("running", "succeeded"):
                    seq += 1
                    reports.append(
                        wire.TaskReport(
                            seq=seq, uid=task.uid, generation=offer.generation, change=change
                        )
                    )
                ended.add(task.uid)
        await controller.report(wire.Report(epoch=0, reports=reports, **ME))


def test_workflows_run_to_their_end_while_others_are_submitted(url):
    async def tell() -> None:
        async with replica(url, "one") as controller:
            running = asyncio.ensure_future(controller.run())
            await until(lambda: controller.leader.is_leader)
            agent = asyncio.ensure_future(serve(controller, set()))
            await controller.set_quota("t", 1000)
            specs = [chain("x", "y", "z"), job("x", "y")] * 5
            for number, spec in enumerate(specs):
                await controller.submit(spec, tenant="t", key=str(number), body_hash="h")
            states: list[str] = []
            for _ in range(200):
                query = select(db.workflows.c.state)
                states = await controller.store.read(lambda c, q=query: list(c.scalars(q)))
                if set(states) == {"succeeded"}:
                    break
                await asyncio.sleep(0.05)
            assert states == ["succeeded"] * 10
            left = await controller.store.read(lambda c: c.scalar(select(db.quotas.c.tasks)))
            assert left == 0
            await controller.drain_cluster("a")
            await controller.forget_cluster("a")
            for task in (agent, running):
                task.cancel()
            done = await asyncio.gather(agent, running, return_exceptions=True)
            assert isinstance(done[0], Refused | asyncio.CancelledError), done[0]

    asyncio.run(tell())


def test_of_two_replicas_one_leads_and_the_other_follows_it_under_the_next_epoch(url):
    async def tell() -> None:
        async with replica(url, "one") as one, replica(url, "three") as two:
            first = asyncio.ensure_future(one.run())
            await until(lambda: one.leader.is_leader)
            second = asyncio.ensure_future(two.run())
            await asyncio.sleep(4.0)
            assert one.leader.is_leader
            assert not two.leader.is_leader
            with pytest.raises(Refused) as refused:
                await two.submit(job("x"), tenant="t", key=None, body_hash="h")
            assert refused.value.leader == "http://one"
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await until(lambda: two.leader.is_leader)
            assert two.leader.epoch == 2
            with pytest.raises((LeadershipLost, Refused)):
                await one.submit(job("x"), tenant="t", key=None, body_hash="h")
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)

    asyncio.run(tell())


def test_a_leader_that_was_asleep_cannot_write_what_the_next_one_does_not_know(url):
    async def tell() -> None:
        async with replica(url, "one") as one, replica(url, "three") as two:
            await one.lead()
            await two.lead()
            one.leader._renewed_s = MachineClock().monotonic_s()
            with pytest.raises(LeadershipLost, match="epoch is 1"):
                await one.submit(job("x"), tenant="t", key=None, body_hash="h")
            assert (await two.submit(job("x"), tenant="t", key=None, body_hash="h")).created

    asyncio.run(tell())


def test_a_controller_survives_a_restart_of_its_database_server(postgres):  # noqa: F811
    async def tell() -> None:
        async with replica(postgres.new_database(), "one", ttl_s=60.0) as controller:
            running = asyncio.ensure_future(controller.run())
            await until(lambda: controller.leader.is_leader)
            accepted: list[str] = []

            async def client() -> None:
                for number in range(100):
                    asked = {"tenant": "t", "key": str(number), "body_hash": "h"}
                    while len(accepted) == number:
                        try:
                            done = await controller.submit(job("x"), **asked)
                            accepted.append(done.workflow_id)
                        except StoreUnavailable:
                            await asyncio.sleep(0.05)
                    await asyncio.sleep(0.005)

            restart = asyncio.to_thread(postgres.restart, immediately=True)
            await asyncio.gather(client(), restart)
            stored = await controller.store.read(
                lambda c: list(c.scalars(select(db.workflows.c.id)))
            )
            assert sorted(stored) == sorted(accepted)
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(tell())
