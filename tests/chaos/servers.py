"""Real controllers and agents as processes: started, killed, started again on the same files."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cerebrum.model.errors import CerebrumError
from cerebrum.services.client import CerebrumClient
from cerebrum.services.errors import Unreachable
from tests.chaos.warm import WarmProcess

LEASE_S = 10.0
PATIENCE_S = 120.0
"""How long anything here may take. No test measures time: this only ends a hopeless wait."""


@dataclass
class Server:
    """One `cerebrum gcc` or `cerebrum lca`, in the network namespace `netns` (default: ours).

    `points` is where it notes the crash points that it passes.
    """

    arguments: Sequence[str]
    folder: Path
    log: Path
    netns: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    points: Path | None = None
    process: WarmProcess | None = None

    def start(self, crash_at: str = "") -> None:
        """Start it; `crash_at` names the point of its death, and the count (`NAME:N`)."""
        env = {**os.environ, **self.env, "PYTHONUNBUFFERED": "1"}
        env |= {"CEREBRUM_CRASH_AT": crash_at} if crash_at else {}
        env |= {"CEREBRUM_CRASH_LOG": str(self.points)} if self.points else {}
        self.process = WarmProcess(self.arguments, self.folder, self.log, env, self.netns)

    @property
    def alive(self) -> bool:
        """Whether the process still is."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """`kill -9`, and see it gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """SIGTERM; then what it still runs is its own affair."""
        if self.process is not None and self.alive:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def was_killed(self) -> bool:
        """Whether the process that was started last ended by SIGKILL."""
        return self.process is not None and self.process.poll() == -signal.SIGKILL

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for people."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Until it holds. Raises `AssertionError` naming what did not happen."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        try:
            if condition():
                return
        except (CerebrumError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"in {patience_s:g} s this did not happen: {what}")


class Federation:
    """Controllers (`replicas` of them, on one database) and agents, their files in one folder.

    Leases and elections are short: what is tested is what happens, not how long it takes. On
    another `host` than loopback everybody shows a token. `clusters` are names of agents and the
    network namespaces they live in. `kept` servers are started again when they have died.
    """

    def __init__(
        self,
        folder: Path,
        database: str = "",
        host: str = "127.0.0.1",
        clusters: Mapping[str, str] = MappingProxyType({"east": ""}),
        replicas: int = 1,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.token = folder, ""
        database = database or f"sqlite:///{folder / 'gcc.db'}"
        self.effects = folder / "effects"
        self.effects.touch()
        tokens = dict.fromkeys(clusters, "")
        if host != "127.0.0.1":
            self.token = _token(folder, database, "tests", "operator")
            tokens = {name: _token(folder, database, name, "agent", name) for name in clusters}
        ports = [free_port() for _ in range(replicas)]
        self.controllers = {
            f"http://{host}:{port}": Server(
                ["gcc", "--host", host, "--port", str(port), "--database", database,
                 "--leader-ttl", "3", "--lease", f"{LEASE_S:g}", "--patience", "30"],
                folder, folder / f"gcc{number}.log", env={"CEREBRUM_MARGIN_S": "3"},
            )
            for number, port in enumerate(ports)
        }  # fmt: skip
        self.agents = {
            name: Server(
                ["lca", "--cluster-id", name, "--gcc-url", ",".join(self.controllers),
                 "--port", str(free_port()), "--nodes", "2x2000m,4Gi",
                 "--state", str(folder / name), "--forecaster", "none", "--policy", "first-fit"],
                folder, folder / f"{name}.log", netns, {"CEREBRUM_TOKEN": tokens[name]},
            )
            for name, netns in clusters.items()
        }  # fmt: skip
        self.kept = self.servers()
        self._urls = itertools.cycle(self.controllers)

    @property
    def gcc(self) -> Server:
        """The first controller."""
        return next(iter(self.controllers.values()))

    @property
    def lca(self) -> Server:
        """The first agent."""
        return next(iter(self.agents.values()))

    def servers(self) -> list[Server]:
        """All of them."""
        return [*self.controllers.values(), *self.agents.values()]

    def server(self, side: str) -> Server:
        """The first controller (`gcc`) or the first agent (`lca`)."""
        return self.gcc if side == "gcc" else self.lca

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers():
            server.stop()

    def start(self) -> None:
        """Start all, and wait until they know each other."""
        for server in self.servers():
            server.start()

        def ready() -> bool:
            self.keep_alive()  # on a machine that is busy enough a leader may give up
            return self.ready()

        wait_for(ready, "controller and agents are ready")

    def client(self) -> CerebrumClient:
        """For one errand; of several controllers the next one that lives."""
        urls = itertools.islice(self._urls, len(self.controllers))
        url = next((url for url in urls if self.controllers[url].alive), next(self._urls))
        return CerebrumClient(url, self.token, timeout_s=20.0)

    def ready(self) -> bool:
        """Whether somebody leads and knows all agents."""
        self.leader()
        with self.client() as client:
            return {found["id"] for found in client.clusters()} >= set(self.agents)

    def leader(self) -> Server:
        """Who leads. Raises `Unreachable` when nobody does."""
        for url, server in self.controllers.items():
            if server.alive:
                with CerebrumClient(url, self.token, timeout_s=20.0) as client:
                    if client.ready()["leader"]:
                        return server
        raise Unreachable("nobody leads")

    def keep_alive(self) -> int:
        """Start again who has died, or was never started; how many had died by SIGKILL."""
        dead = [server for server in self.kept if not server.alive]
        killed = sum(server.was_killed for server in dead)
        for server in dead:
            server.start()
        return killed


def _token(folder: Path, database: str, name: str, scope: str, cluster: str = "") -> str:
    command = ["token", "create", name, "--scope", scope, "--database", database]
    shown = folder / f"{name}.token"
    creating = WarmProcess(
        [*command, *(["--cluster", cluster] if cluster else [])], folder, shown, os.environ
    )
    assert creating.wait(PATIENCE_S) == 0, shown.read_text()
    return shown.read_text().splitlines()[-1].strip()
