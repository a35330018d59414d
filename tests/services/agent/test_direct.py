"""Without a controller: direct submissions, what the agent shows, and energy that adds up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.executors.simulated_runs import Faults
from cerebrum.model.cluster import Node, PowerModel
from cerebrum.model.errors import NotFound
from cerebrum.model.resources import Resources
from cerebrum.services import wire
from cerebrum.services.agent.energy import PJ, Energy
from cerebrum.services.errors import Refused
from tests.services.agent.stage import NODES, Stage, play


def _workflow(name: str = "w", **more: Any) -> wire.WorkflowSpec:
    given: dict[str, Any] = {
        "tasks": [
            wire.TaskSpec(name=task, cpu_milli=1000, duration_s=5.0) for task in ("x-1", "y", "z")
        ],
        "dependencies": [
            wire.DependencySpec(before="x-1", after="y"),
            wire.DependencySpec(before="x-1", after="z"),
        ],
        **more,
    }
    return wire.WorkflowSpec(name=name, **given)


def test_a_direct_submission_runs_without_a_controller_and_once():
    async def story() -> None:
        stage = Stage()
        agent = stage.start(alone=True)
        first = await agent.submit_subgraph(_workflow(), "s1")
        assert first["tasks"] == ["local-s1/x-1", "local-s1/y", "local-s1/z"]
        await stage.until(lambda: stage.disk.state("local-s1/z") == "succeeded")
        await stage.until(lambda: stage.disk.state("local-s1/y") == "succeeded")
        assert await agent.submit_subgraph(_workflow(), "s1") == first
        with pytest.raises(Refused) as refusal:
            await agent.submit_subgraph(_workflow(priority=1), "s1")
        assert refusal.value.status == 409
        assert len(stage.starts) == 3
        assert not stage.disk.rows("reports"), "there is nobody to report to"
        bound = [uid for _, uid, _ in stage.disk.events("bound")]
        assert bound[0] == "local-s1/x-1"
        await stage.kill()

    play(story)


@pytest.mark.parametrize(
    ("spec", "status", "words"),
    [
        (
            _workflow(dependencies=[
                wire.DependencySpec(before="y", after="z"),
                wire.DependencySpec(before="z", after="y"),
            ]),
            422, "waits for itself",
        ),
        (_workflow(dependencies=[wire.DependencySpec(before="no", after="z")]), 422, "'no'"),
        (_workflow(tasks=[wire.TaskSpec(name="x"), wire.TaskSpec(name="x")], dependencies=[]),
         422, "named twice"),
        (_workflow(tasks=[wire.TaskSpec(name="x", cpu_milli=5000)], dependencies=[]),
         422, "no node can ever hold 5000 mCPU"),
    ],
)  # fmt: skip
def test_a_senseless_submission_is_refused_and_leaves_nothing(
    spec: wire.WorkflowSpec, status: int, words: str
):
    async def story() -> None:
        stage = Stage()
        agent = stage.start(alone=True)
        with pytest.raises(Refused, match=words) as refusal:
            await agent.submit_subgraph(spec)
        assert refusal.value.status == status
        assert not stage.disk.rows("tasks")
        await stage.kill()

    play(story)


def test_a_full_agent_asks_to_come_back_later():
    async def story() -> None:
        stage = Stage(max_tasks=4)
        agent = stage.start(alone=True)
        await agent.submit_subgraph(_workflow(), "s1")
        with pytest.raises(Refused) as refusal:
            await agent.submit_subgraph(_workflow(), "s2")
        assert refusal.value.status == 429
        assert refusal.value.retry_after_s
        await stage.kill()

    play(story)


def test_status_and_explanation_say_what_is_where_and_why():
    async def story() -> None:
        stage = Stage(nodes=NODES[:1])
        agent = stage.start(alone=True)
        tasks = [wire.TaskSpec(name=f"t{i}", cpu_milli=3000, duration_s=50.0) for i in range(2)]
        await agent.submit_subgraph(_workflow(tasks=tasks, dependencies=[]))
        await asyncio.sleep(10)
        status = await agent.status()
        running, waiting = status["tasks"]
        assert (running["state"], running["node"]) == ("running", "n0")
        assert waiting["reason"] == "0/1 nodes can take it: Insufficient cpu"
        assert status["nodes"][0]["cpu_used_milli"] == 3000
        assert status["counts"]["running"] == status["counts"]["waiting"] == 1
        why = await agent.explain(waiting["uid"])
        assert why["nodes"] == [
            {"node": "n0", "refused": ["Insufficient cpu"], "scores": {}, "total": None}
        ]
        history = (await agent.task(running["uid"]))["events"]
        assert [event["kind"] for event in history] == [
            "received", "confirmed", "bound", "started",
        ]  # fmt: skip
        with pytest.raises(NotFound):
            await agent.explain("nobody")
        with pytest.raises(NotFound):
            await agent.cancel("nobody")
        with pytest.raises(NotFound):
            await agent.cordon("nowhere")
        await stage.kill()

    play(story)


def test_totals_are_the_sums_of_what_the_status_says():
    async def story() -> None:
        stage = Stage(Faults(failures=0.3))
        agent = stage.start(alone=True)
        tasks = [
            wire.TaskSpec(name=f"t{i}", cpu_milli=900, memory_mib=64, duration_s=20.0)
            for i in range(9)
        ]
        await agent.submit_subgraph(_workflow(tasks=tasks, dependencies=[]))
        await asyncio.sleep(10)
        status, totals = await agent.status(), await agent.totals()
        nodes = status["nodes"]
        assert totals.nodes == len(nodes) > 1
        for name in ("cpu_milli", "cpu_used_milli", "memory_mib", "memory_used_mib",
                     "idle_energy_j", "runs_energy_j"):  # fmt: skip
            assert getattr(totals, name) == pytest.approx(sum(node[name] for node in nodes)), name
            assert getattr(totals, name) > 0, name
        assert totals.counts == status["counts"]
        assert totals.counts["running"] > 0
        await stage.kill()

    play(story)


def test_energy_of_runs_and_idle_is_the_energy_of_the_nodes_across_restarts():
    async def story() -> None:
        stage = Stage(Faults(failures=0.3))
        agent = stage.start(alone=True)
        tasks = [
            wire.TaskSpec(name=f"t{i}", cpu_milli=700 + 100 * i, duration_s=3.0 + i, max_attempts=9)
            for i in range(8)
        ]
        await agent.submit_subgraph(_workflow(tasks=tasks, dependencies=[]))
        began_s = stage.clock.monotonic_s()
        await asyncio.sleep(6)
        await stage.kill()
        await asyncio.sleep(2)
        agent = stage.start(alone=True)
        await stage.until(lambda: stage.disk.state("local-w/t7") == "succeeded")
        await stage.until(lambda: all(t.state.final for t in agent.ledger.tasks.values()))
        status = await agent.status()
        now_s = stage.clock.monotonic_s()
        charged_j = sum(data["energy_j"] for _, _, data in stage.disk.events("ended"))
        runs_j = sum(node["runs_energy_j"] for node in status["nodes"])
        assert charged_j > 0
        assert runs_j == pytest.approx(charged_j, rel=1e-12)
        idle_j = sum(node["idle_energy_j"] for node in status["nodes"])
        assert idle_j == pytest.approx(2 * 100.0 * (now_s - began_s), rel=1e-2)
        for node in status["nodes"]:
            total = node["idle_energy_j"] + node["runs_energy_j"]
            assert node["energy_j"] == pytest.approx(total, rel=1e-12)
        await stage.kill()

    play(story)


_STEPS = st.lists(
    st.tuples(st.floats(0, 100), st.integers(0, 5), st.integers(1, 4000)), min_size=1, max_size=40
)


@given(_STEPS)
def test_energy_adds_up_exactly_whatever_happens_when(steps: list[tuple[float, int, int]]):
    """Integers throughout: not a picojoule may be lost between runs, idle and the total."""
    node = Node("n", Resources(4000, 1), power=PowerModel(33.3, 277.7, 3000))
    energy, now_s, charged = Energy([node], 0.0), 0.0, 0
    active: set[int] = set()
    for wait_s, run, cpu_milli in steps:
        now_s += wait_s
        if run in active:
            charged += round(energy.end(str(run), now_s) * PJ)
            active.discard(run)
        else:
            energy.begin(str(run), "n", Resources(cpu_milli), now_s)
            active.add(run)
    idle_pj, runs_pj, until_us = energy.totals("n", now_s)
    assert idle_pj == 66_600_000 * until_us  # two packages, 33.3 W each
    assert abs(runs_pj - charged - energy.running_pj()) <= 1e-6 * max(1, runs_pj)
