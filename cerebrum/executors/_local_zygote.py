"""The zygote: a process that holds all a supervisor needs, and forks one for each run it is told.

A fork takes a millisecond where a new interpreter takes twenty, and a hundred supervisors share
most of their memory. The zygote reads run directories, one after another, and ends when the agent
does; the supervisors do not. It imports the standard library only: a test holds it to that.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback

from cerebrum.executors import _local_supervisor


def serve() -> None:
    """Fork a supervisor for each directory on standard input (each ends in NUL)."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps supervisors by itself
    gc.disable()
    gc.freeze()  # so that collecting in one supervisor copies no page of the others
    unread = b""
    while piece := os.read(0, 2**16):
        *folders, unread = (unread + piece).split(b"\0")
        for folder in folders:
            _fork(os.fsdecode(folder))


def _fork(folder: str) -> None:
    try:
        pid = os.fork()
    except OSError as problem:
        _complain(f"{folder}: cannot fork: {problem.strerror}; the agent will ask again")
        return
    if pid == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.close(nothing)
            _local_supervisor.supervise(folder)
        except BaseException:
            _complain(f"{folder}:\n{traceback.format_exc()}")
        finally:
            os._exit(0)


def _complain(text: str) -> None:
    os.write(2, f"{text}\n".encode(errors="replace"))
