"""A real control plane whose kube-scheduler asks an agent of ours: for benchmarks and tests."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks._harness import CannotRun
from benchmarks.durable_submissions import Server
from tests.kubernetes.plane import ControlPlane

VERBS = ("filter", "prioritize", "bind", "preempt")
READY_S = 300.0


@contextmanager
def advising_agent(
    plane: ControlPlane,
    folder: Path,
    policy: str = "best-fit",
    port: int = 0,
    shortlist: int = 0,
) -> Generator[Server]:
    """An agent that has read the cluster and answers on loopback."""
    server = Server.start(
        folder, "lca", "lca", "--cluster-id", "advised", "--gcc-url", "", "--executor",
        "kubernetes", "--kubeconfig", str(plane.kubeconfig), "--mode", "off", "--extender",
        "--policy", policy, "--extender-shortlist", str(shortlist), port=port,
    )  # fmt: skip
    try:
        wait_ready(server.url)
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def wait_ready(url: str) -> None:
    """Until the agent has read its cluster."""
    end_s = time.monotonic() + READY_S
    while httpx.get(url + "/readyz", timeout=60, trust_env=False).status_code != 200:
        if time.monotonic() > end_s:
            raise CannotRun(f"the agent is not ready after {READY_S:.0f} s")
        time.sleep(0.1)


def scheduled(page: str) -> int:
    """Pods that the stock scheduler has placed since it started, from its metrics."""
    return total(r'^scheduler_schedule_attempts_total\{.*result="scheduled".*\} (\S+)$', page)


def total(pattern: str, page: str) -> int:
    """The sum of what a pattern finds line by line in a page of metrics."""
    return sum(int(float(number)) for number in re.findall(pattern, page, re.MULTILINE))


def settings(url: str, verbs: tuple[str, ...] = VERBS, **more: Any) -> Mapping[str, Any]:
    """kube-scheduler's configuration: every node is scored, and we are asked about each."""
    return {
        "percentageOfNodesToScore": 100,
        "extenders": [
            {
                "urlPrefix": f"{url}/extender",
                **{f"{verb}Verb": verb for verb in verbs},
                "weight": 100,
                "nodeCacheCapable": True,
                "ignorable": True,
                "httpTimeout": "5s",
                **more,
            }
        ],
    }
