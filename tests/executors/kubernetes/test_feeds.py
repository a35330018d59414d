"""One live copy of nodes and pods for the agent's inventory and for the pod scheduler."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from cerebrum.executors.kubernetes._decoding import Reader
from cerebrum.executors.kubernetes._runs_inventory import ClusterInventory
from cerebrum.executors.kubernetes._runs_template import EMPTY
from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.feeds import Feeds
from cerebrum.executors.kubernetes.informer import Change
from cerebrum.executors.kubernetes.scheduler import PodScheduler
from cerebrum.kube import objects
from cerebrum.policies import get_policy
from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import until
from tests.executors.kubernetes.test_scheduler import play


@asynccontextmanager
async def feeding(api: FakeApi) -> AsyncIterator[tuple[Feeds, ClusterInventory, Client]]:
    """Feeds that have read the cluster, and an inventory by them."""
    async with Client(Access(api.url), qps=0) as client:
        feeds = Feeds(client, np.random.default_rng(3))
        inventory = ClusterInventory(feeds, "c1", EMPTY)
        running = asyncio.create_task(inventory.run())
        try:
            await inventory.nodes()
            yield feeds, inventory, client
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def leading(feeds: Feeds, client: Client) -> AsyncIterator[PodScheduler]:
    """A scheduler's term: from its election until another one leads."""
    scheduler = PodScheduler(
        client, get_policy("best_fit"), clock=time.monotonic, wall=time.time,
        rng=np.random.default_rng(7), feeds=feeds,
    )  # fmt: skip
    running = asyncio.create_task(scheduler.run())
    try:
        await until(lambda: scheduler.ready.is_set() or running.done(), "the scheduler is ready")
        yield scheduler
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_inventory_and_scheduler_read_the_cluster_once_and_each_has_its_own_view() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="4")
        api.pod("theirs", spec={"nodeName": "n1", "schedulerName": "default-scheduler"})
        async with feeding(api) as (feeds, inventory, client), leading(feeds, client) as scheduler:
            assert api.requests["GET pods"] == api.requests["GET nodes"] == 1
            assert [n.capacity.cpu_milli for n in await inventory.nodes()] == [3000]
            api.pod("ours", cpu="2")
            await until(lambda: api.where()["default/ours"] == "n1", "ours is bound")
            changes = await inventory.next_changes()
            assert changes["n1"] is not None
            assert changes["n1"].capacity.cpu_milli == 1000
            assert scheduler.mirror.overcommitted() == []
            assert api.requests["GET pods"] == api.requests["GET nodes"] == 1

    play(story)


def test_the_next_leader_begins_with_what_is_known_and_the_last_one_hears_no_more() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="4")
        async with feeding(api) as (feeds, _, client):
            async with leading(feeds, client) as first:
                assert len(feeds.pods.listeners) == 2
            assert len(feeds.pods.listeners) == len(feeds.nodes.listeners) == 1
            api.pod("meanwhile", cpu="3")
            await until(lambda: len(feeds.pods.informer.items) == 1)
            async with leading(feeds, client) as second:
                await until(lambda: api.where()["default/meanwhile"] == "n1", "it is bound")
                assert len(second.mirror.held) == 1
            assert not first.mirror.held
            assert api.requests["GET pods"] == 1

    play(story)


def test_a_listener_that_fails_is_heard_of_and_the_others_go_on() -> None:
    async def story(api: FakeApi) -> None:
        heard: list[str] = []

        def fails(changes: Sequence[Change[Any]]) -> None:
            raise RuntimeError("cannot take this")

        async with feeding(api) as (feeds, inventory, _):
            broken = feeds.nodes.listen(fails)
            feeds.nodes.listen(lambda changes: heard.extend(change.key for change in changes))
            for name in ("n1", "n2"):
                api.node(name)
                await until(lambda name=name: name in heard)
            with pytest.raises(RuntimeError, match="cannot take this"):
                await asyncio.wait_for(broken.watch(), 5)
            assert [node.name for node in await inventory.nodes()] == ["n1", "n2"]
            assert inventory.stale_s < math.inf

    play(story)


def test_a_pod_that_is_kept_does_not_keep_the_page_it_came_in() -> None:
    """Of a page of pods we hold a tenth; all of it would be half a gigabyte in a large cluster."""
    asked = {"requests": {"cpu": "1"}}
    containers = [{"name": "c", "resources": asked, "ports": [{"containerPort": 1}]}]
    spec = {"containers": containers, "initContainers": containers, "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}], "affinity": {}, "overhead": {"cpu": "1"},
            "resources": asked, "topologySpreadConstraints": []}  # fmt: skip
    actual = [{"name": "c", "resources": asked, "allocatedResources": {"cpu": "1"}}]
    status = {"containerStatuses": actual, "initContainerStatuses": actual, "resources": asked,
              "allocatedResources": {"cpu": "1"}}  # fmt: skip
    pod = {"metadata": {"name": "p", "resourceVersion": "1"}, "spec": spec, "status": status}
    page = msgspec.json.encode({"metadata": {"resourceVersion": "1"}, "items": [pod] * 3})
    nobody = sys.getrefcount(page)
    kept = Reader(objects.Pod).page(page).items
    assert sys.getrefcount(page) > nobody, "nothing to detach: the test has lost its sense"
    before = msgspec.json.encode(kept)
    kept = Reader(objects.Pod, objects.detach).page(page).items
    assert sys.getrefcount(page) == nobody
    assert msgspec.json.encode(kept) == before


def test_an_inventory_that_hears_no_more_says_that_it_is_stale() -> None:
    async def story(api: FakeApi) -> None:
        async with feeding(api) as (feeds, inventory, _):
            next(iter(feeds.pods.listeners)).fail(RuntimeError("a bug"))
            assert inventory.stale_s == math.inf

    play(story)
