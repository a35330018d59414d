"""Servers as processes: ports, logs, waiting until they answer, hurting them, and no survivors."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

PATIENCE_S = 120.0
"""How long a server may take to answer: only ends a hopeless wait, on a machine full of tests."""

# When the last writer of our standard input is gone (its test process ended, in whatever way),
# kill every group that still has a file of its number, and remove the folders that are named.
_GUARD = """
trap '' INT TERM HUP
read -r _
for file in "$1"/*.pid; do
    [ -e "$file" ] && kill -s KILL -- "-$(cat "$file")"
done
shift
rm -rf -- "$@"
"""


class ServerError(Exception):
    """A server did not start, or died; the message ends with the end of its log."""


class PortTaken(ServerError):
    """Somebody else took the port between our looking and the server's binding it."""


class Guard:
    """Outlives the test process only to end its servers: even `kill -9` of a test leaves nothing.

    A pipe, and not the kernel's death signal, because that one follows the *thread* that started a
    server, and tests start clusters from threads.
    """

    def __init__(self, folder: Path, remove: Sequence[Path] = ()) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(folder), *map(str, remove)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def close(self) -> None:
        """Let it do its work now, and wait until it has."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(PATIENCE_S)


class Server:
    """One server process, its own process group, writing one log over all its lives."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, guard: Guard) -> None:
        self.name, self.command, self.log = name, [str(part) for part in command], log
        self._pid_file = guard.folder / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start it; waiting until it answers is `wait_until`'s."""
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._pid_file.write_text(str(self._process.pid), "ascii")

    @property
    def alive(self) -> bool:
        """Whether its process still is."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def wait_until(self, answers: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait for a true answer; `ServerError` as soon as the process is gone, or time is up."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not self.alive:
                said = self._since_start()
                kind = PortTaken if "address already in use" in said else ServerError
                raise kind(f"{self.name} ended while it was starting:\n{self.tail()}")
            if answers():
                return
            time.sleep(0.05)
        raise ServerError(f"{self.name} did not answer in {patience_s:g} s:\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group, if it still is there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and see it gone."""
        self.signal(signal.SIGKILL)
        self._reap(PATIENCE_S)

    def stop(self, patience_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL for who does not listen."""
        self.signal(signal.SIGTERM)
        try:
            self._reap(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Processor seconds that this life of it has used."""
        used = psutil.Process(self.pid).cpu_times()
        return used.user + used.system

    def memory_mib(self) -> float:
        """Memory in use (resident), MiB."""
        return psutil.Process(self.pid).memory_info().rss / 2**20

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for people."""
        return "\n".join(self._since_start().splitlines()[-lines:]) or "(it said nothing)"

    def _since_start(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _reap(self, patience_s: float) -> None:
        if self._process is not None:
            self._process.wait(patience_s)
            self._pid_file.unlink(missing_ok=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, below those the kernel gives to clients.

    So no outgoing connection takes one while its server is down. Another cluster may still choose
    the same: that is `PortTaken`, and whoever starts the server tries again.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12_000, _first_client_port())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def scratch_folder(beside: Path, need_mib: int = 512) -> Path:
    """A new folder for data that need not last: in memory where there is room, else `beside`."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > need_mib * 2**20:
        beside = memory
    folder = beside / f"cerebrum-etcd-{os.getpid()}-{random.getrandbits(48):012x}"
    folder.mkdir(mode=0o700)
    return folder


def _first_client_port() -> int:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text("ascii").split()[0]) if given.exists() else 32_768
    return max(first, 14_000)
