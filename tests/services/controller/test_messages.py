"""Offers, acks, reports, syncs and cancellations, lost, late, repeated or untrue."""

from __future__ import annotations

import asyncio

import pytest

from cerebrum.services import wire
from cerebrum.services.errors import Refused, StoreUnavailable
from tests.services.controller.rig import Agent, Rig, chain, job, settle, story


async def held(rig: Rig, spec: wire.WorkflowSpec) -> tuple[Agent, str, wire.Offer]:
    agent = await rig.agent("a")
    workflow = await rig.planned(spec)
    await agent.take()
    (offer,) = agent.offers.values()
    return agent, workflow, offer


def test_an_offer_is_repeated_until_acked_and_a_lost_confirmation_can_be_asked_for_again():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(job("x"))
        (offer,) = (await agent.poll()).offers
        assert (await agent.poll()).offers == [offer]
        assert rig.states(workflow) == {"x": "offered"}
        for _ in range(2):
            assert (await agent.ack(offer)).confirmed == [offer.assignment]
        assert (await agent.poll()).offers == []
        assert len(rig.events("held")) == 1

    story(tell)


def test_an_offer_withdrawn_before_its_ack_is_dropped_and_offered_under_the_next_generation():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(job("x"))
        (offer,) = (await agent.poll()).offers
        await rig.controller.drain_cluster("a")
        await rig.controller.uncordon_cluster("a")
        await rig.plan()
        acked = await agent.ack(offer)
        assert (acked.confirmed, acked.dropped) == ([], [offer.assignment])
        (tasks,) = [await agent.take()]
        assert [task.uid for task in tasks] == [f"{workflow}/x"]
        assert sorted(one.generation for one in agent.offers.values()) == [1, 2]

    story(tell)


def test_a_refused_offer_goes_to_another_cluster():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(chain("x", "y"))
        (offer,) = (await agent.poll()).offers
        await agent.ack(refused={offer.assignment: "no such image\0"})
        await rig.plan()
        assert rig.states(workflow) == {"x": "pending", "y": "pending"}
        await Agent(rig, "b").register()
        await rig.controller.drain_cluster("a")
        await rig.plan()
        assert rig.task(workflow, "x").cluster == "b"

    story(tell)


def test_cancelling_in_the_middle_of_an_offer_ends_the_workflow_at_once():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(chain("x", "y"))
        (offer,) = (await agent.poll()).offers
        assert await rig.controller.cancel_workflow(workflow, "t") == "cancelled"
        assert (await agent.ack(offer)).dropped == [offer.assignment]
        assert (await agent.poll()).offers == []

    story(tell)


def test_a_running_task_is_asked_to_end_at_every_poll_until_it_has():
    async def tell(rig: Rig) -> None:
        agent, workflow, _ = await held(rig, chain("x", "y"))
        await agent.report(agent.says(f"{workflow}/x", "running"))
        assert await rig.controller.cancel_workflow(workflow, "t") == "running"
        for _ in range(2):
            assert sorted((await agent.poll()).cancel) == [f"{workflow}/x", f"{workflow}/y"]
        for name in "xy":
            await agent.report(agent.says(f"{workflow}/{name}", "cancelled"))
        assert (await agent.poll()).cancel == []
        assert rig.workflow(workflow).state == "cancelled"
        with pytest.raises(Refused) as refused:
            await rig.controller.cancel_workflow(workflow, "another tenant")
        assert refused.value.status == 404

    story(tell)


def test_a_failure_cancels_what_is_behind_it_with_the_reason():
    async def tell(rig: Rig) -> None:
        agent, workflow, _ = await held(rig, chain("x", "y", "z"))
        await agent.end(f"{workflow}/x", "failed")
        assert rig.states(workflow) == {"x": "failed", "y": "held", "z": "held"}
        assert sorted((await agent.poll()).cancel) == [f"{workflow}/y", f"{workflow}/z"]
        for name in "yz":
            await agent.report(agent.says(f"{workflow}/{name}", "cancelled"))
        assert rig.workflow(workflow).state == "failed"
        assert "'x' before it failed" in rig.task(workflow, "z").reason

    story(tell)


def test_reports_count_once_and_a_gap_is_not_confirmed():
    async def tell(rig: Rig) -> None:
        agent, workflow, _ = await held(rig, job("x", "y"))
        first = agent.says(f"{workflow}/x", "running", node="a-n0")
        second = agent.says(f"{workflow}/x", "succeeded")
        third = agent.says(f"{workflow}/y", "succeeded")
        assert (await agent.report(second, third)).seq == 0
        assert rig.states(workflow) == {"x": "held", "y": "held"}
        assert (await agent.report(second, first)).seq == 2
        assert (await agent.report(first, second, third)).seq == 3
        assert (await agent.register()).report_seq == 3
        kinds = [kind for kind, *_ in rig.events("running", "succeeded", "duplicate_result")]
        assert kinds == ["running", "succeeded", "succeeded"]

    story(tell)


def test_the_first_result_wins_whatever_its_generation_and_the_other_run_is_ended():
    async def tell(rig: Rig) -> None:
        one, two = Agent(rig, "a"), Agent(rig, "b")
        third = Agent(rig, "c", cpu_milli=100)
        await one.register()
        await third.register()
        workflow = await rig.planned(chain("x", "y", on_cluster_lost="replace"))
        await one.take()
        await two.register()
        await rig.pass_time(14, [two, third])
        await rig.plan()
        await two.take()
        assert rig.task(workflow, "x").generation == 2
        # The first agent had finished x before it was cut off; its word comes late, but first.
        await one.end(f"{workflow}/x", generation=1)
        assert rig.task(workflow, "x").state == "succeeded"
        assert rig.task(workflow, "x").cluster == "a"
        # y waits behind x in the other cluster, for ever once x is cancelled there: it is asked
        # back, and given out again, without x before it.
        assert set((await two.poll()).cancel) == {f"{workflow}/x", f"{workflow}/y"}
        assert two.answer.offers == []
        await two.report(two.says(f"{workflow}/x", "cancelled", 2))
        assert rig.task(workflow, "y").state == "held"
        await two.report(two.says(f"{workflow}/y", "cancelled", 2))
        await rig.plan()
        (y,) = await one.take()  # where its input is, now that this cluster is back
        assert (y.uid, y.after, y.inputs) == (f"{workflow}/y", [], {})
        await one.end(f"{workflow}/y", generation=3)
        assert rig.workflow(workflow).state == "succeeded"
        await one.end(f"{workflow}/x", "failed", generation=1)
        assert rig.workflow(workflow).state == "succeeded"
        assert len(rig.events("duplicate_result")) == 1

    story(tell)


def test_what_an_agent_lost_with_its_disk_is_assigned_to_it_anew():
    async def tell(rig: Rig) -> None:
        agent, workflow, offer = await held(rig, job("x", "y"))
        await agent.sync({f"{workflow}/x": "running"}, [offer])
        assert rig.states(workflow) == {"x": "held", "y": "assigned"}
        (task,) = await agent.take()
        assert task.uid == f"{workflow}/y"
        assert rig.task(workflow, "y").generation == 2

    story(tell)


def test_a_sync_that_an_ack_has_overtaken_takes_nothing_back():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        first = await rig.planned(job("x"))
        await agent.take()
        late = wire.Sync(
            cluster="a", identity=agent.identity, epoch=1, acks=agent.acks,
            held={}, tasks={f"{first}/x": "running"},
        )  # fmt: skip
        second = await rig.planned(job("y"))
        await agent.take()
        assert (await rig.controller.sync(late)).drop == []
        assert rig.states(second) == {"y": "held"}

    story(tell)


def test_a_sync_names_what_was_never_the_agents():
    async def tell(rig: Rig) -> None:
        agent, workflow, offer = await held(rig, job("x"))
        synced = await agent.sync(
            {f"{workflow}/x": "running", f"{workflow}/no": "running", "w-0/y": "waiting"}, [offer]
        )
        assert sorted(synced.drop) == sorted([f"{workflow}/no", "w-0/y"])

    story(tell)


def test_an_agent_that_lies_is_refused_or_ignored_and_the_rest_goes_on():
    async def tell(rig: Rig) -> None:
        agent, workflow, _ = await held(rig, job("x"))
        liar = await rig.agent("liar")
        status = wire.NodeStatus(name="liar-n0", cpu_free_milli=9000, memory_free_mib=1)
        with pytest.raises(Refused, match="cpu_free_milli 9000") as refused:
            await liar.poll(nodes=[status])
        assert refused.value.status == 422
        strange = status.model_copy(update={"name": "another", "cpu_free_milli": 10})
        await liar.poll(nodes=[strange])
        await liar.report(
            liar.says(f"{workflow}/x", "succeeded"),
            liar.says(f"{workflow}/x", "succeeded", generation=2**31),
            liar.says("w-unknown/x", "failed"),
            liar.says("no uid at all", "failed", reason="\0", exit_code=10**30),
        )
        await agent.report(agent.says(f"{workflow}/x", "running", generation=7))
        assert rig.states(workflow) == {"x": "held"}
        assert len(rig.events("report_ignored")) == 5
        await agent.report(
            agent.says(f"{workflow}/x", "failed", reason="\0", exit_code=10**30, node="\0")
        )
        assert rig.workflow(workflow).state == "failed"

    story(tell)


def test_a_result_for_what_was_offered_but_never_confirmed_is_not_believed():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(job("x"))
        await agent.poll()
        await agent.report(agent.says(f"{workflow}/x", "succeeded"))
        assert rig.states(workflow) == {"x": "offered"}

    story(tell)


def test_the_window_bounds_what_a_cluster_holds_and_opens_with_each_end():
    async def tell(rig: Rig) -> None:
        agent, workflow, _ = await held(rig, job(*"abcde"))
        assert list(rig.states(workflow).values()).count("held") == 2
        assert await agent.take() == []
        await agent.end(f"{workflow}/a")
        assert [task.uid for task in await agent.take()] == [f"{workflow}/c"]

    story(tell, window_tasks=2, offer_tasks=5)


def test_one_answer_is_bounded_too_and_higher_priority_goes_first():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        await rig.submit(job("x", "y", "z"))
        urgent = await rig.planned(job("u", priority=5))
        answer = await agent.poll()
        uids = [task.uid for offer in answer.offers for task in offer.tasks]
        assert len(uids) == 2
        assert f"{urgent}/u" in uids

    story(tell, offer_tasks=2)


def test_a_long_poll_is_answered_as_soon_as_there_is_work():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        await agent.sync({})
        waiting = asyncio.ensure_future(agent.poll(wait_s=20.0))
        await rig.clock.advance(1.0)
        assert not waiting.done()
        await rig.planned(job("x"))
        await settle()
        assert waiting.done()
        assert len((await waiting).offers) == 1

    story(tell, lease_s=90.0)


def test_an_idle_poll_touches_no_database_and_ends_well_within_the_lease():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        await agent.sync({})
        await agent.poll()
        writes = rig.store.writes
        waiting = asyncio.ensure_future(agent.poll(wait_s=60.0))
        await rig.clock.advance(3.4)
        assert waiting.done()
        await waiting
        assert rig.store.writes == writes

    story(tell)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_of_unknown_outcome_is_answered_as_unknown_and_found_again(when):
    async def tell(rig: Rig) -> None:
        await rig.agent("a")
        rig.store.broken = when
        with pytest.raises(StoreUnavailable):
            await rig.controller.submit(job("x"), tenant="t", key="k", body_hash="h")
        rig.store.broken = ""
        again = await rig.controller.submit(job("x"), tenant="t", key="k", body_hash="h")
        assert again.created == (when == "before")
        await rig.plan()
        assert rig.states(again.workflow_id) == {"x": "assigned"}
        assert len(rig.events("submitted")) == 1

    story(tell)


def test_after_a_restart_everything_goes_on_from_the_database():
    async def tell(rig: Rig) -> None:
        agent, workflow, offer = await held(rig, chain("x", "y"))
        other = await rig.submit(job("z"))
        await rig.restart()
        assert rig.controller.leader.epoch == 2
        answer = await agent.poll()
        assert answer.resync
        await agent.sync({f"{workflow}/x": "running", f"{workflow}/y": "waiting"}, [offer])
        assert not (await agent.poll()).resync
        await agent.end(f"{workflow}/x")
        await agent.end(f"{workflow}/y")
        await rig.plan()
        (task,) = await agent.take()
        await agent.end(task.uid)
        assert rig.workflow(workflow).state == "succeeded"
        assert rig.workflow(other).state == "succeeded"

    story(tell)


def test_an_auction_is_won_by_the_highest_bid_and_without_bids_there_is_a_default():
    async def tell(rig: Rig) -> None:
        agents = {name: Agent(rig, name) for name in "ab"}
        for agent in agents.values():
            await agent.register()
        workflow = await rig.submit(job("x", decomposition="whole", assignment="auction"))
        planning = asyncio.ensure_future(rig.plan())
        await settle()
        (auction,) = (await agents["a"].poll()).auctions
        assert (auction.tasks, auction.core_s) == (1, 10.0)
        for name, value in (("a", -20.0), ("b", -10.0)):
            await agents[name].poll(bids=[wire.Bid(auction=auction.auction, value=value)])
        await planning
        await settle()
        assert rig.task(workflow, "x").cluster == "b"
        nobody = await rig.planned(job("x", assignment="auction"))
        await rig.clock.advance(3.0)
        assert rig.states(nobody) == {"x": "assigned"}

    story(tell)
