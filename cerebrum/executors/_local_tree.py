"""Everything a run started: found and ended, whatever it did to get away.

A supervisor is the *subreaper* of its run: a process whose parent ends becomes its child, also
after a double fork and in a session of its own. So its descendants are the run. Where the
supervisor itself was killed, what is left is found by CEREBRUM_RUN_ID in the environment.
"""

# Strings, not pathlib: a supervisor loads as little as it can.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import time

from cerebrum.executors import _local_records as records

RUN_ID_VARIABLE = "CEREBRUM_RUN_ID"

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLOCK_BOOTTIME, _TFD_FLAGS, _TFD_TIMER_ABSTIME = 7, os.O_CLOEXEC | os.O_NONBLOCK, 1
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent() -> None:
    """From now on this process is killed when the one that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))


def boottime_timer() -> int:
    """A descriptor that becomes readable at a moment on CLOCK_BOOTTIME: see `set_timer`."""
    return _check(_libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_FLAGS))


def set_timer(timer: int, when_s: float | None) -> None:
    """Let `timer` go off at `when_s` seconds since boot; None: never."""
    when_ns = 0 if when_s is None else max(1, int(min(when_s, 2e9) * 1e9))
    moment = struct.pack("@qqqq", 0, 0, *divmod(when_ns, 10**9))
    _check(_libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, moment, None))


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, by one look at /proc."""
    children: dict[int, list[int]] = {}
    for other in _processes():
        fields = records.process_fields(other)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(other)
    found, left = list[int](), [pid]
    while left:
        below = children.pop(left.pop(), [])
        found += below
        left += below
    return found


def marked(run_id: str) -> list[int]:
    """Every process of ours with this run in its environment, zombies left out."""
    mark, found = f"{RUN_ID_VARIABLE}={run_id}".encode(), list[int]()
    for pid in _processes():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                found.append(pid)
    return found


def end_descendants() -> dict[int, int]:
    """Kill every descendant of this process and wait for the last: pid -> wait status.

    Returns only when there is none, however long the kernel keeps one from ending.
    """
    ended: dict[int, int] = {}
    pause_s = 0.001
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid:
            ended[pid] = status
            continue
        for other in descendants(os.getpid()):
            kill(other)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.5)


def end_marked(run_id: str) -> None:
    """Kill every process with this run in its environment, until there is none."""
    pause_s = 0.001
    while found := marked(run_id):
        for pid in found:
            kill(pid)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.5)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal; nothing if there is no such process any more."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _check(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
