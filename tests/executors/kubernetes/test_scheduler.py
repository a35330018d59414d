"""The pod scheduler against a fake API server, story by story."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cerebrum.executors.kubernetes.recorded import replay
from cerebrum.policies import get_policy
from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import scheduling, until


def play(
    story: Callable[[FakeApi], Awaitable[None]], kind: type[FakeApi] = FakeApi, **settings: Any
) -> FakeApi:
    """Run a story on an API server of its own."""

    async def run() -> FakeApi:
        async with kind(**settings).serve() as api:
            await story(api)
        return api

    return asyncio.run(run())


def test_a_pod_of_ours_is_bound_and_told_of() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        api.pod("a")
        api.pod("b", spec={"schedulerName": "default-scheduler"})
        async with scheduling(api) as scheduler:
            await until(lambda: api.events("Scheduled"))
            [event] = api.events("Scheduled")
            assert event["note"] == "Successfully assigned default/a to n1"
            assert event["reportingController"] == "cerebrum"
            assert api.where() == {"default/a": "n1", "default/b": ""}
            await until(lambda: scheduler.counters.waited_s.count == 1)

    play(story)


def test_what_fits_nowhere_says_so_once_and_is_bound_when_a_node_comes() -> None:
    async def story(api: FakeApi) -> None:
        api.node("small", cpu="1")
        api.node("tainted", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
        api.pod("big", cpu="3")
        async with scheduling(api):
            await until(lambda: api.condition("big") and api.events("FailedScheduling"))
            condition = api.condition("big")
            assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
            assert condition["message"].startswith(
                "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
            )
            [event] = api.events("FailedScheduling")
            assert event["note"] == condition["message"]
            assert event["type"] == "Warning"
            writes = api.requests["PATCH status"]
            await asyncio.sleep(0.2)
            assert api.requests["PATCH status"] == writes == 1
            api.node("large", cpu="16")
            await until(lambda: api.where()["default/big"] == "large")

    play(story)


def test_pods_that_others_bound_use_their_node() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="4")
        api.pod("theirs", cpu="3", spec={"schedulerName": "other", "nodeName": "n1"})
        api.pod("ended", cpu="3", spec={"nodeName": "n1"}, status={"phase": "Succeeded"})
        api.pod("ours", cpu="2")
        async with scheduling(api):
            await until(lambda: api.condition("ours"))
            api.remove("/api/v1/pods", "default/theirs")
            await until(lambda: api.where()["default/ours"] == "n1")

    play(story)


def test_gated_deleted_and_ended_pods_are_left_alone() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        api.pod("gated", spec={"schedulingGates": [{"name": "wait"}]})
        api.pod("going", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
        api.pod("ended", status={"phase": "Failed"})
        async with scheduling(api) as scheduler:
            api.pod("plain")
            await until(lambda: api.where()["default/plain"])
            assert scheduler.counters.refused == scheduler.counters.conflicts == 0
            assert [name for name, node in api.where().items() if node] == ["default/plain"]
            gated = api.get_pod("gated")
            del gated["spec"]["schedulingGates"]
            api.put("/api/v1/pods", gated)
            await until(lambda: api.where()["default/gated"])

    play(story)


def test_resource_claims_are_refused_with_a_word() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        api.pod("dra", spec={"resourceClaims": [{"name": "gpu"}]})
        api.pod("absurd", cpu="-1")
        async with scheduling(api):
            await until(lambda: api.condition("dra") and api.condition("absurd"))
            assert "resourceClaims" in api.condition("dra")["message"]
            assert "-1" in api.condition("absurd")["message"]
            assert not any(api.where().values())

    play(story)


def test_priority_goes_first_then_age() -> None:
    async def story(api: FakeApi) -> None:
        api.pod("old", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
        api.pod("young", metadata={"creationTimestamp": "2026-01-02T00:00:00Z"})
        api.pod("urgent", spec={"priority": 10},
                metadata={"creationTimestamp": "2026-01-03T00:00:00Z"})  # fmt: skip
        async with scheduling(api, preempt=False):
            api.node("n1", cpu="2")
            await until(lambda: sum(map(bool, api.where().values())) == 2)
            assert not api.where()["default/young"]

    play(story)


def test_a_namesake_is_another_pod() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="1")
        api.pod("a", spec={"nodeName": "n1"})
        async with scheduling(api) as scheduler:
            api.remove("/api/v1/pods", "default/a")
            api.pod("a")
            await until(lambda: api.where()["default/a"])
            await until(lambda: len(scheduler.mirror.held) == 1)

    play(story)


def test_a_bind_that_was_heard_of_by_nobody_is_read_back_and_not_repeated_elsewhere() -> None:
    async def story(api: FakeApi) -> None:
        lost: list[str] = []

        def lose_first(method: str, path: str) -> str:
            if path.endswith("/binding") and len(lost) < 1:
                lost.append(path)
                return "drop-after"
            return ""

        api.faults = lose_first
        api.lag_s = 0.3
        for i in range(4):
            api.node(f"n{i}", cpu="1")
        api.pod("a")
        api.pod("b")
        async with scheduling(api):
            await until(lambda: all(api.where().values()))
            await asyncio.sleep(0.5)
            assert set(api.binds.values()) == {1}
            assert len(set(api.where().values())) == 2

    play(story)


def test_a_server_that_will_not_bind_is_asked_again_later() -> None:
    async def story(api: FakeApi) -> None:
        refused: list[str] = []

        def refuse(method: str, path: str) -> str:
            if path.endswith("/binding") and len(refused) < 3:
                refused.append(path)
                return "500-before"
            return ""

        api.faults = refuse
        api.node("n1")
        api.pod("a")
        async with scheduling(api) as scheduler:
            await until(lambda: scheduler.counters.refused == 1)
            await until(lambda: api.condition("a"))
            assert api.condition("a")["reason"] == "SchedulerError"
            await until(lambda: api.where()["default/a"])
            await until(lambda: scheduler.counters.binds == 1)

    play(story)


def test_what_a_decision_waits_for_is_told_apart_from_what_it_costs() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        async with scheduling(api) as scheduler:
            recorded, decide = scheduler.mirror.recorded, scheduler.mirror.recorded.decide

            def held_up() -> Any:
                time.sleep(0.2)  # as by a busy machine
                return decide()

            recorded.decide = held_up  # type: ignore[method-assign]
            api.pod("a")
            await until(lambda: api.where()["default/a"])
            counters = scheduler.counters
            assert counters.decision_s.count == counters.decision_cpu_s.count
            assert counters.decision_s.sum_s >= 0.2
            assert counters.decision_cpu_s.sum_s <= counters.decision_s.sum_s - 0.15

    play(story)


def test_another_scheduler_was_faster() -> None:
    async def story(api: FakeApi) -> None:
        def steal(method: str, path: str) -> str:
            if path.endswith("/binding") and not api.where()["default/a"]:
                pod = api.get_pod("a")
                pod["spec"]["nodeName"] = "n2"
                api.put("/api/v1/pods", pod)
            return ""

        api.faults = steal
        api.lag_s = 0.3
        api.node("n1", cpu="2")
        api.node("n2", cpu="1")
        api.pod("a", spec={"nodeSelector": {"kubernetes.io/hostname": "n1"}})
        async with scheduling(api) as scheduler:
            await until(lambda: scheduler.counters.elsewhere == 1)
            api.pod("b", spec={"nodeSelector": {"kubernetes.io/hostname": "n2"}})
            await until(lambda: api.condition("b"))
            assert scheduler.mirror.overcommitted() == []

    play(story)


def test_heartbeats_of_nodes_change_nothing() -> None:
    async def story(api: FakeApi) -> None:
        node = api.node("n1")
        async with scheduling(api) as scheduler:
            version = scheduler.mirror.recorded.engine.version
            for beat in range(20):
                node["status"]["conditions"][0]["lastHeartbeatTime"] = str(beat)
                api.put("/api/v1/nodes", node)
            api.pod("a")
            await until(lambda: api.where()["default/a"])
            assert scheduler.mirror.recorded.engine.version == version + 1  # the bind

    play(story)


def test_a_node_that_goes_and_comes_back_has_its_pods_still() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="4")
        api.pod("early", cpu="3", spec={"nodeName": "later"})
        api.pod("there", cpu="3", spec={"nodeName": "n1"})
        async with scheduling(api) as scheduler:
            api.remove("/api/v1/nodes", "n1")
            await until(lambda: len(scheduler.mirror.nodes) == 0)
            api.node("n1", cpu="4")
            api.node("later", cpu="4")
            await until(lambda: len(scheduler.mirror.nodes) == 2)
            api.pod("two", cpu="2")
            await until(lambda: api.condition("two"))
            assert api.where()["default/two"] == ""
            api.pod("one", cpu="1")
            await until(lambda: api.where()["default/one"])

    play(story)


def test_gpus_are_shared_and_the_choice_is_written_to_the_pod() -> None:
    async def story(api: FakeApi) -> None:
        api.node("g", offers={"nvidia.com/gpu": "2"})
        half = {"alibabacloud.com/gpu-count": "1", "alibabacloud.com/gpu-milli": "500"}
        for name in "abcd":
            api.pod(name, metadata={"annotations": dict(half)})
        async with scheduling(api):
            await until(lambda: all(api.where().values()))
            key = "alibabacloud.com/gpu-index"
            chosen = [api.get_pod(name)["metadata"]["annotations"][key] for name in "abcd"]
            assert sorted(chosen) == ["0", "0", "1", "1"]
            api.pod("e", metadata={"annotations": dict(half)})
            await until(lambda: api.condition("e"))

    play(story)


def test_a_gang_starts_together_or_not_at_all() -> None:
    async def story(api: FakeApi) -> None:
        label = {"scheduling.x-k8s.io/pod-group": "g"}
        group = {"metadata": {"name": "g", "namespace": "default"}, "spec": {"minMember": 3}}
        api.put("/apis/scheduling.x-k8s.io/v1alpha1/podgroups", group)
        api.node("n1", cpu="2")
        for name in ("a", "b"):
            api.pod(name, metadata={"labels": label})
        async with scheduling(api):
            await until(lambda: api.condition("a"))
            assert "2 of 3" in api.condition("a")["message"]
            api.pod("c", metadata={"labels": label})
            await until(lambda: "nodes are available" in str(api.condition("c")))
            assert not any(api.where().values())
            api.node("n2", cpu="2")
            await until(lambda: all(api.where().values()))
            api.pod("d", metadata={"labels": label})
            await until(lambda: api.where()["default/d"])

    play(story)


def test_a_gang_that_lost_a_member_waits_for_another() -> None:
    async def story(api: FakeApi) -> None:
        group = {"metadata": {"name": "g", "namespace": "default"}, "spec": {"minMember": 2}}
        api.put("/apis/scheduling.x-k8s.io/v1alpha1/podgroups", group)
        api.node("n1", cpu="1")
        label = {"scheduling.x-k8s.io/pod-group": "g"}
        for name in ("a", "b"):
            api.pod(name, metadata={"labels": label})
        async with scheduling(api):
            await until(lambda: "nodes are available" in str(api.condition("b")))
            api.remove("/api/v1/pods", "default/a")
            await until(lambda: "1 of 2" in api.condition("b")["message"])
            assert not api.where()["default/b"]
            api.node("n2", cpu="1")
            api.pod("c", metadata={"labels": label})
            await until(lambda: all(api.where().values()))

    play(story)


def test_pods_that_keep_apart_get_nodes_of_their_own() -> None:
    async def story(api: FakeApi) -> None:
        for name in ("n1", "n2"):
            api.node(name, cpu="8")
        term = {
            "labelSelector": {"matchLabels": {"app": "db"}},
            "topologyKey": "kubernetes.io/hostname",
        }
        rule = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        for name in ("a", "b", "c"):
            api.pod(name, cpu="1", metadata={"labels": {"app": "db"}},
                    spec={"affinity": {"podAntiAffinity": rule}})  # fmt: skip
        async with scheduling(api):
            await until(lambda: sum(map(bool, api.where().values())) == 2)
            left = next(key.split("/")[1] for key, node in api.where().items() if not node)
            await until(lambda: "pod anti-affinity rules" in str(api.condition(left)))
            assert len({node for node in api.where().values() if node}) == 2

    play(story)


def test_without_the_podgroup_kind_a_member_waits_and_others_do_not() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        api.pod("lost", metadata={"labels": {"scheduling.x-k8s.io/pod-group": "g"}})
        api.pod("plain")
        async with scheduling(api):
            await until(lambda: api.where()["default/plain"] and api.condition("lost"))
            assert "no PodGroup g" in api.condition("lost")["message"]

    play(story, lacking=("podgroups",))


def test_shadow_mode_binds_nothing_and_compares() -> None:
    async def story(api: FakeApi) -> None:
        for name in ("n1", "n2"):
            api.node(name)
        api.pod("a", spec={"schedulerName": "default-scheduler"})
        api.pod("b", spec={"schedulerName": "default-scheduler"})
        async with scheduling(api, mode="shadow") as scheduler:
            mirror = scheduler.mirror
            await until(lambda: all(held.node for held in mirror.held.values()))
            chosen = {held.pod.name: held.node for held in mirror.held.values()}
            api.pod("a", metadata={"uid": api.get_pod("a")["metadata"]["uid"]},
                    spec={"nodeName": chosen["a"]})  # fmt: skip
            other = "n1" if chosen["b"] == "n2" else "n2"
            api.pod("b", metadata={"uid": api.get_pod("b")["metadata"]["uid"]},
                    spec={"nodeName": other})  # fmt: skip
            await until(lambda: scheduler.shadow.agreed + scheduler.shadow.differed == 2)
            assert (scheduler.shadow.agreed, scheduler.shadow.differed) == (1, 1)
            assert scheduler.shadow.agreement == 0.5
            assert api.requests["POST binding"] == 0
            assert not api.events("Scheduled")
            api.pod("c")
            scheduler.set_mode("bind")
            await until(lambda: api.where()["default/c"])

    play(story)


def test_what_was_decided_live_is_decided_again_from_the_journal() -> None:
    entries: list[list[Any]] = []

    async def story(api: FakeApi) -> None:
        for i in range(3):
            api.node(f"n{i}", labels={"zone": str(i % 2)})
        for i in range(8):
            selector = {"zone": "1"} if i % 3 == 0 else {}
            api.pod(f"p{i}", cpu=f"{500 + 100 * i}m", spec={"nodeSelector": selector})
        async with scheduling(api, policy="fgd", journal=entries.append):
            await until(lambda: all(api.where().values()))
            api.node("n0", cpu="32", labels={"zone": "0"})
            api.remove("/api/v1/pods", "default/p0")
            api.pod("late", cpu="20")
            await until(lambda: api.where()["default/late"] == "n0")

    play(story)
    decisions = [entry for entry in entries if entry[0] == "decision" and entry[1]]
    assert len(decisions) >= 9
    assert replay(entries, get_policy("fgd")) == []
    swapped = [e if e is not decisions[0] else ["decision", []] for e in entries]
    assert len(replay(swapped, get_policy("fgd"))) == 1


def test_a_volume_that_waits_for_its_first_consumer_is_bound_before_the_pod() -> None:
    async def story(api: FakeApi) -> None:
        api.put("/apis/storage.k8s.io/v1/storageclasses", {
            "metadata": {"name": "local"}, "provisioner": "example.com/disk",
            "volumeBindingMode": "WaitForFirstConsumer"})  # fmt: skip
        claims = "/api/v1/persistentvolumeclaims"
        claim = api.put(claims, {
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"}})  # fmt: skip
        api.node("n1")
        volume = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}
        api.pod("a", spec={"volumes": [volume]})
        async with scheduling(api):
            key = "volume.kubernetes.io/selected-node"
            await until(lambda: claim["metadata"].get("annotations", {}).get(key) == "n1")
            await asyncio.sleep(0.1)
            assert api.where()["default/a"] == ""
            spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
            made = {"metadata": {"name": "pv"}, "spec": spec, "status": {"phase": "Bound"}}
            api.put("/api/v1/persistentvolumes", made)
            claim["spec"]["volumeName"], claim["status"]["phase"] = "pv", "Bound"
            claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
            api.put(claims, claim)
            await until(lambda: api.where()["default/a"] == "n1")
            assert api.binds[api.get_pod("a")["metadata"]["uid"]] == 1

    play(story)
