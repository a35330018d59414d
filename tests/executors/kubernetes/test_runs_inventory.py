"""Nodes as the agent sees them: what other pods leave, and how that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from cerebrum.executors.kubernetes import _runs_inventory as inventory
from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_template import EMPTY, Template, checked
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.feeds import Feeds
from cerebrum.model.cluster import Node
from tests.executors.kubernetes.fake_runs_api import FakeApi


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.setattr(inventory, "SETTLE_S", 0.05)
    with FakeApi() as fake:
        fake.kubelet.asleep = True
        yield fake


@asynccontextmanager
async def following(api: FakeApi, template: Template = EMPTY, *, all_pods: bool = False):
    async with Client(api.access, qps=0) as client:
        rng = np.random.default_rng(1)
        found = inventory.ClusterInventory(Feeds(client, rng, all_pods=all_pods), "c1", template)
        running = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def node(api: FakeApi, name: str = "n1", spec: Any = None, **status: Any) -> None:
    offered = {"cpu": "4", "memory": "8Gi", "pods": "10", **status.pop("allocatable", {})}
    api.put("nodes", name, spec=spec or {}, status={"allocatable": offered, **status})


def pod(api: FakeApi, name: str, cpu: str = "1", on: str = "n1", **more: Any) -> None:
    asked = {"requests": {"cpu": cpu, "memory": "1Gi", **more.pop("requests", {})}}
    spec = {"nodeName": on, "containers": [{"name": "x", "resources": asked}]}
    metadata = {"labels": more.pop("labels", {}), "annotations": more.pop("annotations", {})}
    api.put("pods", name, "elsewhere", metadata=metadata, spec=spec, status={"phase": "Running"})


async def next_of(found: inventory.ClusterInventory, name: str = "n1") -> Node | None:
    while True:
        changes = await found.next_changes()
        if name in changes:
            return changes[name]


def test_what_others_have_is_taken_away_and_what_is_ours_is_not(api: FakeApi):
    async def story() -> None:
        node(api)
        pod(api, "other")
        ours = {at.MANAGED_BY: at.MANAGER, at.CLUSTER: "c1", at.RUN_ID: "r"}
        pod(api, "ours", labels=ours)
        pod(api, "theirs", labels={**ours, at.CLUSTER: "c2"})
        api.put("pods", "over", "elsewhere", spec={"nodeName": "n1", "containers": []},
                status={"phase": "Succeeded"})  # fmt: skip
        async with following(api) as found:
            (now,) = await found.nodes()
            assert (now.capacity.cpu_milli, now.capacity.memory_mib, now.slots) == (2000, 6144, 8)
            api.drop("pods", "other", "elsewhere")
            after = await next_of(found)
            assert after is not None
            assert after.capacity.cpu_milli == 3000
            api.put("pods", "theirs", "elsewhere", metadata={"labels": {}}, status={
                "phase": "Failed"}, spec={"nodeName": "n1", "containers": []})  # fmt: skip
            last = await next_of(found)
            assert last is not None
            assert last.capacity.cpu_milli == 4000
            assert last.slots == 10

    play(story)


def test_pods_that_use_no_node_take_nothing_also_where_all_are_watched(api: FakeApi):
    async def story() -> None:
        node(api)
        pod(api, "waits", on="")
        pod(api, "runs")
        api.put("pods", "over", "elsewhere", status={"phase": "Succeeded"}, spec={
            "nodeName": "n1",
            "containers": [{"name": "x", "resources": {"requests": {"cpu": "1"}}}],
        })  # fmt: skip
        async with following(api, all_pods=True) as found:
            (now,) = await found.nodes()
            assert (now.capacity.cpu_milli, now.slots) == (3000, 9)
            pod(api, "waits", on="n1")
            bound = await next_of(found)
            assert bound is not None
            assert (bound.capacity.cpu_milli, bound.slots) == (2000, 8)

    play(story)


def test_less_than_nothing_is_nothing(api: FakeApi):
    async def story() -> None:
        node(api)
        pod(api, "huge", cpu="9")
        async with following(api) as found:
            (now,) = await found.nodes()
            assert now.capacity.cpu_milli == 0

    play(story)


def test_of_gpus_only_whole_ones_are_left(api: FakeApi):
    async def story() -> None:
        node(api, allocatable={"nvidia.com/gpu": "4"})
        pod(api, "whole", requests={"nvidia.com/gpu": "1"})
        pod(api, "share", annotations={"alibabacloud.com/gpu-milli": "300"})
        async with following(api) as found:
            (now,) = await found.nodes()
            assert (now.capacity.gpu_count, now.capacity.gpu_milli) == (2, 1000)

    play(story)


def test_nodes_come_change_and_go(api: FakeApi):
    async def story() -> None:
        async with following(api) as found:
            assert await found.nodes() == []
            node(api)
            joined = await next_of(found)
            assert joined is not None
            assert joined.schedulable
            node(api, spec={"unschedulable": True})
            cordoned = await next_of(found)
            assert cordoned is not None
            assert not cordoned.schedulable
            node(api, conditions=[{"type": "Ready", "status": "Unknown"}])
            await asyncio.sleep(0.3)
            node(api, conditions=[{"type": "Ready", "status": "True"}])
            ready = await next_of(found)
            assert ready is not None
            assert ready.schedulable
            assert found.has("n1")
            api.drop("nodes", "n1")
            assert await next_of(found) is None
            assert not found.has("n1")

    play(story)


def test_a_node_that_is_not_ready_takes_nothing(api: FakeApi):
    async def story() -> None:
        node(api, conditions=[{"type": "Ready", "status": "Unknown"}])
        async with following(api) as found:
            (now,) = await found.nodes()
            assert not now.schedulable

    play(story)


def test_the_template_says_which_nodes_are_for_runs(api: FakeApi):
    async def story() -> None:
        taint = {"key": "batch", "value": "yes", "effect": "NoSchedule"}
        other = {"key": "gpu", "effect": "NoSchedule"}
        node(api, "n1", spec={"taints": [taint]})
        node(api, "n2", spec={"taints": [taint, other]})
        api.put("nodes", "n3", metadata={"labels": {"pool": "runs"}}, spec={"taints": [taint]},
                status={"allocatable": {"cpu": "1"}})  # fmt: skip
        tolerate = {"tolerations": [{"key": "batch", "operator": "Exists"}]}
        async with following(api, checked({"spec": tolerate})) as found:
            now = {one.name: one for one in await found.nodes()}
            assert now["n1"].taints == ()
            assert [t.key for t in now["n2"].taints] == ["gpu"]
        select = {**tolerate, "nodeSelector": {"pool": "runs"}}
        async with following(api, checked({"spec": select})) as found:
            assert [n.name for n in await found.nodes() if n.schedulable] == ["n3"]

    play(story)


def test_an_absurd_node_or_pod_spoils_no_other(api: FakeApi):
    async def story() -> None:
        node(api, "bad", allocatable={"cpu": "-3"})
        node(api, "good")
        pod(api, "bad", cpu="none", on="good")
        pod(api, "good", on="good")
        async with following(api) as found:
            (now,) = await found.nodes()
            assert now.name == "good"
            assert now.capacity.cpu_milli == 3000
            assert "-3" in found.problems["bad"]
            node(api, "bad")
            assert await next_of(found, "bad") is not None
            assert not found.problems

    play(story)
