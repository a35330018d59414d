"""Room is never given away twice: many creators, an agent that dies, somebody else's scheduler."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.kubernetes.agents import Agent, persistently
from tests.kubernetes.api import Api
from tests.kubernetes.judge import judge
from tests.kubernetes.objects import node, pod
from tests.kubernetes.plane import ControlPlane
from tests.waiting import wait_until

CREATORS = 20
PODS_EACH = int(os.environ.get("CEREBRUM_TEST_PODS_EACH", "10"))
OURS = {"schedulerName": "cerebrum", "nodeSelector": {"pool": "ours"},
        "tolerations": [{"key": "ours", "operator": "Exists"}]}  # fmt: skip


def our_node(name: str) -> dict[str, Any]:
    """A node that only tolerant pods may use, with two GPUs to share."""
    taint = {"key": "ours", "value": "yes", "effect": "NoSchedule"}
    offers = {"nvidia.com/gpu": 2}
    return node(name, cpu="4", labels={"pool": "ours"}, taints=[taint], extended=offers)


def of_kind(number: int, name: str) -> dict[str, Any]:
    """Plain, a share of a GPU, a host port, one that keeps apart from its like."""
    made = pod(name, "400m", **OURS)
    container = made["spec"]["containers"][0]
    kind = number % 4
    if kind == 1:
        made["metadata"]["annotations"] |= {
            "alibabacloud.com/gpu-count": "1", "alibabacloud.com/gpu-milli": "400",
        }  # fmt: skip
    elif kind == 2:
        port = 7000 + number % 3
        container["ports"] = [{"containerPort": port, "hostPort": port}]
    elif kind == 3:
        group = f"g{number % 5}"
        made["metadata"]["labels"]["apart"] = group
        term = {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"apart": group}},
        }
        made["spec"]["affinity"] = {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        }
    return made


def create(api: Api, creator: int) -> None:
    """One creator: its pods, one for the other scheduler among them, and some go again."""
    for i in range(PODS_EACH):
        name = f"c{creator}-{i}"
        if i % 5 == 4:
            body = pod(name, "400m")
        else:
            body = of_kind(creator + i, name)
        persistently(lambda body=body: api.create(body))
        if i % 3 == 2:
            persistently(lambda i=i: api.delete("Pod", f"c{creator}-{i - 2}"))


def test_no_node_is_ever_over_committed(
    control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = control_plane(audit=True, scheduler=True)
    plane.api.create_all([our_node(f"ours{i}") for i in range(6)])
    plane.api.create_all([node(f"theirs{i}", cpu="4") for i in range(3)])
    agent = Agent(tmp_path, plane.kubeconfig)
    agent.start()
    try:
        agent.wait_ready()
        with ThreadPoolExecutor(CREATORS) as creators:
            work = [creators.submit(create, plane.api, number) for number in range(CREATORS)]
            for more in ("late0", "late1"):
                time.sleep(0.5)
                agent.kill()
                plane.api.create(our_node(more))
                agent.start()
                agent.wait_ready()
            plane.api.delete("Node", "late0")
            for one in work:
                one.result()
        wait_until(lambda: settled(plane), "every pod is bound or told why not", 90, 1.0)
    finally:
        agent.kill()
    verdict = judge(plane)
    assert verdict.faults() == []
    ours = [p for p in plane.api.list("Pod") if p["spec"]["schedulerName"] == "cerebrum"]
    bound = [p for p in ours if p["spec"].get("nodeName")]
    assert verdict.waiting, "there was room for all: nothing was put to the test"
    assert len(bound) > 30
    assert not any(p["spec"]["nodeName"].startswith("theirs") for p in bound)


def settled(plane: ControlPlane) -> bool:
    """Nothing is left that could still be decided, by us or by the other scheduler."""
    return not judge(plane).forgotten and not judge(plane, "default-scheduler").forgotten
