"""Real controllers and agents as processes: started, killed, started again on the same files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cerebrum.model.errors import CerebrumError
from cerebrum.services.client import CerebrumClient

PATIENCE_S = 300.0
"""How long anything here may take. No test measures time: this only ends a hopeless wait."""


@dataclass
class Server:
    """One `cerebrum gcc` or `cerebrum lca`. `prefix` is what it is run under (`ip netns exec`)."""

    arguments: Sequence[str]
    folder: Path
    log: Path
    prefix: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    points: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, crash_at: str = "") -> None:
        """Start it; `crash_at` names the point of its death. `points` notes those it passes."""
        env = {**os.environ, **self.env, "PYTHONUNBUFFERED": "1"}
        env |= {"CEREBRUM_CRASH_AT": crash_at} if crash_at else {}
        env |= {"CEREBRUM_CRASH_LOG": str(self.points)} if self.points else {}
        command = [*self.prefix, sys.executable, "-m", "cerebrum", *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

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

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for people."""
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
    """A controller and some agents, their files in one folder.

    Leases and elections are short: what is tested is what happens, not how long it takes. On
    another `host` than loopback everybody shows a token. `prefixes` says under what an agent runs.
    """

    def __init__(
        self,
        folder: Path,
        database: str = "",
        host: str = "127.0.0.1",
        prefixes: Mapping[str, Sequence[str]] = MappingProxyType({"east": ()}),
    ) -> None:
        self.folder, port = folder, free_port()
        self.url, self.token = f"http://{host}:{port}", ""
        database = database or f"sqlite:///{folder / 'gcc.db'}"
        self.effects = folder / "effects"
        self.effects.touch()
        tokens = dict.fromkeys(prefixes, "")
        if host != "127.0.0.1":
            self.token = _token(database, "tests", "operator")
            tokens = {name: _token(database, name, "agent", name) for name in prefixes}
        self.gcc = Server(
            ["gcc", "--host", host, "--port", str(port), "--database", database,
             "--leader-ttl", "8", "--lease", "15", "--patience", "30"],
            folder, folder / "gcc.log", env={"CEREBRUM_MARGIN_S": "5"},
        )  # fmt: skip
        self.agents = {
            name: Server(
                ["lca", "--cluster-id", name, "--gcc-url", self.url, "--port", str(free_port()),
                 "--nodes", "2x2000m,4Gi", "--state", str(folder / name), "--forecaster", "none",
                 "--policy", "first-fit"],
                folder, folder / f"{name}.log", prefix, {"CEREBRUM_TOKEN": tokens[name]},
            )
            for name, prefix in prefixes.items()
        }  # fmt: skip

    @property
    def lca(self) -> Server:
        """The first agent."""
        return next(iter(self.agents.values()))

    def servers(self) -> list[Server]:
        """All of them."""
        return [self.gcc, *self.agents.values()]

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
        """For one errand."""
        return CerebrumClient(self.url, self.token, timeout_s=20.0)

    def ready(self) -> bool:
        """Whether the controller leads and knows all agents."""
        with self.client() as client:
            client.ready()
            return {found["id"] for found in client.clusters()} >= set(self.agents)

    def keep_alive(self) -> None:
        """Start again what has died."""
        for server in self.servers():
            if not server.alive:
                server.start()


def _token(database: str, name: str, scope: str, cluster: str = "") -> str:
    command = [sys.executable, "-m", "cerebrum", "token", "create", name, "--scope", scope,
               "--database", database, *(["--cluster", cluster] if cluster else [])]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
