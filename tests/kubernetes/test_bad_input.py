"""What the API server lets through and no scheduler can use: told clearly, and nothing is stuck."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import Any

import pytest

from cerebrum.executors.kubernetes.scheduler import PodScheduler
from tests.kubernetes.api import ApiError
from tests.kubernetes.objects import condition, node, pod, priority_class
from tests.kubernetes.shared import Tenant
from tests.kubernetes.test_scheduling import OURS, scheduling, until

LOOP_PODS = int(os.environ.get("CEREBRUM_TEST_LOOP_PODS", "1000"))
"""The full figure is 10,000."""


def ours(name: str, **more: Any) -> dict[str, Any]:
    return pod(name, scheduler_name=OURS, **more)


def message(plane: Tenant, name: str) -> str:
    """Why a pod waits, as its condition has it."""
    return str(condition(plane.api.get("Pod", name), "PodScheduled").get("message", ""))


def at(plane: Tenant, name: str) -> str:
    return str(plane.api.get("Pod", name)["spec"].get("nodeName", ""))


def told(plane: Tenant, pods: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The message of each of these pods, while an ordinary one is still bound beside them."""
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create(node("n1"))
    for body in pods.values():
        plane.api.create(body)

    async def story() -> dict[str, str]:
        async with scheduling(plane):  # type: ignore[arg-type]
            for name in pods:
                await until(lambda name=name: message(plane, pods[name]["metadata"]["name"]))
            await asyncio.to_thread(plane.api.create, ours("ordinary"))
            await until(lambda: at(plane, "ordinary") == "n1")
            return {key: message(plane, body["metadata"]["name"]) for key, body in pods.items()}

    return asyncio.run(story())


def test_pods_that_ask_for_what_there_is_not_are_told_so(plane: Tenant) -> None:
    claim = {"name": "device", "resourceClaimName": "none"}
    said = told(plane, {
        "memory": ours("memory", memory="8191Pi"),
        "cpu": ours("cpu", cpu="9e15"),
        "claims": ours("claims", resourceClaims=[claim]),
        "unknown": ours("unknown", extended={"example.com/none": 1}),
        "seven": ours("seven", extended={f"example.com/r{i}": 1 for i in range(7)}),
        "share": ours("share", annotations={"alibabacloud.com/gpu-milli": "-5"}),
    })  # fmt: skip
    assert "Insufficient memory" in said["memory"] or "too large" in said["memory"]
    assert "Insufficient cpu" in said["cpu"] or "too large" in said["cpu"]
    assert "dynamic resource claims are not supported" in said["claims"]
    assert "example.com/none" in said["unknown"]
    assert "at most 6 extended resources" in said["seven"]
    assert "gpu-milli" in said["share"]


def test_the_api_server_itself_refuses_the_worst(plane: Tenant) -> None:
    """What we rely on: if it ever lets these through, this page has to say what becomes of them."""
    for body in (
        ours("negative", cpu="-1"),
        ours("annotated", annotations={"note": "x" * 2**20}),
        ours("n" * 254),
    ):
        with pytest.raises(ApiError) as refused:
            plane.api.create(body)
        assert refused.value.status in (400, 413, 422)


@pytest.mark.parametrize("memory", ["1" + "0" * 30, "1e30"])
def test_10_to_the_30_bytes_are_bound_or_told_whatever_the_server_makes_of_them(
    plane: Tenant, memory: str
) -> None:
    """It writes the first down as `1`, so such a pod is small."""
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create(node("n1"))
    plane.api.create(ours("memory", memory=memory))

    async def story() -> None:
        async with scheduling(plane):  # type: ignore[arg-type]
            await until(lambda: at(plane, "memory") or message(plane, "memory"))

    asyncio.run(story())


def test_resources_nobody_offers_do_not_use_up_the_places_of_those_that_are(plane: Tenant) -> None:
    """Six absurd pods, of anybody who may make pods, must not shut out a real device."""
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create(node("n1", extended={"example.com/real": 2}))
    for i in range(8):
        plane.api.create(ours(f"absurd{i}", extended={f"example.com/absurd{i}": 1}))

    async def story() -> None:
        async with scheduling(plane):  # type: ignore[arg-type]
            for i in range(8):
                await until(lambda i=i: f"example.com/absurd{i}" in message(plane, f"absurd{i}"))
            device = ours("device", extended={"example.com/real": 2})
            await asyncio.to_thread(plane.api.create, device)
            await until(lambda: at(plane, "device") == "n1")
            late = {"status": {"capacity": {"example.com/absurd3": "1"},
                               "allocatable": {"example.com/absurd3": "1"}}}  # fmt: skip
            change(plane, "n1", late)
            await until(lambda: at(plane, "absurd3") == "n1")

    asyncio.run(story())


def change(plane: Tenant, name: str, body: dict[str, Any]) -> None:
    plane.api.patch("Node", name, body, subresource="status")


def test_the_longest_names_and_the_largest_annotations_are_bound_and_told(plane: Tenant) -> None:
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    longest = ".".join(["n" * 62] * 4) + "n"
    labels = {"kubernetes.io/hostname": "n", "k" * 63: "v" * 63}
    plane.api.create(node(longest, labels=labels))
    large = {f"note{i}": "x" * 60_000 for i in range(4)}
    plane.api.create(ours("p" * 253, annotations=large, labels={"k" * 63: "v" * 63}))
    plane.api.create(ours("q" * 253, cpu="999"))

    async def story() -> None:
        async with scheduling(plane):  # type: ignore[arg-type]
            await until(lambda: at(plane, "p" * 253) == longest)
            await until(lambda: message(plane, "q" * 253))
            await until(lambda: len(plane.api.list("Event")) >= 2)

    asyncio.run(story())
    events = plane.api.list("Event")
    assert {e["involvedObject"]["name"] for e in events} == {"p" * 253, "q" * 253}


def test_nodes_that_offer_nonsense_take_nothing_and_keep_nobody_from_the_others(
    plane: Tenant,
) -> None:
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create_all([node(name) for name in ("absurd", "empty", "sane", "shrinks")])
    change(plane, "absurd", {"status": {"allocatable": {
        "cpu": "9223372036854775807", "memory": "8191Pi", "pods": "9999999999",
        "nvidia.com/gpu": "123456789",
    }}})  # fmt: skip
    change(plane, "empty", {"status": {"allocatable": None, "capacity": None}})
    plane.api.create(pod("there", node_name="shrinks", cpu="4"))
    change(plane, "shrinks", {"status": {"allocatable": {"cpu": "1"}}})
    plane.api.create_all([ours(f"p{i}", cpu="500m") for i in range(30)])

    async def story() -> None:
        async with scheduling(plane) as scheduler:  # type: ignore[arg-type]
            await until(lambda: all(at(plane, f"p{i}") for i in range(30)))
            chosen = {at(plane, f"p{i}") for i in range(30)}
            assert not chosen & {"empty", "shrinks"}
            assert scheduler.counters.unreadable >= 1
            change(plane, "shrinks", {"status": {"allocatable": {"cpu": "8"}}})
            only = {"kubernetes.io/hostname": "shrinks"}
            await asyncio.to_thread(plane.api.create, ours("late", cpu="4", nodeSelector=only))
            await until(lambda: at(plane, "late") == "shrinks")

    asyncio.run(story())


def test_gated_pods_are_let_be_and_a_class_that_never_preempts_waits(plane: Tenant) -> None:
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create(node("n1", cpu="2"))
    plane.api.create(priority_class("meek", 1000, preemption="Never"))
    plane.api.create(pod("low", cpu="2", node_name="n1"))
    meek = ours("meek", cpu="2")
    meek["spec"]["priorityClassName"] = "meek"
    plane.api.create(meek)
    plane.api.create(ours("gated", cpu="100m", schedulingGates=[{"name": "example.com/wait"}]))

    async def story() -> None:
        async with scheduling(plane) as scheduler:  # type: ignore[arg-type]
            await until(lambda: "Insufficient cpu" in message(plane, "meek"))
            assert at(plane, "low") == "n1"
            assert scheduler.counters.victims == 0
            assert not at(plane, "gated")
            await asyncio.to_thread(plane.api.delete, "Pod", "low")
            await until(lambda: at(plane, "meek") == "n1")
            await asyncio.to_thread(plane.api.delete, "Pod", "meek")
            open_it = {"spec": {"schedulingGates": []}}
            await asyncio.to_thread(plane.api.patch, "Pod", "gated", open_it)
            await until(lambda: at(plane, "gated") == "n1")

    try:
        asyncio.run(story())
    finally:
        plane.api.delete("PriorityClass", "meek")


def test_pods_that_come_and_go_all_day_leave_nothing_behind(plane: Tenant) -> None:
    """Of a hundred sizes, each with labels of its own, and deleted whether it is bound or not."""
    if not plane.ours:
        pytest.skip("it needs a cluster in which it may make nodes")
    plane.api.create_all([node(f"n{i}", cpu="2") for i in range(4)])

    def come_and_go(first: int, count: int) -> None:
        names = [f"p{i}" for i in range(first, first + count)]
        plane.api.create_all([
            ours(name, cpu=f"{1 + i % 100}m", memory=f"{1 + i % 100}Mi", labels={"number": str(i)})
            for i, name in enumerate(names, first)
        ])  # fmt: skip
        for name in names:
            plane.api.delete("Pod", name)

    async def story() -> None:
        async with scheduling(plane) as scheduler:  # type: ignore[arg-type]
            await asyncio.to_thread(come_and_go, 0, LOOP_PODS // 4)
            await until(lambda: quiet(scheduler))
            size, rss_mib = tables(scheduler), peak_mib()
            for round_ in range(1, 4):
                await asyncio.to_thread(come_and_go, round_ * LOOP_PODS // 4, LOOP_PODS // 4)
                await until(lambda: quiet(scheduler))
            after = tables(scheduler)
            print(
                f"{LOOP_PODS} pods: tables {size} -> {after}, peak {peak_mib() - rss_mib} MiB more"
            )
            assert all(after[name] <= 2 * max(size[name], 64) for name in size), (size, after)
            assert peak_mib() - rss_mib < 100
            await asyncio.to_thread(plane.api.create, ours("last"))
            await until(lambda: at(plane, "last"))

    asyncio.run(story())


def quiet(scheduler: PodScheduler) -> bool:
    """All that came is gone, as far as the scheduler knows."""
    return not scheduler.mirror.held


def tables(scheduler: PodScheduler) -> dict[str, int]:
    """How much the engine holds: rows of its tables, entries of the mirror."""
    mirror = scheduler.mirror
    mirror.flush()
    snapshot = mirror.recorded.engine.snapshot()
    return {
        "tasks": len(snapshot.tasks.row), "classes": len(snapshot.classes),
        "held": len(mirror.held), "by task": len(mirror.by_task),
    }  # fmt: skip


def peak_mib() -> int:
    """Most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
