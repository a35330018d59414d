"""Agents of a test's cluster as processes of their own, which can be killed at any point."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.servers import Server, free_port
from tests.kubernetes.api import Api, ApiError
from tests.waiting import wait_until

PATIENCE_S = 120.0


class Agent:
    """One `cerebrum lca --executor kubernetes`, its files in `folder`."""

    def __init__(self, folder: Path, kubeconfig: Path, *more: str, name: str = "agent") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self._crash_at = ""
        self.url = f"http://127.0.0.1:{port}"
        self.server = Server(
            ["lca", "--cluster-id", "k", "--gcc-url", "", "--executor", "kubernetes",
             "--kubeconfig", str(kubeconfig), "--port", str(port),
             "--state", str(folder / f"{name}-state"), *more],
            folder, folder / f"{name}.log",
        )  # fmt: skip

    def start(self, crash_at: str = "") -> None:
        """Start it; `crash_at` is where it dies."""
        self._crash_at = crash_at
        self.server.start(crash_at)

    def wait_ready(self) -> None:
        """Until the pod scheduler has read the cluster."""
        wait_until(self._is_ready, f"the agent is ready; its log:\n{self.server.tail()}")

    def wait_dead(self) -> None:
        """Until it has died at its crash point."""
        dying = f"the agent dies at {self._crash_at}; its log:"
        wait_until(lambda: not self.server.alive, dying, PATIENCE_S / 2)
        assert self.server.was_killed, self.server.tail()

    def stop_in_mid_work(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9`, also when it is stopped."""
        self.server.kill()

    def metric(self, name: str) -> float:
        """One value of its metrics page; 0 where there is none, or no answer."""
        try:
            lines = httpx.get(self.url + "/metrics", timeout=5).text.splitlines()
        except httpx.TransportError:
            return 0.0
        return sum(float(line.split()[-1]) for line in lines if line.split()[0] == name)

    def _signal(self, number: int) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(number)

    def _is_ready(self) -> bool:
        assert self.server.alive, self.server.tail()
        try:
            return httpx.get(self.url + "/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(*agents: Agent) -> Iterator[None]:
    """Start them, and see them gone at the end."""
    try:
        for agent in agents:
            agent.start()
        yield
    finally:
        for agent in agents:
            agent.kill()


def persistently(action: Callable[[], Any]) -> Any:
    """Ask a server that may be away until it has done it; done already counts as done."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action()
        except (httpx.TransportError, ApiError) as problem:
            if isinstance(problem, ApiError) and problem.status == 409:
                return None
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)


def nodes_of(api: Api) -> dict[str, str]:
    """Pod -> node ('' for none), in all namespaces."""
    found = persistently(lambda: api.list("Pod", "*"))
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in found}


def all_bound(api: Api, prefix: str = "") -> bool:
    """Whether every pod of that prefix has a node, and there is one."""
    found = [node for name, node in nodes_of(api).items() if name.startswith(prefix)]
    return bool(found) and all(found)
