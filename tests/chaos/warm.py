"""`cerebrum` processes that start in moments: forked off one that has imported everything.

Each is a process of its own, with its own PID to kill and its own files; only the four seconds of
imports are saved. On a machine that starts a hundred servers in a row they are most of the time.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.chaos.imported", __name__])
_turn = threading.Lock()
"""`multiprocessing` looks after all its processes whenever one is started: one thread at a time."""
_PR_SET_PDEATHSIG = 1


class WarmProcess:
    """As much of `subprocess.Popen` as the tests use. `netns` is the network namespace it is in."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        log: Path,
        env: Mapping[str, str],
        netns: str = "",
    ) -> None:
        given = (list(arguments), str(folder), str(log), dict(env), netns)
        self._process = _context.Process(target=_become, args=given, daemon=True)
        with _turn:
            self._process.start()

    @property
    def pid(self) -> int:
        """Of the process itself."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it lives."""
        with _turn:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        until_s = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until_s:
                raise subprocess.TimeoutExpired("cerebrum", timeout)
            time.sleep(0.02)
        return status

    def send_signal(self, number: int) -> None:
        """To a process that may be gone already."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


def _become(arguments: list[str], folder: str, log: str, env: dict[str, str], netns: str) -> None:
    """In the child: be `cerebrum ARGUMENTS`, to the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Nobody is to be left behind when the tests are killed.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if netns and libc.setns(os.open(f"/run/netns/{netns}", os.O_RDONLY), 0):
        raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {netns}")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    from cerebrum.cli import run

    sys.exit(run(arguments))
