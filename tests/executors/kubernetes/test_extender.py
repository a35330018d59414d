"""What the stock scheduler hears from us when it asks, against a fake API server."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.executors.kubernetes.extender import Extender, scaled
from cerebrum.executors.kubernetes.extender_forms import (
    BindingArgs,
    ExtenderArgs,
    NodeList,
    PreemptionArgs,
)
from cerebrum.executors.kubernetes.mirror import Phase
from cerebrum.kube.objects import Pod
from cerebrum.model.events import TaskState
from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import scheduling, until
from tests.executors.kubernetes.test_scheduler import play

STOCK = {"schedulerName": "default-scheduler"}


def theirs(api: FakeApi, name: str, **more: Any) -> dict[str, Any]:
    """A pod of the stock scheduler."""
    return api.pod(name, **{**more, "spec": {**STOCK, **more.get("spec", {})}})


def args(pod: dict[str, Any], *names: str) -> ExtenderArgs:
    return ExtenderArgs(msgspec.json.decode(msgspec.json.encode(pod), type=Pod), None, list(names))


def scores(extender: Extender, pod: dict[str, Any], *names: str) -> dict[str, int]:
    """As kube-scheduler adds them up: who is not named has 0."""
    named = {one.host: one.score for one in extender.prioritize(args(pod, *names))}
    return dict.fromkeys(names, 0) | named


def order(pod: dict[str, Any], node: str) -> BindingArgs:
    meta = pod["metadata"]
    return BindingArgs(meta["name"], meta["namespace"], node, meta["uid"])


def test_nodes_that_cannot_take_the_pod_are_named_with_kubes_reasons() -> None:
    async def story(api: FakeApi) -> None:
        api.node("fits")
        api.node("small", cpu="1")
        api.node("tainted", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
        cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        api.node("closed", unschedulable=True, taints=[cordon])
        api.node("elsewhere", labels={"zone": "b"})
        pod = theirs(api, "p", cpu="2")
        picky = theirs(api, "q", cpu="2", spec={"nodeSelector": {"zone": "b"}})
        async with scheduling(api, mode="off") as scheduler:
            result = scheduler.extender.filter(
                args(pod, "fits", "small", "tainted", "closed", "elsewhere", "nobody")
            )
            assert result.node_names == ["fits", "elsewhere"]
            assert result.failed_nodes == {
                "small": "Insufficient cpu", "nobody": "node(s) not known to Cerebrum yet",
            }  # fmt: skip
            assert result.failed_and_unresolvable_nodes == {
                "tainted": "node(s) had untolerated taint(s)",
                "closed": "node(s) were unschedulable",
            }
            result = scheduler.extender.filter(args(picky, "fits", "elsewhere"))
            assert result.node_names == ["elsewhere"]
            told = result.failed_and_unresolvable_nodes["fits"]
            assert told == "node(s) didn't match Pod's node affinity/selector"

    play(story)


def test_whole_nodes_are_given_back_as_they_came() -> None:
    async def story(api: FakeApi) -> None:
        nodes = [api.node("fits"), api.node("small", cpu="1")]
        pod = theirs(api, "p", cpu="2")
        body = {"Pod": pod, "Nodes": {"items": nodes}, "NodeNames": None}
        asked = msgspec.json.decode(msgspec.json.encode(body), type=ExtenderArgs)
        async with scheduling(api, mode="off") as scheduler:
            said = msgspec.json.decode(msgspec.json.encode(scheduler.extender.filter(asked)))
            assert said["Nodes"]["items"] == [nodes[0]]
            assert said["NodeNames"] is None
            assert said["FailedNodes"] == {"small": "Insufficient cpu"}

    play(story)


def test_a_rule_about_other_pods_is_honoured() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        api.node("n2")
        apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname",
             "labelSelector": {"matchLabels": {"app": "web"}}}]}}  # fmt: skip
        web = {"labels": {"app": "web"}}
        theirs(api, "first", metadata=web, spec={"nodeName": "n1"})
        pod = theirs(api, "second", metadata=web, spec={"affinity": apart})
        async with scheduling(api, mode="off") as scheduler:
            result = scheduler.extender.filter(args(pod, "n1", "n2"))
            assert result.node_names == ["n2"]
            assert "anti-affinity" in result.failed_nodes["n1"]
            assert scores(scheduler.extender, pod, "n1", "n2") == {"n1": 0, "n2": 10}

    play(story)


def test_the_policys_first_choice_has_the_highest_number_alone_and_equals_are_equal() -> None:
    async def story(api: FakeApi) -> None:
        for name, cpu in (("a", "4"), ("b", "16"), ("c", "16"), ("d", "15900m")):
            api.node(name, cpu=cpu)
        pod = theirs(api, "p")
        async with scheduling(api, "best_fit", mode="off") as scheduler:
            found = scores(scheduler.extender, pod, "a", "b", "c", "d", "nobody")
            assert found["a"] == 10
            assert found["b"] == found["c"] <= found["d"] < 10
            assert found["nobody"] == 0

    play(story)


def test_only_nodes_that_the_policy_prefers_are_named() -> None:
    """kube-scheduler reads every entry, and a thousand zeros say nothing."""

    async def story(api: FakeApi) -> None:
        names = [f"idle-{i}" for i in range(20)]
        for name in names:
            api.node(name, cpu="16")
        pod = theirs(api, "p")
        async with scheduling(api, "best_fit", mode="off") as scheduler:
            assert scheduler.extender.prioritize(args(pod, *names)) == []
            assert scheduler.extender.prioritize(args(pod)) == []
            theirs(api, "there", cpu="8", spec={"nodeName": "idle-7"})
            held = scheduler.mirror.held
            await until(lambda: len(held) == 1)
            found = scheduler.extender.prioritize(args(pod, *names))
            assert [(one.host, one.score) for one in found] == [("idle-7", 10)]

    play(story)


def test_a_shortlist_leaves_the_policys_best_nodes_and_drops_the_others_without_a_reason() -> None:
    async def story(api: FakeApi) -> None:
        for i in range(8):
            api.node(f"n{i}", cpu="16")
            if i:  # n7 is the fullest, and too full for it
                theirs(api, f"on-{i}", cpu=f"{2 * i + 1}", spec={"nodeName": f"n{i}"})
        names = [f"n{i}" for i in (3, 7, 0, 5, 1, 6, 2, 4, 9)]
        pod = theirs(api, "p", cpu="2")
        async with scheduling(api, "best_fit", mode="off", shortlist=3) as scheduler:
            found = scheduler.extender.filter(args(pod, *names))
            assert found.node_names == ["n5", "n6", "n4"]
            assert set(found.failed_nodes) == {"n7", "n9"}
            found = scheduler.extender.filter(args(pod, "n3", "n7", "n0"))
            assert found.node_names == ["n3", "n0"]
            whole = args(pod, *names)
            whole.node_names, whole.nodes = (
                None,
                NodeList(
                    [msgspec.Raw(msgspec.json.encode({"metadata": {"name": n}})) for n in names]
                ),
            )
            left = scheduler.extender.filter(whole).nodes
            assert left is not None
            said = [msgspec.json.decode(item) for item in left.items or ()]
            assert [node["metadata"]["name"] for node in said] == ["n5", "n6", "n4"]

    play(story)


def test_a_node_that_comes_while_the_same_nodes_are_asked_about_is_known() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        pod = theirs(api, "p")
        async with scheduling(api, mode="off") as scheduler:
            assert scheduler.extender.filter(args(pod, "n1", "n2")).node_names == ["n1"]
            api.node("n2")
            nodes = scheduler.mirror.nodes
            await until(lambda: len(nodes) == 2)
            assert scheduler.extender.filter(args(pod, "n1", "n2")).node_names == ["n1", "n2"]
            api.remove("/api/v1/nodes", "n1")
            await until(lambda: len(nodes) == 1)
            assert scheduler.extender.filter(args(pod, "n1", "n2")).node_names == ["n2"]

    play(story)


def test_a_bind_takes_its_room_before_the_watch_shows_it() -> None:
    async def story(api: FakeApi) -> None:
        api.lag_s = 0.3
        api.node("n1", cpu="2")
        api.node("n2", cpu="2")
        first, second = theirs(api, "a", cpu="2"), theirs(api, "b", cpu="2")
        async with scheduling(api) as scheduler:
            extender = scheduler.extender
            assert extender.filter(args(first, "n1", "n2")).node_names == ["n1", "n2"]
            api.put("/api/v1/pods", first)  # shown, unbound, after the bind
            assert await extender.bind(order(first, "n1")) == ""
            held = scheduler.mirror.held[first["metadata"]["uid"]]
            assert held.phase is Phase.ASSUMED
            assert extender.filter(args(second, "n1", "n2")).node_names == ["n2"]
            assert "n1" in await extender.bind(order(second, "n1"))
            assert api.where() == {"default/a": "n1", "default/b": ""}
            await until(lambda: held.phase is Phase.BOUND)
            assert await extender.bind(order(first, "n1")) == ""
            assert "given to node n1" in await extender.bind(order(first, "n2"))
            assert scheduler.mirror.overcommitted() == []
            assert not api.events("Scheduled"), "the stock scheduler tells of its pods itself"

    play(story)


def test_a_pod_in_question_is_never_decided_by_us() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        pod = theirs(api, "a")
        async with scheduling(api) as scheduler:
            scheduler.extender.filter(args(pod, "n1"))
            api.pod("ours")
            await until(lambda: api.where()["default/ours"])
            assert api.where()["default/a"] == ""
            assert scheduler.counters.binds == 1

    play(story)


@pytest.mark.parametrize("fault", ["gone", "another", "bound"])
def test_a_bind_that_fails_gives_its_room_back(fault: str) -> None:
    async def story(api: FakeApi) -> None:
        api.lag_s = 0.2
        api.node("n1", cpu="2")
        api.node("n2", cpu="2")
        pod = theirs(api, "a", cpu="2")
        other = theirs(api, "b", cpu="2")
        async with scheduling(api) as scheduler:
            extender = scheduler.extender
            extender.filter(args(pod, "n1"))
            asked = order(pod, "n1")
            if fault == "gone":
                api.remove("/api/v1/pods", "default/a")
            elif fault == "another":
                pod["metadata"]["uid"] = "of-a-namesake"
            else:
                pod["spec"]["nodeName"] = "n2"
            said = await extender.bind(asked)
            assert said
            assert ("elsewhere on n2" in said) == (fault == "bound")
            assert "n1" in (extender.filter(args(other, "n1")).node_names or [])

    play(story)


def test_a_pod_we_cannot_judge_is_left_to_the_stock_scheduler() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1")
        pod = theirs(api, "p", spec={"resourceClaims": [{"name": "gpu"}]})
        async with scheduling(api, mode="off") as scheduler:
            result = scheduler.extender.filter(args(pod, "n1"))
            assert "gpu" in result.error
            assert scores(scheduler.extender, pod, "n1") == {"n1": 0}

    play(story)


def test_of_the_nodes_offered_the_one_with_the_least_important_victims_is_left() -> None:
    async def story(api: FakeApi) -> None:
        uids = {}
        for name, priority in (("n1", 5), ("n2", 3), ("n3", 1)):
            api.node(name, cpu="2")
            spec = {"nodeName": name, "priority": priority}
            uids[name] = theirs(api, f"on-{name}", cpu="2", spec=spec)["metadata"]["uid"]
        urgent = theirs(api, "urgent", cpu="2", spec={"priority": 9})
        victims = {name: {"Pods": [{"UID": uids[name]}]} for name in ("n1", "n2")}
        body = {"Pod": urgent, "NodeNameToMetaVictims": victims}
        asked = msgspec.json.decode(msgspec.json.encode(body), type=PreemptionArgs)
        async with scheduling(api, mode="off") as scheduler:
            found = scheduler.extender.preempt(asked)
            assert list(found) == ["n2"]
            assert [pod.uid for pod in found["n2"].pods or ()] == [uids["n2"]]

    play(story)


def test_questions_about_ever_new_pods_leave_no_tasks_behind() -> None:
    async def story(api: FakeApi) -> None:
        api.node("n1", cpu="500")
        async with scheduling(api, mode="off") as scheduler:
            for number in range(600):
                pod = theirs(api, "p", cpu=f"{number + 1}m")
                scheduler.extender.filter(args(pod, "n1"))
            engine = scheduler.mirror.recorded.engine
            known = np.asarray(engine.snapshot().tasks.state)
            assert np.count_nonzero(known == TaskState.UNKNOWN) <= 300
            assert len(known) <= 300

    play(story)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("-inf"))), max_size=30))
def test_scaling_keeps_order_and_the_best(totals: list[float]) -> None:
    out = scaled(np.array(totals, np.float64))
    assert all(0 <= score <= 10 for score in out)
    for i, a in enumerate(totals):
        for j, b in enumerate(totals):
            if a <= b:
                assert out[i] <= out[j]
    if finite := [t for t in totals if t > float("-inf")]:
        assert [s == 10 for s in out] == [t == max(finite) for t in totals]
