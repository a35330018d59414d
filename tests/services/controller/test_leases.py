"""Silent clusters: rules 4, 5, 10 and 13."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.services import wire
from cerebrum.services.controller.leases import stampede
from cerebrum.services.errors import Refused
from tests.services.controller.rig import Agent, Rig, chain, job, story


async def three(rig: Rig) -> list[Agent]:
    agents = [Agent(rig, name) for name in "abc"]
    for agent in agents:
        await agent.register()
    return agents


async def running(rig: Rig, agents: list[Agent], spec: wire.WorkflowSpec) -> tuple[str, Agent]:
    """The workflow's tasks are held by one agent."""
    workflow = await rig.planned(spec)
    taken = {agent.cluster: await agent.take() for agent in agents}
    (holder,) = [agent for agent in agents if taken[agent.cluster]]
    return workflow, holder


@pytest.mark.parametrize(
    ("on_lost", "kept_s", "moved_s"), [("replace", 12, 15), ("wait", 41, 45), ("never", 300, None)]
)
def test_a_held_task_moves_only_after_its_fence_and_the_margin(on_lost, kept_s, moved_s):
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost=on_lost))
        fence_s = {"replace": 10.0, "wait": 40.0, "never": None}[on_lost]
        assert next(iter(holder.offers.values())).fence_after_s == fence_s
        others = [agent for agent in agents if agent is not holder]
        await rig.pass_time(kept_s, others)
        assert rig.states(workflow) == {"x": "held"}
        assert rig.events("cluster_lost")[0][2] == holder.cluster
        if moved_s is None:
            return
        await rig.pass_time(moved_s - kept_s, others)
        assert rig.states(workflow) == {"x": "pending"}
        await rig.plan()
        row = rig.task(workflow, "x")
        assert row.generation == 2
        assert row.cluster != holder.cluster

    story(tell)


def test_every_contact_renews_so_a_slow_agent_loses_nothing():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost="replace"))
        others = [agent for agent in agents if agent is not holder]
        for _ in range(5):
            await rig.pass_time(9, others)
            await holder.report()
        assert rig.states(workflow) == {"x": "held"}
        assert rig.events("cluster_lost") == []

    story(tell)


def test_when_most_clusters_fall_silent_at_once_nothing_is_taken_back():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost="replace"))
        (heard, *_) = [agent for agent in agents if agent is not holder]
        await rig.pass_time(60, [heard])
        assert rig.controller.halted
        assert rig.states(workflow) == {"x": "held"}
        (third,) = [agent for agent in agents if agent not in (holder, heard)]
        await rig.pass_time(2, [heard, third])
        assert not rig.controller.halted
        assert rig.states(workflow) == {"x": "held"}  # it may be about to come back as well
        await rig.pass_time(11, [heard, third])
        assert rig.states(workflow) == {"x": "pending"}

    story(tell)


def test_an_agent_that_returns_in_time_goes_on_and_one_that_returns_late_is_told_to_drop():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost="replace"))
        (offer,) = holder.offers.values()
        others = [agent for agent in agents if agent is not holder]
        await rig.pass_time(11, others)
        await holder.poll()
        assert [kind for kind, *_ in rig.events("cluster_lost", "cluster_back")] == [
            "cluster_lost", "cluster_back",
        ]  # fmt: skip
        assert rig.states(workflow) == {"x": "held"}
        await rig.pass_time(15, others)
        synced = await holder.sync({f"{workflow}/x": "waiting"}, [offer])
        assert synced.drop == [f"{workflow}/x"]
        acked = await holder.ack(offer)
        assert acked.dropped == [offer.assignment]

    story(tell)


def test_a_fenced_task_is_free_at_once_and_not_cancelled():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x"))
        await holder.report(holder.says(f"{workflow}/x", "cancelled", reason="fenced"))
        assert rig.states(workflow) == {"x": "pending"}
        await rig.plan()
        assert rig.task(workflow, "x").generation == 2

    story(tell)


def test_after_a_restart_of_the_controller_leases_begin_anew():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost="replace"))
        others = [agent for agent in agents if agent is not holder]
        await rig.pass_time(9, others)
        await rig.restart()
        await rig.pass_time(11, others)
        assert rig.states(workflow) == {"x": "held"}
        await rig.pass_time(3, others)
        assert rig.states(workflow) == {"x": "pending"}

    story(tell)


def test_a_second_agent_with_the_same_id_is_refused_until_the_first_is_gone_for_good():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x"))
        others = [agent for agent in agents if agent is not holder]
        twin = Agent(rig, holder.cluster, identity="another-identity-x")
        with pytest.raises(Refused) as refused:
            await twin.register()
        assert refused.value.status == 409
        with pytest.raises(Refused, match="another agent"):
            await twin.poll()
        await rig.pass_time(13, others)
        await twin.register()
        with pytest.raises(Refused, match="another agent"):
            await holder.poll()
        await twin.sync({})
        await rig.pass_time(28, [*others, twin])
        assert rig.states(workflow) == {"x": "held"}  # the first may still run it, until its fence
        await rig.pass_time(3, [*others, twin])
        assert rig.states(workflow) == {"x": "pending"}

    story(tell)


def test_what_an_earlier_agent_may_still_run_is_remembered_across_a_restart():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, job("x", on_cluster_lost="replace"))
        others = [agent for agent in agents if agent is not holder]
        twin = Agent(rig, holder.cluster, identity="another-identity-x")
        await rig.pass_time(12, others)
        await rig.controller.register(
            wire.Register(
                cluster=others[0].cluster,
                identity=others[0].identity,
                nodes=others[0].nodes,
                epoch=1,
            )
        )
        await rig.restart()
        await rig.pass_time(12, others)
        await rig.clock.advance(0.5)
        await twin.register()
        await rig.pass_time(2, [*others, twin])
        assert rig.states(workflow) == {"x": "pending"}

    story(tell)


def test_forgetting_a_cluster_frees_even_what_would_have_waited_for_ever():
    async def tell(rig: Rig) -> None:
        agents = await three(rig)
        workflow, holder = await running(rig, agents, chain("x", "y", on_cluster_lost="never"))
        await rig.controller.forget_cluster(holder.cluster)
        await rig.plan()
        rows = [rig.task(workflow, name) for name in "xy"]
        assert all(row.cluster != holder.cluster and row.generation == 2 for row in rows)
        with pytest.raises(Refused) as refused:
            await holder.poll()
        assert refused.value.status == 404

    story(tell)


def test_a_drained_cluster_ends_what_it_holds_and_gets_nothing_new():
    async def tell(rig: Rig) -> None:
        one, two = Agent(rig, "a"), Agent(rig, "b")
        await one.register()
        workflow = await rig.planned(job("x"))
        await one.take()
        waiting = await rig.planned(job("y"))
        await rig.controller.drain_cluster("a")
        await two.register()
        await rig.plan()
        assert rig.task(waiting, "y").cluster == "b"
        answer = await one.poll()
        assert answer.cordon
        await one.end(f"{workflow}/x")
        assert rig.workflow(workflow).state == "succeeded"

    story(tell)


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=12), st.floats(0.1, 100))
def test_the_halt_needs_two_clusters_and_a_majority_of_those_that_were_there(clusters, lease_s):
    silent = sorted(seen for seen, lost in clusters if lost)
    halted = stampede(clusters, lease_s)
    if len(silent) < 2 or min(b - a for a, b in pairwise(silent)) > lease_s:
        assert not halted
    if len(silent) >= 2 and silent[-1] - silent[0] <= lease_s:
        assert halted == (len(silent) > 0.55 * len(clusters))
