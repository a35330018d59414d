"""The pod scheduler against a real API server: what only a real one shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from cerebrum.executors.kubernetes.access import load_access
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.scheduler import PodScheduler
from cerebrum.policies import get_policy
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane

OURS = "cerebrum"
PATIENCE_S = 120.0


@asynccontextmanager
async def scheduling(plane: ControlPlane, **settings: Any) -> AsyncIterator[PodScheduler]:
    """Our scheduler on the cluster, with API limits lifted."""
    async with Client(load_access(plane.kubeconfig), qps=0) as client:
        scheduler = PodScheduler(
            client,
            get_policy("best_fit"),
            rng=np.random.default_rng(1),
            **{"clock": time.monotonic, "wall": time.time, **settings},
        )
        running = asyncio.create_task(scheduler.run())
        try:
            await until(lambda: scheduler.ready.is_set() or running.done())
            yield scheduler
        finally:
            if running.done():
                running.result()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what the API server or the scheduler comes to; asking it takes a thread."""
    end_s = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end_s, "it never came"
        await asyncio.sleep(0.1)


def where(plane: ControlPlane) -> dict[str, str]:
    """Pod -> node."""
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in plane.api.list("Pod")}


def conditions(plane: ControlPlane, name: str) -> dict[str, dict[str, Any]]:
    """A pod's conditions by type."""
    found = plane.api.get("Pod", name)["status"].get("conditions", [])
    return {condition["type"]: condition for condition in found}


def events(plane: ControlPlane, reason: str) -> list[dict[str, Any]]:
    """Events as `kubectl get events` shows them."""
    return [event for event in plane.api.list("Event") if event["reason"] == reason]


def test_pods_are_bound_reported_and_left_alone_as_a_real_server_has_it(
    control_plane: Callable[..., ControlPlane],
) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="4") for i in range(3)])
    plane.api.create_all([pod(f"p{i}", cpu="1", scheduler_name=OURS) for i in range(6)])
    plane.api.create(pod("big", cpu="9", scheduler_name=OURS))
    plane.api.create(pod("theirs", cpu="1"))

    async def story() -> None:
        async with scheduling(plane) as scheduler:
            await until(lambda: sum(map(bool, where(plane).values())) == 6)
            await until(lambda: len(events(plane, "Scheduled")) == 6)
            await until(lambda: events(plane, "FailedScheduling"))
            await until(lambda: "PodScheduled" in conditions(plane, "big"))
            assert scheduler.mirror.overcommitted() == []

    asyncio.run(story())
    told = conditions(plane, "big")["PodScheduled"]
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert told["message"].startswith("0/3 nodes are available: 3 Insufficient cpu.")
    assert events(plane, "FailedScheduling")[0]["reportingComponent"] == OURS
    assert not where(plane)["theirs"]


def test_room_is_made_with_conditions_and_a_nomination(
    control_plane: Callable[..., ControlPlane],
) -> None:
    plane = control_plane()
    plane.api.create(node("n1", cpu="2"))
    plane.api.create({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "high"}, "value": 1000,
    })  # fmt: skip
    plane.api.create(pod("cheap", cpu="2", scheduler_name=OURS, terminationGracePeriodSeconds=0))

    async def story() -> None:
        async with scheduling(plane):
            await until(lambda: where(plane)["cheap"])
            urgent = pod("urgent", cpu="2", scheduler_name=OURS, priorityClassName="high")
            await asyncio.to_thread(plane.api.create, urgent)
            await until(lambda: where(plane).get("urgent") == "n1")
            await until(lambda: events(plane, "Preempted"))

    asyncio.run(story())
    assert "cheap" not in where(plane)


def test_two_schedulers_of_one_name_bind_each_pod_once(
    control_plane: Callable[..., ControlPlane],
) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="64") for i in range(4)])
    plane.api.create_all([pod(f"p{i}", cpu="1", scheduler_name=OURS) for i in range(60)])

    async def story() -> None:
        async with scheduling(plane) as one, scheduling(plane) as other:
            await until(lambda: all(where(plane).values()))
            held = [*one.mirror.held.values(), *other.mirror.held.values()]
            await until(lambda: all(h.phase.value == "bound" for h in held))
            assert len(held) == 120

    asyncio.run(story())


def test_the_api_server_is_killed_while_pods_are_bound(
    control_plane: Callable[..., ControlPlane],
) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="8") for i in range(5)])
    plane.api.create_all([pod(f"p{i}", cpu="1", scheduler_name=OURS) for i in range(40)])

    async def story() -> None:
        async with scheduling(plane) as scheduler:
            await until(lambda: scheduler.counters.binds >= 5)
            await asyncio.to_thread(plane.kill_api)
            await asyncio.sleep(1.0)
            await asyncio.to_thread(plane.start_api)
            await until(lambda: all(where(plane).values()))
            assert scheduler.mirror.overcommitted() == []
            held = scheduler.mirror.held.values()
            await until(lambda: all(h.phase.value == "bound" for h in held))

    asyncio.run(story())
    used: dict[str, int] = {}
    for name in where(plane).values():
        used[name] = used.get(name, 0) + 1
    assert max(used.values()) <= 8
