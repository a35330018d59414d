"""What the stories about local processes share."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cerebrum.executors.conformance import Watch
from cerebrum.executors.local import LocalProcesses
from cerebrum.model.program import Program
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunStatus

PYTHON = sys.executable

# Gets away as far as a process can without changing its environment: forks twice, a session of
# its own, signals ignored, nothing inherited but where to write its pid.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 100)
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
"""


def shell(run_id: str, text: str, memory_mib: int = 0, **program) -> Launch:
    """A run of a line of shell."""
    program.setdefault("command", ("sh", "-c", text))
    return Launch(
        run_id, f"task {run_id}", "n1", Resources(memory_mib=memory_mib), Program(**program)
    )


def played(root: Path, story: Callable, **options):
    """Run `story(executor, watch)` on local processes under `root`; what it returns."""

    async def main():
        executor = LocalProcesses(root, **options)
        try:
            return await story(executor, Watch(executor))
        finally:
            for status in await executor.runs():
                await executor.stop(status.run_id, "test over", grace_s=0.0)
            await executor.close()

    return asyncio.run(main())


def done(root: Path, launch: Launch, **options) -> tuple[RunStatus, bytes, bytes]:
    """Run one launch to its end: its status, and what it wrote."""

    async def story(executor, watch):
        await executor.start(launch)
        end = await watch.ended(launch.run_id)
        return end, await executor.logs(launch.run_id), await executor.logs(launch.run_id, "stderr")

    return played(root, story, **options)


async def until(holds: Callable[[], object], wait_s: float = 60.0) -> None:
    """Wait until something holds."""
    limit_s = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < limit_s, "waited in vain"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def supervisor_pid(root: Path, run_id: str) -> int:
    """The pid in a run's lock."""
    return int((root / run_id / "lock").read_text().split()[0])
