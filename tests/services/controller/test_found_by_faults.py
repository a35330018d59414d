"""Stories that the fault simulator told first (`tests/faults`), each without its accidents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from cerebrum.services.store import schema as db
from tests.services.controller.rig import Agent, Rig, chain, job, settle, story


def test_what_is_to_be_cancelled_is_not_given_out_again_when_its_predecessor_moves():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(chain("x", "y"))
        await agent.take()
        await rig.controller.cancel_task(f"{workflow}/y")
        # The agent was cut off from us and has ended x behind its fence.
        await agent.report(agent.says(f"{workflow}/x", "cancelled", reason="fenced"))
        assert rig.states(workflow) == {"x": "pending", "y": "held"}
        assert [e for e in rig.events("assigned") if e[1] == "y" and e[3]["generation"] > 1] == []
        assert (await agent.poll()).cancel == [f"{workflow}/y"]
        await agent.report(agent.says(f"{workflow}/y", "cancelled"))
        assert rig.states(workflow)["y"] == "cancelled"

    story(tell)


def test_what_a_replaced_agent_keeps_for_ever_takes_no_place_of_the_next_one():
    async def tell(rig: Rig) -> None:
        first = await rig.agent("a")
        kept = await rig.planned(job("x", "y", on_cluster_lost="never"))
        assert len(await first.take()) == 2
        await rig.pass_time(13)  # its disk is lost, and with it what it held
        second = await rig.agent("a", identity="another-identity-of-a")
        workflow = await rig.planned(job("z"))
        assert [task.uid for task in await second.take()] == [f"{workflow}/z"]
        assert rig.states(kept) == {"x": "held", "y": "held"}
        await rig.restart()  # and after a restart it is still known who had what
        other = await rig.submit(job("z"))
        await second.end(f"{workflow}/z")
        await rig.plan()
        assert [task.uid for task in await second.take()] == [f"{other}/z"]

    story(tell, window_tasks=2, ahead_tasks=2)


def test_who_alone_waits_for_room_in_a_full_cluster_is_planned_when_it_opens():
    async def tell(rig: Rig) -> None:
        large, small = Agent(rig, "large"), Agent(rig, "small", cpu_milli=1000)
        await large.register()
        await small.register()
        spec = job("x", "y")
        big = [task.model_copy(update={"cpu_milli": 4000}) for task in spec.tasks]
        first = await rig.submit(spec.model_copy(update={"tasks": big}))
        await rig.clock.advance(1.0)
        second = await rig.submit(spec.model_copy(update={"tasks": big[:1]}))
        # One pass: the first fills the large cluster, the second fits no other.
        await rig.plan()
        assert rig.states(second) == {"x": "pending"}
        await large.take()
        await large.end(f"{first}/x")
        await rig.plan()
        assert rig.task(second, "x").cluster == "large"

    story(tell, window_tasks=2, ahead_tasks=2)


def test_a_cluster_that_fills_and_opens_between_two_looks_has_opened():
    async def tell(rig: Rig) -> None:
        large, small = Agent(rig, "large"), Agent(rig, "small", cpu_milli=1000)
        await large.register()
        await small.register()
        spec = job("x", "y")
        big = [task.model_copy(update={"cpu_milli": 4000}) for task in spec.tasks]
        first = await rig.submit(spec.model_copy(update={"tasks": big}))
        await rig.clock.advance(1.0)
        second = await rig.submit(spec.model_copy(update={"tasks": big[:1]}))
        # Both looks see the large cluster open; only what is between them does not.
        assert await rig.controller.plan_once() == 1
        await large.take()
        await large.end(f"{first}/x")
        await rig.plan()
        assert rig.task(second, "x").cluster == "large"

    story(tell, window_tasks=2, ahead_tasks=2)


def test_the_late_result_of_a_lost_cluster_ends_a_task_that_waits_for_another():
    async def tell(rig: Rig) -> None:
        agent, others = Agent(rig, "a"), [Agent(rig, name, cpu_milli=100) for name in "bc"]
        for one in (agent, *others):
            await one.register()
        workflow = await rig.planned(job("x", on_cluster_lost="replace"))
        await agent.take()
        await rig.pass_time(15, others)
        assert rig.states(workflow) == {"x": "pending"}
        await agent.end(f"{workflow}/x")
        row = rig.task(workflow, "x")
        assert (row.state, row.cluster, row.generation) == ("succeeded", "a", 1)
        await rig.plan()
        assert rig.workflow(workflow).state == "succeeded"

    story(tell)


def test_what_began_behind_a_result_that_came_twice_is_not_taken_back_while_it_runs():
    async def tell(rig: Rig) -> None:
        one, two = Agent(rig, "a"), Agent(rig, "b")
        third = Agent(rig, "c", cpu_milli=100)
        await one.register()
        await third.register()
        workflow = await rig.planned(chain("x", "y", "z", on_cluster_lost="replace"))
        await one.take()
        await two.register()
        await rig.pass_time(14, [two, third])
        await rig.plan()
        await two.take()
        # The second agent has ended x and begun y; before that is known, the first one comes back.
        await one.end(f"{workflow}/x", generation=1)
        assert rig.states(workflow) == {"x": "succeeded", "y": "held", "z": "held"}
        assert [e for e in rig.events("taken_back") if e[1] == "y" and e[3]["generation"] > 1] == []
        # Its word counts, as long as it has not been made to end y.
        await two.report(
            two.says(f"{workflow}/x", "succeeded", 2),
            two.says(f"{workflow}/y", "running", 2, node="b-n0"),
            two.says(f"{workflow}/y", "succeeded", 2),
        )
        assert rig.states(workflow) == {"x": "succeeded", "y": "succeeded", "z": "held"}
        assert (await two.poll()).cancel == []
        await two.end(f"{workflow}/z", generation=2)
        assert rig.workflow(workflow).state == "succeeded"

    story(tell)


def test_a_registration_that_the_database_confirms_late_does_not_age_the_lease():
    """Stored at once, heard of twenty seconds later: the agent was heard all the while, and its
    tasks must not be taken back."""

    async def tell(rig: Rig) -> None:
        agent, other = await rig.agent("a"), await rig.agent("b")
        late = rig.store.late = asyncio.Event()
        slow = asyncio.ensure_future(agent.register())
        await settle()
        await rig.pass_time(20, [agent, other])
        late.set()
        await slow
        await rig.pass_time(1)
        assert rig.events("cluster_lost") == []

    story(tell)


def test_the_registration_stored_last_counts_whatever_is_heard_of_last():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        late = rig.store.late = asyncio.Event()
        slow = asyncio.ensure_future(agent.register())
        await settle()
        agent.nodes = [node.model_copy(update={"cpu_milli": 500}) for node in agent.nodes]
        await agent.register()
        late.set()
        await slow
        [cluster] = rig.controller.clusters()
        assert cluster.view.cpu_milli == 500

    story(tell)


def test_the_last_word_on_a_drain_counts_whatever_is_heard_of_last():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        late = rig.store.late = asyncio.Event()
        drain = asyncio.ensure_future(rig.controller.drain_cluster("a"))
        await settle()
        await rig.controller.uncordon_cluster("a")
        await agent.register()
        late.set()
        await drain
        workflow = await rig.planned(job("x"))
        assert rig.states(workflow) == {"x": "assigned"}

    story(tell)


def test_an_old_answer_about_a_drain_does_not_undo_what_was_heard_since():
    async def tell(rig: Rig) -> None:
        await rig.agent("a")
        late, answer, read = asyncio.Event(), asyncio.Event(), rig.store.read

        async def slow_about_drains(work: Callable[[Connection], Any]) -> Any:
            found = await read(work)
            if isinstance(found, list) and found and hasattr(found[0], "cordoned"):
                await answer.wait()
            return found

        rig.store.read = slow_about_drains
        workflow, rig.store.late = await rig.submit(job("x")), late
        drain = asyncio.ensure_future(rig.controller.drain_cluster("a"))
        await settle()  # stored, and not heard of: the plan is made for the cluster, and refused
        plan = asyncio.ensure_future(rig.controller.plan_once())
        await settle()
        assert not plan.done()
        await rig.controller.uncordon_cluster("a")
        answer.set()
        late.set()
        assert await plan == 0
        await drain
        await rig.plan()
        assert rig.states(workflow) == {"x": "assigned"}

    story(tell)


def test_what_is_remembered_of_a_cluster_gives_way_to_what_is_stored():
    """A note that it is lost may be stored after its next registration: remembered as live, it was
    planned for, and the plan refused, again and again without a pause."""

    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.submit(job("x"))
        with rig.store._engine.begin() as connection:
            connection.execute(db.clusters.update().values(state="lost"))
        assert await rig.controller.plan_once() == 0
        [cluster] = rig.controller.clusters()
        assert cluster.state == "lost"
        await agent.poll()
        await rig.plan()
        assert rig.states(workflow) == {"x": "assigned"}

    story(tell)
