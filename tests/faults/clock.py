"""Clocks of machines: they disagree, drift and jump; only the history knows the true time."""

from __future__ import annotations

import asyncio
from random import Random

from tests.faults.loop import Incarnation, VirtualLoop

START_UNIX_S = 1_800_000_000.0


class MachineClock:
    """One machine's clocks; they outlive the processes on it.

    The monotonic one starts anywhere and runs `rate` seconds per true second: at most `drift` off,
    at its fastest if `bias` is 1, at its slowest if it is -1. The wall clock is off by some seconds
    and may be set by an hour either way at any moment.
    """

    def __init__(self, loop: VirtualLoop, rng: Random, drift: float, bias: int = 0) -> None:
        self._loop = loop
        off = rng.uniform(-drift, drift)
        self.rate = 1.0 + (bias * drift or off)
        self._boot_s = rng.uniform(0.0, 1e6)
        self._wall_off_s = rng.uniform(-5.0, 5.0)

    def unix_s(self) -> float:
        return START_UNIX_S + self._loop.time() + self._wall_off_s

    def monotonic_s(self) -> float:
        return self._boot_s + self._loop.time() * self.rate

    def set_wall(self, by_s: float) -> None:
        """Somebody (or NTP) sets the wall clock."""
        self._wall_off_s += by_s

    def reboot(self) -> None:
        """The machine was off: its monotonic clock begins anew."""
        self._boot_s = -self._loop.time() * self.rate


class SimClock:
    """`ports.Clock` of one life of a process."""

    def __init__(self, machine: MachineClock, life: Incarnation) -> None:
        self._machine, self._life = machine, life

    def unix_s(self) -> float:
        return self._machine.unix_s()

    def monotonic_s(self) -> float:
        return self._machine.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        await asyncio.sleep(max(0.0, seconds) / self._machine.rate)
