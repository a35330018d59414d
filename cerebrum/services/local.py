"""A federation of processes on this machine: a controller and some agents, for `up` and `demo`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cerebrum.model.errors import CerebrumError, ConfigError
from cerebrum.services.client import CerebrumClient
from cerebrum.services.errors import Unreachable

START_S = 600.0  # the first start on a machine compiles the engine; who has ended is seen at once
STOP_S = 15.0


class FederationFailed(CerebrumError):
    """A process of the local federation ended by itself. The message names it and its log."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """An agent to start: its cluster's name and the nodes it declares, as `cerebrum lca` takes.

    `options` are further words of that command; they win over ours.
    """

    name: str
    nodes: tuple[str, ...]
    policy: str = "best-fit"
    options: tuple[str, ...] = ()


@dataclass
class LocalFederation:
    """Starts in `__enter__`, stops in `__exit__`. Everything it writes lies under `state`.

    `port` 0 takes a free one. Stopping ends the processes, not the runs they started: the next
    start with the same `state` takes them over, unless `stop_runs`.
    """

    state: Path
    clusters: Sequence[ClusterPlan]
    port: int = 0
    options: Sequence[str] = ()
    executor: str = "local"
    processes: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    def __enter__(self) -> Self:
        self.state.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The controller's address."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> CerebrumClient:
        """A client of the controller."""
        return CerebrumClient(self.url)

    def stop(self) -> None:
        """End agents first, then the controller; by force what does not end in time."""
        for name in sorted(self.processes, key=lambda name: name == "gcc"):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def check(self) -> None:
        """Raises `FederationFailed` when a process has ended."""
        for name, process in self.processes.items():
            code = process.poll()
            if code is not None:
                raise FederationFailed(
                    f"{name} ended with code {code}: {self._last_words(name)} "
                    f"(all of it: {self.log(name)})"
                )

    def start_agent(self, plan: ClusterPlan) -> None:
        """Start an agent, or start it again on its old state."""
        nodes = [word for kind in plan.nodes for word in ("--nodes", kind)]
        self._spawn(
            plan.name, "lca", "--cluster-id", plan.name, "--gcc-url", self.url, "--port", "0",
            "--state", str(self.state / plan.name), "--executor", self.executor,
            "--policy", plan.policy, *nodes, *plan.options,
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """`kill -9` of one process; what it ran goes on."""
        self.processes[name].kill()
        self.processes[name].wait()

    def log(self, name: str) -> Path:
        """Where a process writes what it does."""
        return self.state / f"{name}.log"

    def _start_all(self) -> None:
        names = [plan.name for plan in self.clusters]
        if len(set(names)) != len(names) or not names:
            raise ConfigError("expected at least one cluster, and distinct names").at(
                field="clusters"
            )
        database = f"sqlite:///{(self.state / 'controller.db').resolve()}"
        self._spawn("gcc", "gcc", "--port", str(self.port), "--database", database, *self.options)
        with self.client() as client:
            self._until(lambda: bool(client.ready()), "the controller answers")
            for plan in self.clusters:
                self.start_agent(plan)
            self._until(lambda: self._alive(client) >= set(names), "all agents have registered")

    def _spawn(self, name: str, *words: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CEREBRUM_")}
        for kept in ("CEREBRUM_CACHE", "CEREBRUM_DATA"):
            if kept in os.environ:
                environment[kept] = os.environ[kept]
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "cerebrum", *words, "--log-format", "json"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def _alive(self, client: CerebrumClient) -> set[str]:
        return {c["id"] for c in client.clusters() if c["state"] == "live"}

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self.check()
            try:
                if holds():
                    return
            except Unreachable:
                pass
            time.sleep(0.05)
        raise FederationFailed(f"not within {START_S:.0f} s: {what}; logs are in {self.state}")

    def _last_words(self, name: str) -> str:
        try:
            lines = self.log(name).read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:400] if lines else "it said nothing"


def parse_clusters(text: str, policy: str = "best-fit") -> list[ClusterPlan]:
    """`2x4` two clusters of four nodes; `east:4,west:2` named ones; cores of a node after `@`.

    `2x4@8` gives each node 8 cores (default 4). Raises `ConfigError`.
    """
    body, _, cores_text = text.partition("@")
    cores = _whole(cores_text or "4", text)
    if ":" in body:
        pairs = [part.partition(":") for part in body.split(",")]
        sizes = [(name.strip(), _whole(count, text)) for name, _, count in pairs]
    else:
        clusters, cross, nodes = body.partition("x")
        if not cross:
            raise _bad(text)
        names = ("east", "west", "north", "south")
        count = _whole(clusters, text)
        sizes = [(names[i] if count <= 4 else f"c{i + 1}", _whole(nodes, text))
                 for i in range(count)]  # fmt: skip
    return [ClusterPlan(name, (f"{n}x{cores * 1000}m,{cores * 2}Gi",), policy) for name, n in sizes]


def _whole(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise _bad(whole)
    return int(text)


def _bad(text: str) -> ConfigError:
    return ConfigError(f"expected 2x4, 2x4@8 or east:4,west:2@8, got {text!r}").at(field="clusters")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
