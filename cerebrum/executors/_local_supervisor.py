"""The supervisor: one small process for each run, which the agent's end does not touch.

It starts the command, keeps what it writes, ends it when it must end, and leaves on disk what
became of it. It sleeps in one `poll` until something happens: output, a child's end, a nudge from
the agent (SIGUSR1: look at your files), or the nearest of its deadlines. An idle run costs nothing.
"""

# Strings, not pathlib: a supervisor loads as little as it can.
# ruff: noqa: PTH104, PTH108, PTH118, PTH120

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from dataclasses import dataclass
from typing import Any

from cerebrum.executors import _local_records as records
from cerebrum.executors import _local_tree as tree
from cerebrum.executors._local_capture import Capture
from cerebrum.executors._local_command import Command, StartFailed
from cerebrum.executors.boot import boot_id, boottime_s

TIMEOUT_GRACE_S = 5.0
"""Between SIGTERM and SIGKILL when a run is over its timeout."""
_FOREVER = float("inf")


@dataclass(frozen=True)
class Ending:
    """Why a run must end, and when (on `boottime_s`) by force."""

    phase: str
    reason: str
    force_s: float


def supervise(folder: str) -> None:
    """Carry out the run in `folder`; return when its end is on disk, or if it is not ours to do.

    Only the holder of the run's lock does anything, so however often this is called for a run, and
    by how many processes, the command starts at most once.
    """
    lock = records.lock_run(folder)
    if lock is None:
        return
    launch = records.read_record(os.path.join(folder, records.LAUNCH))
    ended = records.read_record(os.path.join(folder, records.ENDED))
    if launch is not None and ended is None:
        Supervisor(folder, launch, lock).run()
    os.close(lock)


class Supervisor:
    """One run, from its lock to its end."""

    def __init__(self, folder: str, launch: dict[str, Any], lock: int) -> None:
        self.folder, self.root, self.launch = folder, os.path.dirname(folder), launch
        self.run_id = str(launch["run_id"])
        self._ending: Ending | None = None
        self._main: int | None = None  # wait status of the command, once it ended
        self._pid = 0
        self._fence_s = _FOREVER
        self._started_unix_s: float | None = None
        self._captures: list[Capture] = []
        self._poll = select.poll()
        self._timer = tree.boottime_timer()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._listen(lock)

    def run(self) -> None:
        """Everything, in order."""
        phase, reason = self._recovered() or self._staged() or self._started() or self._watched()
        ended = tree.end_descendants()
        self._main = ended.get(self._pid, self._main) if self._pid else self._main
        for capture in self._captures:
            capture.finish()
        self._finish(phase, reason)

    # -- the parts of a run, each of which may be the last --------------------------------------

    def _recovered(self) -> tuple[str, str] | None:
        """The end of a run whose supervisor died, or whose machine did."""
        started = records.read_record(self._path(records.STARTED))
        started = started or records.read_record(self._path(records.PREPARED))
        if started is not None:
            self._started_unix_s = started["unix_s"]
            with contextlib.suppress(FileNotFoundError):
                self._confirm_start()  # it may have begun, so it counts as having run
            tree.end_marked(self.run_id)
        if self.launch["boot_id"] != boot_id():
            if records.fence_of(self.root, self.run_id) is not None:
                return "stopped", "fenced"
            return ("failed" if started else "start_failed"), "machine restarted"
        return ("failed", "supervisor killed") if started else None

    def _staged(self) -> tuple[str, str] | None:
        """Wait for the inputs; the end of a run that must end before it began."""
        until_s = boottime_s() + self.launch["stage_in_s"]
        self._look()
        while self._ending is None and boottime_s() < until_s:
            self._round(until_s)
        return None if self._ending is None else ("stopped", self._ending.reason)

    def _started(self) -> tuple[str, str] | None:
        """Begin; the end of a run that cannot."""
        launch = self.launch
        try:
            if not launch["command"] and (not launch["image"] or launch["duration_s"] > 0):
                self._record_start(0)  # only time passes
                self._confirm_start()
                return None
            limit = launch["output_limit_bytes"]
            for stream in ("stdout", "stderr"):
                self._captures.append(Capture(self._path(stream), limit))
            command = Command(launch, self.folder)
            self._pid = command.prepare(*(capture.sink for capture in self._captures))
            for capture in self._captures:
                self._poll.register(capture.source, select.POLLIN)
            self._record_start(self._pid)
            command.go()
            self._confirm_start()
        except (StartFailed, OSError) as problem:
            self._started_unix_s = None
            with contextlib.suppress(OSError):
                os.unlink(self._path(records.PREPARED))
            return "start_failed", str(problem)
        return None

    def _watched(self) -> tuple[str, str]:
        """Wait for the end, or bring it about. What is left of the tree is killed afterwards."""
        self._poke()
        began_s, launch = boottime_s(), self.launch
        done_s = _FOREVER if self._pid else began_s + launch["duration_s"] / launch["speed"]
        timeout_s = began_s + launch["timeout_s"]
        while self._main is None and (now_s := boottime_s()) < done_s:
            if self._ending is None and now_s >= timeout_s:
                self._ask("failed", f"timed out after {launch['timeout_s']:g} s", TIMEOUT_GRACE_S)
            if self._ending is not None and (now_s >= self._ending.force_s or not self._pid):
                break
            force_s = timeout_s if self._ending is None else self._ending.force_s
            self._round(min(done_s, force_s))
        if self._ending is not None:
            return self._ending.phase, self._ending.reason
        return self._verdict()

    def _verdict(self) -> tuple[str, str]:
        if not self._main:
            return "succeeded", ""
        code = os.waitstatus_to_exitcode(self._main)
        return "failed", f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"

    # -- waiting --------------------------------------------------------------------------------

    def _listen(self, lock: int) -> None:
        """From here on nothing is missed. Whoever reads our pid in the lock may nudge us."""
        tree.become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, _nothing)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._timer, select.POLLIN)
        os.pwrite(lock, f"{os.getpid()} {records.process_start(os.getpid())}".encode(), 0)

    def _round(self, until_s: float) -> None:
        """Sleep until something happens or `until_s` comes, and see to it.

        The files are looked at after a nudge or at a deadline only: a fence that was moved into the
        future is found out when the old one is reached, one that was moved nearer is nudged.
        """
        tree.set_timer(self._timer, min(until_s, self._fence_s))
        look = False
        for descriptor, _ in self._poll.poll():
            if descriptor == self._timer:
                look = True
            elif descriptor == self._wake:
                look |= signal.SIGUSR1 in os.read(self._wake, 4096)
        self._pump()
        self._reap()
        if look and self._main is None:
            self._look()

    def _pump(self) -> None:
        for capture in self._captures:
            if capture.open:
                capture.pump()
                if not capture.open:  # it would be "ready" for ever
                    self._poll.unregister(capture.source)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._pid:
                    self._main = status

    def _look(self) -> None:
        """See whether somebody asked for the end, or the fence is past."""
        fence_s = records.fence_of(self.root, self.run_id)
        self._fence_s = _FOREVER if fence_s is None else fence_s
        if self._fence_s <= boottime_s():
            self._ask("stopped", "fenced", 0.0)
            self._fence_s = _FOREVER  # it has done its work
        else:
            stop = records.read_record(self._path(records.STOP))
            if stop is not None:
                self._ask("stopped", stop["reason"], stop["grace_s"])

    def _ask(self, phase: str, reason: str, grace_s: float) -> None:
        """Ask the command to end; by force in `grace_s`. A later call can only hasten it."""
        force_s = boottime_s() + grace_s
        if self._ending is not None:
            sooner = min(force_s, self._ending.force_s)
            self._ending = Ending(self._ending.phase, self._ending.reason, sooner)
            return
        self._ending = Ending(phase, reason, force_s)
        if self._pid and grace_s > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGTERM)

    # -- records --------------------------------------------------------------------------------

    def _record_start(self, pid: int) -> None:
        """Not durable: after a power failure the run is over anyway, started or not."""
        self._started_unix_s = time.time()
        started = {
            "pid": pid,
            "process_start": records.process_start(pid) if pid else None,
            "unix_s": self._started_unix_s,
        }
        records.write_record(self._path(records.PREPARED), started, durable=False)

    def _confirm_start(self) -> None:
        os.rename(self._path(records.PREPARED), self._path(records.STARTED))

    def _finish(self, phase: str, reason: str) -> None:
        """Leave the end on disk; a full disk delays it, but does not lose it."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        measured = self._pid and self._started_unix_s is not None
        status = self._main if measured else None
        ended = {
            "phase": phase,
            "reason": reason,
            "unix_s": time.time(),
            "exit_code": None if status is None else os.waitstatus_to_exitcode(status),
            "cpu_s": used.ru_utime + used.ru_stime if measured else None,
            "memory_peak_mib": used.ru_maxrss / 1024 if measured else None,
        }
        while True:
            try:
                records.write_record(self._path(records.ENDED), ended)
                break
            except FileNotFoundError:
                return  # somebody removed the whole run
            except OSError:
                time.sleep(1.0)
        self._poke()

    def _poke(self) -> None:
        """Tell the agent to look, if there is one."""
        with contextlib.suppress(OSError):
            pokes = os.open(
                os.path.join(self.root, records.POKES), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
            try:
                os.write(pokes, f"{self.run_id}\n".encode())
            finally:
                os.close(pokes)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _nothing(*_: object) -> None:
    """A handler, so that the signal is written to the wake-up pipe and not ignored."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"
