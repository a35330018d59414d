"""What a local run leaves on disk, and the machine's own facts that give it meaning.

A run is a directory named by its id. Its files are its state, and each has one writer:

    launch.json    by the agent, before anything else: the run exists
    lock           held by the supervisor for as long as it lives; its pid and start time
    prepared.json  by the supervisor, before the command's first instruction: its pid
    started.json   the same file renamed, once the command began
    stop.json      by the agent: somebody asked for the end
    ended.json     by the supervisor, last: the end
    stdout, stderr what the command wrote
    work/          its working directory, if it named none

This module and the other `_local_*` that a supervisor loads import the standard library only, and
little of it: a supervisor is a process of its own for every run.
"""

# Strings, not pathlib: a supervisor loads as little as it can.
# ruff: noqa: PTH104, PTH108, PTH118, PTH120, PTH123

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from typing import Any

from cerebrum.executors.boot import boot_id

LAUNCH, PREPARED, STARTED = "launch.json", "prepared.json", "started.json"
STOP, ENDED = "stop.json", "ended.json"
LOCK = "lock"
POKES = ".pokes"
"""The FIFO in the root into which supervisors write the id of a run that changed."""
FENCES = ".fences.json"
"""All fences of a root: run id -> seconds on CLOCK_BOOTTIME of one boot."""

_RECORD_LIMIT = 16 * 2**20


def write_record(path: str, record: dict[str, Any], durable: bool = True) -> None:
    """Replace the file at `path` as a whole; on the disk itself when this returns, if `durable`.

    Raises OSError; the old file is then still there, or there is none.
    """
    fresh = f"{path}.new"
    try:
        with open(fresh, "wb") as file:
            file.write(json.dumps(record).encode())
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def read_record(path: str) -> dict[str, Any] | None:
    """The record at `path`; None where there is none, or a damaged one."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_RECORD_LIMIT))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]


def sync_directory(path: str) -> None:
    """Make renames, creations and removals in a directory durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# -- who is alive -----------------------------------------------------------------------------


def lock_run(folder: str) -> int | None:
    """Become the supervisor of a run: the descriptor that holds its lock, None if one lives.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(100):  # `supervisor` below holds the lock for an instant when it looks
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)
        else:
            os.ftruncate(lock, 0)
            return lock
    os.close(lock)
    return None


def has_supervisor(folder: str) -> bool:
    """Whether somebody holds a run's lock."""
    return supervisor(folder, ask_pid=False)[0]


def supervisor(folder: str, ask_pid: bool = True) -> tuple[bool, int]:
    """Whether a run's supervisor lives, and its pid (0: it has not said yet)."""
    try:
        lock = os.open(os.path.join(folder, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False, 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        if not ask_pid:
            return True, 0
        pid, _, start = os.read(lock, 64).decode().partition(" ")
        alive = pid.isdigit() and str(process_start(int(pid))) == start.strip()
        return True, int(pid) if alive else 0
    else:
        return False, 0
    finally:
        os.close(lock)


def nudge(folder: str) -> None:
    """Let a run's supervisor look at its files again; nothing if there is none yet."""
    alive, pid = supervisor(folder)
    if not alive or not pid:
        return  # it looks at its files after it has said its pid
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if supervisor(folder) == (True, pid):  # so the descriptor is the supervisor's for certain
            signal.pidfd_send_signal(process, signal.SIGUSR1)
    except ProcessLookupError:
        pass
    finally:
        os.close(process)


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none.

    With the pid it names a process for good: pids are used again, but never at the same tick.
    """
    fields = process_fields(pid)
    return None if fields is None else int(fields[19])


def process_fields(pid: int) -> list[bytes] | None:
    """/proc/PID/stat from the state on: 0 is the state, 1 the parent, 19 the start time."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()  # the name may hold anything but this
    except OSError:
        return None


# -- fences -----------------------------------------------------------------------------------


def fence_of(root: str, run_id: str) -> float | None:
    """Seconds on `boottime_s` at which a run must be over; None: never; -inf: in a past boot."""
    fences = read_record(os.path.join(root, FENCES))
    deadline = None if fences is None else fences["deadlines"].get(run_id)
    if fences is None or deadline is None:
        return None
    return float(deadline) if fences["boot_id"] == boot_id() else float("-inf")
