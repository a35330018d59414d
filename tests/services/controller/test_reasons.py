"""Why work went where it went, for people."""

from __future__ import annotations

from tests.services.controller.rig import Agent, Rig, chain, job, story


def test_the_reason_names_backlog_and_the_next_best_and_the_policies_that_were_used():
    async def tell(rig: Rig) -> None:
        for name in ("east", "west"):
            await Agent(rig, name, cpu_milli=1000).register()
        first = await rig.submit(job("x", decomposition="whole"))
        await rig.clock.advance(1.0)
        second = await rig.planned(job("x", assignment="spread"))
        row = rig.workflow(first)
        assert (row.decomposition, row.assignment) == ("whole", "cerebrum")
        row = rig.workflow(second)
        assert (row.decomposition, row.assignment) == ("cerebrum", "spread")
        (one, two) = (data["reason"] for *_, data in rig.events("assigned"))
        used, other = rig.task(first, "x").cluster, rig.task(second, "x").cluster
        assert one == f"cerebrum: backlog 0 s per core ({other} 0 s)"
        assert two == f"spread: backlog 0 s per core ({used} 10 s)"

    story(tell)


def test_the_reason_names_the_data_that_is_there_and_the_only_cluster_that_fits():
    async def tell(rig: Rig) -> None:
        await Agent(rig, "roomy", cpu_milli=1000).register()
        await Agent(rig, "fast", cpu_milli=4000, memory_mib=1000).register()
        spec = chain("x", "y")
        x = spec.tasks[0].model_copy(update={"memory_mib": 8000})
        y = spec.tasks[1].model_copy(update={"cpu_milli": 4000})
        workflow = await rig.planned(spec.model_copy(update={"tasks": [x, y]}))
        reasons = {task: data["reason"] for _, task, _, data in rig.events("assigned")}
        assert reasons["x"] == "cerebrum: backlog 0 s per core; only cluster that fits"
        assert "0 MB of 5 MB of inputs are there" in reasons["y"]
        assert "only cluster that fits" in reasons["y"]
        assert rig.task(workflow, "y").cluster == "fast"

    story(tell)


def test_the_row_of_a_task_keeps_why_its_agent_chose_the_node():
    async def tell(rig: Rig) -> None:
        agent = await rig.agent("a")
        workflow = await rig.planned(job("x", "y"))
        await agent.take()
        for name in "xy":
            uid = f"{workflow}/{name}"
            await agent.report(agent.says(uid, "running", node="a-n0", reason="best of 3"))
        await agent.report(agent.says(f"{workflow}/x", "succeeded"))
        await agent.report(agent.says(f"{workflow}/y", "failed", reason="exit code 1"))
        assert rig.task(workflow, "x").reason == "best of 3"
        assert rig.task(workflow, "y").reason == "exit code 1"

    story(tell)
