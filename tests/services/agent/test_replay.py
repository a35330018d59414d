"""Decisions made live come out the same offline; a replay that could not tell is no use."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from cerebrum.executors.simulated_runs import Faults
from cerebrum.model.decisions import NOTHING, Bind, Decision
from cerebrum.model.resources import Resources
from cerebrum.model.snapshot import Snapshot
from cerebrum.model.tasks import TaskClass
from cerebrum.policies import get_policy
from cerebrum.services.agent.placing import Placeable, Placement
from cerebrum.services.agent.records import HeldState
from cerebrum.services.agent.replaying import replay
from tests.services.agent.stage import NODES, Stage, play, task


async def _busy_life(stage: Stage, agent: Any = None) -> None:
    """Arrivals, failures, a drain, a cancel, a restart in the middle."""
    for i in range(6):
        sizes = [task(f"a{i}-{j}", 5 + i, cpu_milli=500 + 500 * j) for j in range(5)]
        stage.controller.offer(f"a{i}", *sizes)
    agent = stage.start()
    await asyncio.sleep(12)
    await agent.drain("n1")
    stage.controller.cancel.add("w/a5-4")
    await asyncio.sleep(5)
    await stage.kill()
    agent = stage.start()
    await asyncio.sleep(5)
    await agent.uncordon("n1")
    await stage.until(lambda: len(stage.controller.ends()) == 30)
    await stage.kill()


@pytest.mark.parametrize("policy", ["best-fit", "random", "kubernetes-default", "sjf"])
def test_a_live_journal_is_decided_the_same_again(policy: str):
    async def story() -> None:
        stage = Stage(Faults(failures=0.2), policy=policy)
        await _busy_life(stage)
        found = await replay(stage.disk)
        assert found.differences == ()
        assert found.sessions == 2
        bound = len(stage.disk.events("bound"))
        assert bound >= 30
        assert found.decisions >= bound

    play(story)


def test_another_policy_decides_otherwise_and_that_is_seen():
    async def story() -> None:
        stage = Stage(policy="best-fit")
        await _busy_life(stage)
        found = await replay(stage.disk, lambda _: get_policy("worst-fit"))
        assert found.differences
        assert found.differences[0].live != found.differences[0].replayed

    play(story)


def test_a_forged_journal_is_found_out():
    async def story() -> None:
        stage = Stage()
        await _busy_life(stage)
        forged = False
        for row in stage.disk.rows("journal"):
            entries = json.loads(row["entries"])
            for entry in entries:
                if entry[0] == "decision" and entry[1] and entry[1][0][0] == "bind" and not forged:
                    entry[1][0][2] = 1 - entry[1][0][2]
                    forged = True
            with stage.disk.engine.begin() as connection:
                connection.execute(
                    text("UPDATE journal SET entries = :e WHERE seq = :s"),
                    {"e": json.dumps(entries), "s": row["seq"]},
                )
        assert forged
        assert len((await replay(stage.disk)).differences) == 1

    play(story)


class _AvoidsBusy:
    """Binds the first task to the node with the lowest forecast."""

    name = "avoids-busy"

    def decide(self, snapshot: Snapshot) -> Decision:
        if "cpu" not in snapshot.forecasts:
            return NOTHING
        row = int(np.argmin(snapshot.forecasts["cpu"].mean(axis=1)))
        return Decision((Bind(int(snapshot.pending[0]), row),))


def test_forecasts_are_part_of_what_is_replayed():
    placement = Placement("c", NODES, _AvoidsBusy(), 1)
    item = Placeable("u", TaskClass(Resources(100, 100)))
    placement.admit([item])
    placement.submit("u", 1.0)
    assert not placement.decide({}).placed
    placement.look_ahead({"cpu": np.array([[0.9, 0.9], [0.1, 0.2]])})
    assert [placed.node for placed in placement.decide({}).placed] == ["n1"]
    kinds = [entry[0] if isinstance(entry[0], str) else entry[1] for entry in placement.entries]
    assert kinds.index("forecast") < len(kinds) - 1 - kinds[::-1].index("decision")


class _Broken:
    name = "broken"

    def decide(self, snapshot: Snapshot) -> Decision:
        raise ZeroDivisionError("oops")


class _Greedy:
    name = "greedy"

    def decide(self, snapshot: Snapshot) -> Decision:
        return Decision(tuple(Bind(int(t), 0) for t in snapshot.pending))


def test_a_policy_that_raises_or_overfills_does_not_take_the_agent_down():
    async def story() -> None:
        for policy, expected in ((_Broken(), "ZeroDivisionError"), (_Greedy(), "no room")):
            stage = Stage()
            stage.controller.offer("a", *(task(f"t{i}", 1000) for i in range(6)))
            agent = stage.start()
            agent.life.policy = policy
            await asyncio.sleep(20)
            problem = (await agent.status())["problems"]["policy"]
            assert expected in problem
            used = [node["cpu_used_milli"] for node in (await agent.status())["nodes"]]
            assert max(used) <= 4000
            bound = [t for t in agent.ledger.tasks.values() if t.state is HeldState.RUNNING]
            assert len(bound) == len(stage.starts)
            await stage.kill()

    play(story)


def test_an_engine_full_of_ended_tasks_is_made_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cerebrum.services.agent.placing._CROWDED", 5)

    async def story() -> None:
        stage = Stage()
        for i in range(4):
            stage.controller.offer(f"a{i}", *(task(f"{i}-{j}", 2) for j in range(8)))
        agent = stage.start()
        await stage.until(lambda: len(stage.controller.ends()) == 32)
        assert (await agent.status())["engine"]["tasks"] < 32
        assert len(stage.starts) == len(set(stage.starts)) == 32
        await stage.kill()
        found = await replay(stage.disk)
        assert found.sessions > 1
        assert not found.differences

    play(story)
