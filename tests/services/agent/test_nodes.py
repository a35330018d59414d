"""Nodes that come, change and go under an agent's feet: tasks, controller and replay follow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cerebrum.model.cluster import Node
from cerebrum.model.errors import CerebrumError
from cerebrum.model.resources import Resources
from cerebrum.services.agent.records import HeldState
from cerebrum.services.agent.replaying import replay
from tests.services.agent.stage import NODES, Stage, play, task


class Inventory:
    """Nodes that a test moves."""

    def __init__(self) -> None:
        self._ahead: dict[str, Node | None] = {}
        self._news = asyncio.Event()

    def say(self, **changes: Node | None) -> None:
        self._ahead.update(changes)
        self._news.set()

    async def nodes(self) -> tuple[Node, ...]:
        return NODES

    async def next_changes(self) -> Mapping[str, Node | None]:
        await self._news.wait()
        self._news.clear()
        ahead, self._ahead = self._ahead, {}
        return ahead

    stale_s = 0.0


def node(name: str, cpu_milli: int = 4000, memory_mib: int = 4096, **more: Any) -> Node:
    return Node(name, Resources(cpu_milli, memory_mib), **more)


def test_a_node_that_joins_takes_tasks_and_the_controller_hears_of_it():
    async def story() -> None:
        inventory, stage = Inventory(), Stage()
        stage.controller.offer("a", *(task(f"t{i}", 50, cpu_milli=4000) for i in range(3)))
        agent = stage.start(inventory=inventory)
        await stage.until(lambda: len(stage.starts) == 2)
        inventory.say(n2=node("n2"))
        await stage.until(lambda: len(stage.starts) == 3)
        assert agent.ledger.tasks["w/t2"].node == "n2"
        await stage.until(lambda: len(stage.controller.nodes) == 3)
        assert {n["name"] for n in (await agent.status())["nodes"]} == {"n0", "n1", "n2"}
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


def test_a_node_that_goes_takes_nothing_new_and_what_ran_there_ends_by_the_executors_word():
    async def story() -> None:
        inventory, stage = Inventory(), Stage()
        stage.controller.offer("a", task("t", 40, cpu_milli=4000))
        agent = stage.start(inventory=inventory)
        await stage.until(lambda: len(stage.starts) == 1)
        await stage.until(lambda: agent.ledger.tasks["w/t"].state is HeldState.RUNNING)
        there = agent.ledger.tasks["w/t"].node
        inventory.say(**{there: None})
        await asyncio.sleep(1)
        assert agent.ledger.tasks["w/t"].state is HeldState.RUNNING
        assert {n["name"] for n in (await agent.status())["nodes"]} == {"n0", "n1"} - {there}
        stage.world.lose_node(there)
        await stage.until(lambda: len(stage.starts) == 2)
        await stage.until(lambda: agent.ledger.tasks["w/t"].node not in ("", there))
        await stage.until(lambda: stage.controller.ends().get("w/t") is not None)
        assert stage.controller.ends()["w/t"][0][0] == "succeeded"
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


@pytest.mark.parametrize("empty", [True, False])
def test_a_node_that_comes_back_is_used_again(empty: bool):
    """Whether its row was given up meanwhile or something still runs on it."""

    async def story() -> None:
        inventory, stage = Inventory(), Stage(nodes=(node("n0"),))
        stage.controller.offer("a", task("first", 1 if empty else 30, cpu_milli=3000))
        agent = stage.start(inventory=inventory)
        await stage.until(lambda: len(stage.starts) == 1)
        if empty:
            await stage.until(lambda: "w/first" in stage.controller.ends())
        inventory.say(n0=None)
        await asyncio.sleep(2)
        inventory.say(n0=node("n0"))
        await asyncio.sleep(2)
        stage.controller.offer("b", task("second", 5, cpu_milli=1000))
        await stage.until(lambda: "w/second" in stage.controller.ends())
        assert (await agent.status())["nodes"][0]["schedulable"]
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


def test_room_that_others_take_is_not_given_twice_and_room_they_leave_is_used():
    async def story() -> None:
        inventory, stage = Inventory(), Stage(nodes=(node("n0"),))
        agent = stage.start(inventory=inventory)
        inventory.say(n0=node("n0", cpu_milli=1000))
        await asyncio.sleep(1)
        stage.controller.offer("a", task("big", 5, cpu_milli=1000), task("two", 5, cpu_milli=1000))
        await stage.until(lambda: len(stage.starts) == 1)
        await asyncio.sleep(2)
        assert len(stage.starts) == 1
        inventory.say(n0=node("n0", cpu_milli=500))  # less than what runs has: nothing is free
        await asyncio.sleep(1)
        assert (await agent.status())["nodes"][0]["cpu_used_milli"] == 500
        inventory.say(n0=node("n0", cpu_milli=4000))
        await stage.until(lambda: len(stage.starts) == 2)
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


def test_polls_never_claim_more_than_was_registered():
    """A controller takes more free than registered for a lie, and refuses the poll."""

    async def story() -> None:
        inventory, stage = Inventory(), Stage(nodes=(node("n0", cpu_milli=1000),))
        stage.start(inventory=inventory)
        await asyncio.sleep(10)
        for cpu_milli in (4000, 500, 4000):
            inventory.say(n0=node("n0", cpu_milli=cpu_milli))
            await asyncio.sleep(25)
        registered = 0
        for message in stage.controller.messages:
            for one in message.nodes:
                if hasattr(one, "cpu_milli"):
                    registered = one.cpu_milli
                else:
                    assert one.cpu_free_milli <= registered
        assert registered == 4000
        await stage.kill()

    play(story)


def test_a_cordon_of_the_cluster_and_one_of_ours_both_count():
    async def story() -> None:
        inventory, stage = Inventory(), Stage(nodes=(node("n0"),))
        agent = stage.start(inventory=inventory)
        await asyncio.sleep(1)
        inventory.say(n0=node("n0", schedulable=False))
        await asyncio.sleep(1)
        stage.controller.offer("a", task("t", 5))
        await asyncio.sleep(10)
        assert not stage.starts
        await agent.cordon("n0")
        inventory.say(n0=node("n0"))
        await asyncio.sleep(10)
        assert not stage.starts
        await agent.uncordon("n0")
        await stage.until(lambda: len(stage.starts) == 1)
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


def test_nodes_survive_a_database_that_fails_at_that_very_moment():
    async def story() -> None:
        inventory, stage = Inventory(), Stage(nodes=(node("n0"),))
        agent = stage.start(inventory=inventory)
        await asyncio.sleep(2)
        stage.disk.full = True
        inventory.say(n0=None, n1=node("n1"))
        await asyncio.sleep(5)
        stage.disk.full = False
        stage.controller.offer("a", task("t", 5))
        await stage.until(lambda: len(stage.starts) == 1)
        assert agent.ledger.tasks["w/t"].node == "n1"
        await stage.kill()
        assert (await replay(stage.disk)).differences == ()

    play(story)


def test_an_executor_whose_outside_is_away_ends_neither_the_agent_nor_its_tasks():
    """An API server that does not answer: what runs there goes on, and is found again."""

    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("t", 150))
        agent = stage.start()
        await stage.until(lambda: len(stage.starts) == 1)
        executor = agent.executor
        there = executor.runs, executor.next_changes

        async def away() -> Any:
            raise CerebrumError("the API server cannot be reached")

        executor.runs = executor.next_changes = away
        await asyncio.sleep(70)
        assert (await agent.status())["problems"]["executor"] == "the API server cannot be reached"
        assert not stage.controller.ends()
        executor.runs, executor.next_changes = there
        await stage.until(lambda: "w/t" in stage.controller.ends())
        assert stage.controller.ends()["w/t"][0][0] == "succeeded"
        assert len(stage.starts) == 1
        await stage.kill()

    play(story)
