"""The stock kube-scheduler asks us: what only the real one shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks._extended import advising_agent, settings
from tests.kubernetes.objects import condition, node, pod, priority_class
from tests.kubernetes.plane import ControlPlane
from tests.waiting import wait_until

Start = Callable[..., ControlPlane]


def where(plane: ControlPlane) -> dict[str, str]:
    """Pod -> node."""
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in plane.api.list("Pod")}


def posts(url: str, verb: str) -> int:
    """Questions of a kind that the agent answered with 200."""
    text = httpx.get(url + "/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if f'"/extender/{verb}"' in line]
    found = [line for line in lines if '"200"' in line and "_total{" in line]
    return int(float(found[0].rsplit(" ", 1)[1])) if found else 0


@pytest.mark.parametrize("whole", [False, True])
def test_the_stock_scheduler_packs_as_our_policy_says(
    control_plane: Start, tmp_path: Path, whole: bool
) -> None:
    """By itself it spreads over all; best-fit fills one node after the other. A question can come
    before the bind of the pod before it, so the first two may find all nodes equal."""
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="4") for i in range(5)])
    plane.api.create_all([pod(f"p{i}", cpu="1", memory="64Mi") for i in range(8)])
    with advising_agent(plane, tmp_path) as agent:
        plane.start_scheduler(settings(agent.url, nodeCacheCapable=not whole))
        wait_until(lambda: all(where(plane).values()))
        assert posts(agent.url, "filter") >= 8
        assert posts(agent.url, "bind") == 8
    used = sorted(list(where(plane).values()).count(f"n{i}") for i in range(5))
    assert used[:2] == [0, 0]


def test_a_dead_extender_stops_nothing_and_a_living_one_is_asked_again(
    control_plane: Start, tmp_path: Path
) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="4") for i in range(3)])
    with advising_agent(plane, tmp_path) as agent:
        plane.start_scheduler(settings(agent.url, ("filter", "prioritize")))
        plane.api.create(pod("before"))
        wait_until(lambda: where(plane)["before"])
        agent.kill()
        plane.api.create_all([pod(f"without-{i}") for i in range(5)])
        wait_until(lambda: all(where(plane).values()))
        port = int(agent.url.rsplit(":", 1)[1])
        with advising_agent(plane, tmp_path, port=port) as again:
            plane.api.create(pod("after"))
            wait_until(lambda: where(plane)["after"])
            assert posts(again.url, "prioritize") == 1


def test_room_is_made_on_the_node_that_we_choose(control_plane: Start, tmp_path: Path) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}", cpu="2") for i in range(3)])
    plane.api.create_all([priority_class(name, value) for name, value in
                          (("low", 1), ("mid", 5), ("high", 9))])  # fmt: skip
    for i, name in enumerate(("mid", "low", "mid")):
        plane.api.create(pod(f"on-{i}", cpu="2", node_name=f"n{i}", priorityClassName=name))
    with advising_agent(plane, tmp_path) as agent:
        plane.start_scheduler(settings(agent.url))
        plane.api.create(pod("urgent", cpu="2", priorityClassName="high"))
        wait_until(lambda: where(plane).get("urgent") == "n1")
        assert posts(agent.url, "preempt") >= 1
    assert set(where(plane)) == {"on-0", "on-2", "urgent"}


def test_reasons_of_ours_are_in_the_stock_schedulers_message(
    control_plane: Start, tmp_path: Path
) -> None:
    """GPU shares are nothing to the stock scheduler; they are to us. An extender that may be
    ignored is ignored when it refuses a bind, too: then both pods would end up on the one GPU."""
    plane = control_plane()
    share = {"alibabacloud.com/gpu-milli": "600", "alibabacloud.com/gpu-count": "1"}
    plane.api.create(node("gpu", extended={"alibabacloud.com/gpu-count": 1}))
    plane.api.create_all([pod(name, annotations=share) for name in ("first", "second")])
    with advising_agent(plane, tmp_path, "fgd") as agent:
        plane.start_scheduler(settings(agent.url, ignorable=False))
        wait_until(lambda: any(where(plane).values()))
        wait_until(lambda: any(
            not p["spec"].get("nodeName")
            and "Insufficient" in condition(p, "PodScheduled").get("message", "")
            for p in plane.api.list("Pod")
        ))  # fmt: skip


def test_a_token_in_the_address_lets_the_scheduler_in(
    control_plane: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEREBRUM_API_TOKEN", "not-to-be-seen")
    plane = control_plane()
    plane.api.create_all([node("n1")])
    with advising_agent(plane, tmp_path) as agent:
        asked = httpx.post(agent.url + "/extender/filter", json={}, trust_env=False)
        assert asked.status_code == 401
        inside = agent.url.replace("://", "://kube-scheduler:not-to-be-seen@")
        plane.start_scheduler(settings(inside, ignorable=False))
        plane.api.create(pod("p"))
        wait_until(lambda: where(plane)["p"] == "n1")
        plane.kill_scheduler()
        assert "not-to-be-seen" not in (plane.folder / "kube-scheduler.log").read_text()
