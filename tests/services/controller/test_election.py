"""Who leads, who waits, and what a leader that lost its place can still do: nothing (rule 7)."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from cerebrum.services import wire
from cerebrum.services.errors import LeadershipLost, Refused
from cerebrum.services.store import schema as db
from tests.services.controller.rig import Rig, job, settle, story


def test_a_standby_waits_a_whole_ttl_and_sends_people_to_the_leader():
    async def tell(rig: Rig) -> None:
        leader, standby = rig.controller, rig.new_controller("http://two")
        leader.leader.leader_url = "http://one"
        waiting = asyncio.ensure_future(standby.lead())
        for _ in range(20):
            await rig.clock.advance(1.0)
            await leader.leader.renew()
        assert not standby.leader.is_leader
        with pytest.raises(Refused) as refused:
            await standby.submit(job("x"), tenant="t", key=None, body_hash="h")
        assert refused.value.status in (307, 503)
        await rig.clock.advance(5.0)
        assert not standby.leader.is_leader
        await rig.clock.advance(3.0)
        await waiting
        assert standby.leader.epoch == 2

    story(tell)


def test_a_standby_names_the_leader():
    async def tell(rig: Rig) -> None:
        first, standby = rig.new_controller("http://one"), rig.new_controller("http://two")
        await rig.lead(first)
        waiting = asyncio.ensure_future(standby.lead())
        await rig.clock.advance(1.0)
        with pytest.raises(Refused) as refused:
            await standby.register(_register())
        assert (refused.value.status, refused.value.leader) == (307, "http://one")
        waiting.cancel()

    story(tell)


def _register() -> wire.Register:
    return wire.Register(cluster="a", identity="x" * 16, nodes=[], epoch=0)


def test_a_leader_without_renewal_answers_nothing_even_before_anyone_took_over():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        await rig.clock.advance(4.5)  # more than 2/3 of the ttl
        with pytest.raises(LeadershipLost):
            await agent.poll()
        with pytest.raises(LeadershipLost):
            await rig.controller.leader.renew()

    story(tell)


def test_a_write_begun_under_an_old_epoch_is_refused_by_the_database():
    async def tell(rig: Rig) -> None:
        old = rig.controller
        await rig.restart()
        # As if its clock had stood still: it still believes that it leads.
        old.leader._renewed_s = rig.clock.monotonic_s()
        with pytest.raises(LeadershipLost, match="epoch is 1"):
            await old.submit(job("x"), tenant="t", key=None, body_hash="h")
        with pytest.raises(LeadershipLost):
            await old.leader.renew()
        assert rig.events("submitted") == []

    story(tell)


def test_who_resigns_is_followed_at_once():
    async def tell(rig: Rig) -> None:
        running = asyncio.ensure_future(rig.new_controller().run())
        await rig.clock.advance(7.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        before_s = rig.clock.monotonic_s()
        await rig.restart()
        assert rig.clock.monotonic_s() - before_s < rig.settings.leader_ttl_s / 2

    story(tell)


def test_a_running_controller_plans_watches_and_renews_by_itself():
    async def tell(rig: Rig) -> None:
        await rig.controller.leader.resign()
        rig.controller = rig.new_controller()
        running = asyncio.ensure_future(rig.controller.run())
        await rig.clock.advance(1.0)
        await rig.agent("a")
        news = asyncio.ensure_future(rig.controller.wait_events(4, 30.0))
        workflow = await rig.submit(job("x"))
        await settle()
        assert await news
        for _ in range(30):
            await rig.clock.advance(1.0)
        assert rig.controller.leader.is_leader
        assert rig.states(workflow) == {"x": "assigned"}
        assert [kind for kind, *_ in rig.events("cluster_lost")] == ["cluster_lost"]
        await rig.store.write(lambda c: c.execute(update(db.leader).values(epoch=9)) and None)
        await rig.clock.advance(3.0)
        with pytest.raises(LeadershipLost, match="9"):
            await running

    story(tell)


def test_an_agent_that_heard_of_a_later_leader_is_not_served_by_this_one():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        message = _register().model_copy(update={"identity": agent.identity, "epoch": 2**53})
        with pytest.raises(Refused) as refused:
            await rig.controller.register(message)
        assert refused.value.status == 421
        assert rig.controller.leader.is_leader

    story(tell)
