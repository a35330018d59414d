"""Time that a restart of the agent, a sleeping machine and a wrong clock do not change.

Standard library only, and little of it: a supervisor is a process of its own for every run.
"""

# Not pathlib, which is slow to load.
# ruff: noqa: PTH123

from __future__ import annotations

import time


def boot_id() -> str:
    """A name of this boot of the machine. Raises OSError where the kernel does not tell."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().decode().strip()


def boottime_s() -> float:
    """Seconds since boot, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
