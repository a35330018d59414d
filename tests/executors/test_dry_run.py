"""A dry run says what would start, and starts nothing."""

from __future__ import annotations

import asyncio

import pytest

from cerebrum.executors.dry_run import DryRun, FreeNode, free_nodes
from cerebrum.model.errors import InputError
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunPhase

TWO_GPUS = Resources(cpu_milli=4000, memory_mib=1000, gpu_count=2, gpu_milli=1000)


def plan(nodes: dict[str, FreeNode], *launches: Launch) -> tuple[DryRun, list[str]]:
    """Bind them all; the executor, and what was short for each."""

    async def main():
        executor = DryRun(nodes)
        for launch in launches:
            await executor.start(launch)
        statuses = {s.run_id: s for s in await executor.next_changes()}
        for row in executor.planned():
            final = RunPhase.STOPPED if row.fits else RunPhase.START_FAILED
            assert statuses[row.run_id].phase is final
            assert statuses[row.run_id].reason == (row.shortage or "dry run")
        return executor

    executor = asyncio.run(main())
    return executor, [row.shortage for row in executor.planned()]


def bind(run_id: str, node: str = "n1", gpus: tuple[int, ...] = (), **amounts: int) -> Launch:
    return Launch(run_id, run_id, node, Resources(**amounts), gpus=gpus)


def test_each_bind_takes_from_the_copy_what_the_next_one_may_have() -> None:
    nodes = {"n1": FreeNode.idle(TWO_GPUS)}
    _, short = plan(
        nodes, bind("a", cpu_milli=3000), bind("b", cpu_milli=2000), bind("c", cpu_milli=1000)
    )
    assert short == ["", "cpu_milli: 2000 wanted, 1000 free", ""]
    assert nodes["n1"] == FreeNode.idle(TWO_GPUS)  # the caller's table is not touched


def test_gpus_are_counted_one_by_one() -> None:
    half = {"gpu_count": 1, "gpu_milli": 600}
    _, short = plan(
        {"n1": FreeNode.idle(TWO_GPUS)},
        bind("a", gpus=(0,), **half),
        bind("b", gpus=(0,), **half),
        bind("c", gpus=(1,), **half),
        bind("d", gpus=(2,), **half),
        bind("e", gpus=(), **half),
    )
    assert short == [
        "", "GPU 0: 600 wanted, 400 free", "", "no GPU 2: the node has 2",
        "gpus: 1 wanted, 0 bound",
    ]  # fmt: skip


def test_a_node_that_is_not_there_is_named() -> None:
    _, short = plan({"node-1": FreeNode.idle(TWO_GPUS)}, bind("a", node="node-2"))
    assert short == ["no node 'node-2', did you mean 'node-1'?"]


def test_extended_resources_run_out_too() -> None:
    room = {"n1": FreeNode(Resources(extended=(("fpga", 1),)))}
    want = Resources(extended=(("fpga", 1),))
    launches = [Launch(name, name, "n1", want) for name in "ab"]
    _, short = plan(room, *launches)
    assert short == ["", "fpga: 1 wanted, 0 free"]


def test_the_plan_outlasts_what_is_forgotten() -> None:
    executor, _ = plan({"n1": FreeNode.idle(TWO_GPUS)}, bind("a", cpu_milli=10))
    asyncio.run(executor.forget("a"))
    assert [row.task for row in executor.planned()] == ["a"]
    assert asyncio.run(executor.runs()) == []


def test_live_state_is_capacity_less_what_runs() -> None:
    running = [bind("a", cpu_milli=1000, gpus=(1,), gpu_count=1, gpu_milli=1000)]
    (node,) = free_nodes({"n1": TWO_GPUS}, running).values()
    assert (node.free.cpu_milli, node.gpu_free_milli) == (3000, (1000, 0))
    with pytest.raises(InputError, match="does not fit"):
        free_nodes({"n1": TWO_GPUS}, [bind("b", cpu_milli=5000)])
