"""A run's command: its environment, its limits, and its first instruction.

The process is forked, waits until its pid is on disk, and only then becomes the command. So a
command that ran is always one that was recorded, and one that was not recorded never ran.
"""

# Strings, not pathlib: a supervisor loads as little as it can.
# ruff: noqa: PTH103, PTH112, PTH117, PTH118, PTH123

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Mapping
from typing import Any, NoReturn

from cerebrum.executors import _local_tree as tree

_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MIB = 2**20


class StartFailed(Exception):
    """The command could not begin; the message is one line for people."""


def base_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What a run gets of the agent's own environment: where things are, and no secrets."""
    kept = {name: ours[name] for name in _INHERITED if name in ours}
    return {"PATH": _DEFAULT_PATH, **kept}


def run_environment(
    base: Mapping[str, str], own: Mapping[str, str], run_id: str, task: str, node: str, gpus: str
) -> dict[str, str]:
    """The whole environment of a run: its program's `own`, and what it may not change."""
    fixed = {
        tree.RUN_ID_VARIABLE: run_id,
        "CEREBRUM_TASK": task,
        "CEREBRUM_NODE": node,
        "CUDA_VISIBLE_DEVICES": gpus,
    }
    return {**base, **own, **fixed}


class Command:
    """The process of a run's command. `prepare`, record `pid`, then `go`."""

    def __init__(self, launch: dict[str, Any], folder: str) -> None:
        self._launch, self._folder = launch, folder
        self.pid = 0
        self._go = self._failure = -1

    def prepare(self, stdout: int, stderr: int) -> int:
        """Fork; the pid. The child waits for `go`. Raises `StartFailed`."""
        if self._launch["image"]:
            raise StartFailed("images need a container runtime, which local runs do not have")
        workdir = self._workdir()
        go_reader, self._go = os.pipe2(os.O_CLOEXEC)
        self._failure, failure_writer = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        try:
            self.pid = os.fork()
        except OSError as problem:
            raise StartFailed(f"cannot fork: {problem.strerror}") from problem
        if self.pid == 0:
            os.close(self._go)
            self._become(parent, workdir, go_reader, failure_writer, stdout, stderr)
        for mine in (go_reader, failure_writer, stdout, stderr):
            os.close(mine)
        return self.pid

    def go(self) -> None:
        """Let it begin. Raises `StartFailed` when there is no such program, for example."""
        os.write(self._go, b"!")
        os.close(self._go)
        with open(self._failure, "rb") as failure:
            problem = failure.read().decode(errors="replace")  # its end comes with the command
        if problem:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            raise StartFailed(problem)

    def _workdir(self) -> str:
        given = self._launch["workdir"]
        if not given:
            path = os.path.join(self._folder, "work")
            os.makedirs(path, mode=0o700, exist_ok=True)
            return path
        if not os.path.isabs(given):
            raise StartFailed(f"workdir {given!r}: expected an absolute path")
        if not os.path.isdir(given):
            raise StartFailed(f"workdir {given!r}: no such directory")
        return given

    def _become(
        self, parent: int, workdir: str, go: int, failure: int, stdout: int, stderr: int
    ) -> NoReturn:
        """In the child: become the command; on a problem say it through `failure` and end."""
        try:
            tree.die_with_parent()
            os.setsid()
            if os.getppid() != parent or os.read(go, 1) != b"!":
                os._exit(127)
            self._settle(workdir, stdout, stderr)
            command = self._launch["command"]
            os.execvpe(command[0], command, self._launch["env"])
        except BaseException as problem:
            os.write(failure, self._explained(problem, workdir).encode(errors="replace"))
        finally:
            os._exit(127)

    def _settle(self, workdir: str, stdout: int, stderr: int) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, descriptor in enumerate((nothing, stdout, stderr)):
            os.dup2(descriptor, target)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE,
                       signal.SIGUSR1, signal.SIGCHLD, signal.SIGXFSZ):  # fmt: skip
            signal.signal(number, signal.SIG_DFL)
        limit = self._launch["memory_mib"] * _MIB
        if limit:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        os.chdir(workdir)

    def _explained(self, problem: BaseException, workdir: str) -> str:
        name = self._launch["command"][0]
        if isinstance(problem, FileNotFoundError):
            return f"command {name!r}: not found"
        if isinstance(problem, OSError):
            return f"command {name!r} in {workdir!r}: {problem.strerror}"
        return f"command {name!r}: {type(problem).__name__}: {problem}"
