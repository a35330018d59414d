"""Room is made for more important pods, as kube-scheduler makes it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.executors.kubernetes.fake_api import FakeApi, Json
from tests.executors.kubernetes.stage import scheduling, until
from tests.executors.kubernetes.test_scheduler import play


def running(api: FakeApi, name: str, node: str, priority: int = 0, **more: Any) -> Json:
    """A pod that runs already."""
    cpu, labels = more.pop("cpu", "2"), more.pop("labels", {})
    return api.pod(name, cpu=cpu, spec={"nodeName": node, "priority": priority},
                   metadata={"labels": labels}, status={"phase": "Running"})  # fmt: skip


def protect(api: FakeApi, app: str) -> None:
    """A budget that allows no disruption of these pods."""
    api.put("/apis/policy/v1/poddisruptionbudgets", {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": 0}})  # fmt: skip


def test_the_least_important_pods_go_and_the_room_is_kept_until_they_are_gone() -> None:
    async def story(api: FakeApi) -> None:
        api.ends_at_once = False
        api.node("n1", cpu="4")
        api.node("n2", cpu="4")
        running(api, "dear", "n1", 5)
        running(api, "cheap", "n1", 1)
        running(api, "fair", "n2", 3)
        running(api, "fair2", "n2", 3)
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api) as scheduler:
            await until(lambda: api.deletes)
            assert api.deletes == ["default/cheap"]
            assert api.condition("cheap", "DisruptionTarget")["reason"] == "PreemptionByScheduler"
            await until(lambda: api.get_pod("urgent")["status"].get("nominatedNodeName") == "n1")
            assert api.condition("urgent")["reason"] == "Unschedulable"
            api.pod("small", cpu="1")  # must not slip into the room that is being made
            await until(lambda: api.condition("small"))
            api.remove("/api/v1/pods", "default/cheap")
            await until(lambda: api.where()["default/urgent"] == "n1")
            await asyncio.sleep(0.1)
            assert api.where()["default/small"] == ""
            assert api.events("Preempted")[0]["regarding"]["name"] == "cheap"
            assert scheduler.mirror.overcommitted() == []

    play(story)


def test_a_pod_that_must_not_preempt_waits() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="2")
        running(api, "cheap", "n1", 1)
        api.pod("polite", cpu="2", spec={"priority": 10, "preemptionPolicy": "Never"})
        async with scheduling(api):
            await until(lambda: api.condition("polite"))
            assert "preemptionPolicy=Never" in api.condition("polite")["message"]
            assert api.deletes == []

    play(story)


def test_a_pod_that_a_budget_protects_goes_last() -> None:
    async def story(api: FakeApi) -> None:
        protect(api, "db")
        api.node("n1", cpu="2")
        api.node("n2", cpu="2")
        running(api, "db", "n1", 1, labels={"app": "db"})
        running(api, "web", "n2", 2, labels={"app": "web"})
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api):
            await until(lambda: api.where().get("default/urgent"))
            assert api.deletes == ["default/web"]

    play(story)


def test_on_one_node_too_the_protected_pod_stays_though_it_matters_less() -> None:
    async def story(api: FakeApi) -> None:
        protect(api, "db")
        api.node("n1", cpu="4")
        running(api, "db", "n1", 1, labels={"app": "db"})
        running(api, "web", "n1", 2, labels={"app": "web"})
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api):
            await until(lambda: api.where().get("default/urgent"))
            assert api.deletes == ["default/web"]

    play(story)


def test_no_more_pods_go_than_are_needed() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="6")
        for i in range(6):
            running(api, f"p{i}", "n1", i, cpu="1")
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api):
            await until(lambda: api.where().get("default/urgent"))
            assert sorted(api.deletes) == ["default/p0", "default/p1"]

    play(story)


def test_a_victim_that_cannot_be_deleted_ends_the_nomination() -> None:
    async def story(api: FakeApi) -> None:
        def keep(method: str, path: str) -> str:
            return "403" if method == "DELETE" else ""

        api.faults = keep
        api.node("n1", cpu="2")
        running(api, "cheap", "n1", 1)
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api) as scheduler:
            await until(lambda: scheduler.counters.victims == 1)
            await until(lambda: api.condition("urgent"))
            await until(lambda: all(h.phase.value != "nominated"
                                    for h in scheduler.mirror.held.values()))  # fmt: skip
            await until(lambda: "nominatedNodeName" not in api.get_pod("urgent")["status"])

    play(story)


def test_a_more_important_pod_takes_a_nominated_room() -> None:
    async def story(api: FakeApi) -> None:
        api.ends_at_once = False
        api.node("n1", cpu="2")
        running(api, "cheap", "n1", 1)
        api.pod("high", cpu="2", spec={"priority": 10})
        async with scheduling(api):
            await until(lambda: api.get_pod("high")["status"].get("nominatedNodeName"))
            api.pod("higher", cpu="2", spec={"priority": 20})
            await until(lambda: api.get_pod("higher")["status"].get("nominatedNodeName"))
            await until(lambda: "nominatedNodeName" not in api.get_pod("high")["status"])
            api.remove("/api/v1/pods", "default/cheap")
            await until(lambda: api.where()["default/higher"] == "n1")
            assert api.where()["default/high"] == ""

    play(story)


def test_a_policy_that_preempts_by_itself() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="2")
        running(api, "cheap", "n1", 1)
        api.pod("urgent", cpu="2", spec={"priority": 10})
        profile = {"name": "own", "scores": [{"name": "best-fit"}], "preempt": True}
        async with scheduling(api, policy=profile, preempt=False):
            await until(lambda: api.where().get("default/urgent"))
            assert api.deletes == ["default/cheap"]

    play(story)


def test_a_room_that_somebody_else_took_is_not_used_twice() -> None:
    async def story(api: FakeApi) -> None:
        api.ends_at_once = False
        api.node("n1", cpu="2")
        running(api, "cheap", "n1", 1)
        api.pod("urgent", cpu="2", spec={"priority": 10})
        async with scheduling(api) as scheduler:
            await until(lambda: api.get_pod("urgent")["status"].get("nominatedNodeName"))
            running(api, "thief", "n1", 20)
            await until(lambda: len(scheduler.mirror.held) == 3)
            api.remove("/api/v1/pods", "default/cheap")
            await until(lambda: "nominatedNodeName" not in api.get_pod("urgent")["status"])
            await asyncio.sleep(0.2)
            assert api.where()["default/urgent"] == ""
            api.remove("/api/v1/pods", "default/thief")
            await until(lambda: api.where()["default/urgent"] == "n1")

    play(story)
