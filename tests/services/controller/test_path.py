"""From a submission to its end, when nothing goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cerebrum.services import wire
from cerebrum.services.controller import _context, submit
from cerebrum.services.errors import Refused
from tests.services.controller.rig import Agent, Rig, chain, job, story


def test_a_chain_runs_in_one_cluster_from_submission_to_its_end():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.submit(chain("x", "y"))
        assert rig.states(workflow) == {"x": "pending", "y": "pending"}
        await rig.plan()
        assert rig.states(workflow) == {"x": "assigned", "y": "assigned"}
        tasks = await agent.take()
        assert [task.uid for task in tasks] == [f"{workflow}/x", f"{workflow}/y"]
        assert tasks[0].after == []
        assert tasks[1].after == [f"{workflow}/x"]
        assert tasks[0].rank_s > tasks[1].rank_s > 0
        assert rig.states(workflow) == {"x": "held", "y": "held"}
        await agent.end(f"{workflow}/x")
        assert rig.workflow(workflow).state == "running"
        await agent.end(f"{workflow}/y")
        row = rig.workflow(workflow)
        assert (row.state, row.unended, row.succeeded) == ("succeeded", 0, 2)
        kinds = [kind for kind, *_ in rig.events()]
        assert kinds == [
            "elected", "registered", "submitted", "planned", "assigned", "assigned", "offered",
            "offered", "held", "held", "running", "succeeded", "running", "succeeded",
            "workflow_ended",
        ]  # fmt: skip
        assert all(data["epoch"] == 1 for _, _, _, data in rig.events())

    story(tell)


def two_sites(**more: object) -> wire.WorkflowSpec:
    """x and z fit only where there is much memory, y only where there are many cores."""
    spec = chain("x", "y", "z", **more)
    x, y, z = (
        spec.tasks[0].model_copy(update={"memory_mib": 8000}),
        spec.tasks[1].model_copy(update={"cpu_milli": 4000}),
        spec.tasks[2].model_copy(update={"memory_mib": 8000}),
    )
    return spec.model_copy(update={"tasks": [x, y, z]})


def test_a_task_behind_another_cluster_is_offered_only_after_the_data_is_there():
    async def tell(rig: Rig) -> None:
        roomy = Agent(rig, "roomy", cpu_milli=1000)
        fast = Agent(rig, "fast", cpu_milli=4000, memory_mib=1000)
        await roomy.register()
        await fast.register()
        workflow = await rig.planned(two_sites())
        assert [rig.task(workflow, name).cluster for name in "xyz"] == ["roomy", "fast", "roomy"]
        assert [t.uid for t in await roomy.take()] == [f"{workflow}/x"]
        assert await fast.take() == []
        await roomy.end(f"{workflow}/x")
        (y,) = await fast.take()
        assert (y.uid, y.inputs, y.after) == (f"{workflow}/y", {"roomy": 5.0}, [])
        assert await roomy.take() == []
        await fast.end(f"{workflow}/y")
        (z,) = await roomy.take()
        assert z.inputs == {"fast": 5.0}
        await roomy.end(f"{workflow}/z")
        assert rig.workflow(workflow).state == "succeeded"

    story(tell)


def test_a_submission_may_be_repeated_but_its_key_not_reused():
    async def tell(rig: Rig) -> None:
        first = await rig.controller.submit(job("x"), tenant="t", key="k", body_hash="h")
        again = await rig.controller.submit(job("x"), tenant="t", key="k", body_hash="h")
        assert first.created
        assert (again.workflow_id, again.created) == (first.workflow_id, False)
        with pytest.raises(Refused) as refused:
            await rig.controller.submit(job("y"), tenant="t", key="k", body_hash="other")
        assert refused.value.status == 409
        other = await rig.controller.submit(job("y"), tenant="u", key="k", body_hash="other")
        assert other.workflow_id != first.workflow_id
        assert len(rig.events("submitted")) == 2

    story(tell)


def test_a_tenant_over_its_quota_is_told_to_come_back_until_tasks_end():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        await rig.controller.set_quota("t", 2)
        workflow = await rig.submit(job("x", "y"))
        with pytest.raises(Refused) as refused:
            await rig.submit(job("z"))
        assert refused.value.status == 429
        assert refused.value.retry_after_s
        await rig.planned(job("z"), tenant="someone else")
        await agent.take()
        await agent.end(f"{workflow}/x")
        await rig.submit(job("z"))

    story(tell)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (chain("x", "x"), "'x'"),
        (chain("x", "y", "x"), "'x'"),
        (job("x", assignment="cerebru"), "cerebrum"),
        (job("x", assignment="auction:bidder=./evil.py:bid"), "assigner"),
        (job("x", decomposition="./evil.py:Policy"), "decomposer"),
        (
            wire.WorkflowSpec(
                name="w",
                tasks=[wire.TaskSpec(name="x")],
                dependencies=[wire.DependencySpec(before="x", after="gone")],
            ),
            "'gone'",
        ),
        (
            wire.WorkflowSpec(
                name="w", tasks=[wire.TaskSpec(name="x", gpu_count=2, gpu_milli=500)]
            ),
            "gpu_milli",
        ),
    ],
)
def test_a_workflow_that_makes_no_sense_is_refused_by_name_and_leaves_no_trace(spec, named):
    async def tell(rig: Rig) -> None:
        with pytest.raises(Refused, match=named) as refused:
            await rig.submit(spec)
        assert refused.value.status == 422
        assert rig.events("submitted") == []

    story(tell)


def test_what_fits_no_cluster_waits_with_a_reason_then_is_rejected_with_all_behind_it():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a", cpu_milli=2000)
        spec = chain("x", "huge", "z")
        huge = spec.tasks[1].model_copy(update={"cpu_milli": 4000})
        spec = spec.model_copy(update={"tasks": [spec.tasks[0], huge, spec.tasks[2]]})
        workflow = await rig.submit(spec)
        fitting = await rig.planned(job("fits"))
        assert rig.workflow(workflow).state == "pending"
        assert "'huge'" in rig.workflow(workflow).reason
        assert rig.workflow(fitting).state == "running"
        await rig.pass_time(61, [agent])
        await rig.plan()
        row = rig.workflow(workflow)
        assert row.state == "rejected"
        assert rig.states(workflow) == {"x": "cancelled", "huge": "rejected", "z": "cancelled"}

    story(tell)


def test_a_node_that_comes_in_time_saves_what_fitted_nowhere():
    async def tell(rig: Rig) -> None:
        await Agent(rig, "a", cpu_milli=500).register()
        workflow = await rig.planned(job("x"))
        assert rig.workflow(workflow).state == "pending"
        await Agent(rig, "b", cpu_milli=1000).register()
        await rig.plan()
        assert rig.task(workflow, "x").cluster == "b"

    story(tell)


def test_the_second_of_two_equal_workflows_sees_what_the_first_was_given():
    async def tell(rig: Rig) -> None:
        for name in ("a", "b"):
            await Agent(rig, name, cpu_milli=1000).register()
        workflows = [await rig.submit(job("x", decomposition="whole")) for _ in range(4)]
        await rig.plan()
        used = [rig.task(workflow, "x").cluster for workflow in workflows]
        assert sorted(used) == ["a", "a", "b", "b"]

    story(tell)


def test_a_cluster_is_seen_with_the_speed_of_each_node_that_takes_tasks():
    async def tell(rig: Rig) -> None:
        agent = Agent(rig, "a", cpu_milli=1000)
        node = agent.nodes[0]
        agent.nodes = [
            node,
            node.model_copy(update={"name": "quick", "cpu_milli": 3000, "speed": 2.0}),
            node.model_copy(update={"name": "closed", "speed": 9.0, "schedulable": False}),
        ]
        await agent.register()
        free = wire.NodeStatus(name="quick", cpu_free_milli=500, memory_free_mib=100)
        await agent.poll(nodes=[free])
        view = rig.controller._context.sessions["a"].view()
        assert view.node_speeds == (1.0, 2.0)
        assert (view.speed, view.nodes, view.largest_cpu_milli) == (1.75, 2, 3000)
        assert (view.cpu_milli, view.cpu_free_milli) == (4000, 1500)

    story(tell)


def test_what_is_made_of_a_large_workflow_does_not_hold_up_the_event_loop(monkeypatch):
    monkeypatch.setattr(submit, "LARGE_TASKS", 3)
    monkeypatch.setattr(_context, "LARGE_BYTES", 0)

    async def tell(rig: Rig) -> None:
        elsewhere = 0

        async def compute(work: Callable[[], Any]) -> Any:
            nonlocal elsewhere
            elsewhere += 1
            return await asyncio.to_thread(work)

        def counted() -> int:
            nonlocal elsewhere
            done, elsewhere = elsewhere, 0
            return done

        rig.controller._context.compute = compute
        await rig.submit(job("a", "b", "c"))
        assert counted() == 0  # a thread would take longer than the work
        large = await rig.submit(chain("a", "b", "c", "d"))
        assert counted() == 1
        with pytest.raises(Refused, match="'a'"):
            await rig.submit(chain("a", "b", "c", "a"))
        assert rig.states(large) == dict.fromkeys("abcd", "pending")
        counted()
        controller = await rig.restart()
        controller._context.compute = compute
        await rig.controller.cancel_workflow(large)
        assert counted() == 1
        assert rig.states(large) == dict.fromkeys("abcd", "cancelled")

    story(tell)
