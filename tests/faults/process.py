"""Processes: they start, die at any await without a farewell, and start again on the same disk."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any

from tests.faults.clock import MachineClock, SimClock
from tests.faults.disk import Disk, DiskFaults, SimStore
from tests.faults.history import History
from tests.faults.loop import OWNER, Incarnation, VirtualLoop

Main = Callable[["Process"], Coroutine[Any, Any, None]]


class Process:
    """One place where a program runs, life after life.

    `main` is the program; it is given this process, whose `clock`, `store` and `guard` are those of
    the present life. `expected` are exceptions with which it may end its own life. `crash_share` is
    the chance to die at each point where it touches the outside.
    """

    def __init__(
        self,
        name: str,
        main: Main,
        machine: MachineClock,
        disk: Disk,
        disk_faults: DiskFaults,
        loop: VirtualLoop,
        history: History,
        rng: Random,
        expected: tuple[type[BaseException], ...] = (),
    ) -> None:
        self.name, self.main, self.machine, self.disk = name, main, machine, disk
        self.disk_faults, self.loop, self.history, self.rng = disk_faults, loop, history, rng
        self.expected, self.crash_share, self.wanted = expected, 0.0, False
        self.life = Incarnation(name, 0)
        self.life.alive = False
        self.context = Context()
        self.on_crash: list[Callable[[], None]] = []
        self.complaints = 0

    # -- life and death -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new life, unless there is one."""
        self.wanted = True
        if self.life.alive:
            return
        self.life = Incarnation(self.name, self.life.number + 1)
        self.context = Context()
        self.context.run(OWNER.set, self.life)
        self.on_crash.clear()
        self._tell("started", life=self.life.number)
        self.loop.create_task(self._live(), context=self.context.copy())

    def crash(self, why: str, down_s: float | None = None) -> None:
        """Die now. Started again after `down_s` (None: soon), unless somebody wants it stopped."""
        if not self.life.alive:
            return
        self.life.alive = False
        self.life.stopped.clear()
        for call in self.on_crash:
            call()
        self._tell("crashed", why=why)
        if self.wanted:
            wait_s = self.rng.uniform(0.2, 6.0) if down_s is None else down_s
            self.loop.call_later(wait_s, self._again, context=Context())

    def stop(self) -> None:
        """Die and stay dead."""
        self.wanted = False
        self.crash("stopped for good")

    def pause(self) -> None:
        """Stand still, as by SIGSTOP."""
        if self.life.alive:
            self.life.paused = True
            self._tell("paused")

    def resume(self) -> None:
        """Go on, unaware of the time that has passed."""
        if self.life.paused and self.life.alive:
            self._tell("resumed")
            self.loop.resume(self.life)

    def _again(self) -> None:
        if self.wanted:
            self.start()

    async def _live(self) -> None:
        life = self.life
        try:
            await self.main(self)
            why = "its program has ended"
        except self.expected as end:
            why = f"{type(end).__name__}: {end}"
        except Exception as problem:
            why = f"{type(problem).__name__}: {problem}"
            if life.alive:
                self.complain(problem)
        if life.alive:  # else its remains are being cleared away
            self.crash(why)

    # -- what a life has of the outside ---------------------------------------------------------

    def clock(self) -> SimClock:
        """The machine's clock for this life."""
        return SimClock(self.machine, self.life)

    def store(self) -> SimStore:
        """The disk for this life."""
        life = self.life
        return SimStore(self.disk, life, self.disk_faults, self.rng, lambda at: self.dies(life, at))

    def guard(self) -> Callable[[str], Coroutine[Any, Any, None]]:
        """To be awaited where this life touches the outside: it may be the end of it."""
        life = self.life

        async def guard(point: str) -> None:
            life.check()
            if self.dies(life, point):
                await asyncio.get_running_loop().create_future()

        return guard

    def dies(self, life: Incarnation, point: str) -> bool:
        """Draw whether it ends here."""
        if life.alive and self.crash_share and self.rng.random() < self.crash_share:
            self.crash(point)
        return not life.alive

    def complain(self, problem: BaseException) -> None:
        """Write down an error that the program should not have made."""
        text = "".join(traceback.format_exception(problem)[-6:])
        self._tell("internal_error", problem=f"{self.name}: {text}")
        self.complaints += 1
        if self.complaints >= 5:
            self.wanted = False  # it would go on like that for ever

    def _tell(self, kind: str, **data: Any) -> None:
        self.history.add(self.loop.time(), "faults", kind, process=self.name, **data)
