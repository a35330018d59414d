"""An asyncio event loop in virtual time: sleeping costs nothing, and one seed is one history.

No sockets, no threads. When nothing is ready, time jumps to the next timer. Callbacks that are
ready at the same moment run in an order that the seed may shuffle: real processes have none.

Each callback belongs to the process in whose context it was made (`OWNER`). What belongs to a dead
process never runs: no `finally`, no cleanup, exactly as after `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from random import Random
from typing import Any

_NARROW = 6  # how far down the queue the seed may reach for the next callback
_STUCK = 200_000  # callbacks at one moment: beyond this somebody waits without letting time pass


class Deadlock(Exception):
    """Nothing is ready and no timer is set: the history can never go on."""


class Crashed(BaseException):
    """Raised into whatever a dead process still tries (only while its remains are cleared away)."""


class Incarnation:
    """One life of a process, from start to crash. While `paused` (as by SIGSTOP, or a long
    collection of garbage) its callbacks pile up in `stopped`."""

    __slots__ = ("alive", "name", "number", "paused", "stopped")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number, self.alive = name, number, True
        self.paused, self.stopped = False, list[Any]()

    def check(self) -> None:
        """Refuse what a dead process tries."""
        if not self.alive:
            raise Crashed(self.name)


OWNER: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("OWNER", default=None)


class _Ready(deque[Any]):
    """The loop's queue of ready callbacks: drops what is dead, shuffles what is left."""

    shuffle: Random | None = None
    nothing: asyncio.Handle

    def popleft(self) -> Any:
        if self.shuffle is not None and len(self) > 1:
            self.rotate(-self.shuffle.randrange(min(len(self), _NARROW)))
        handle = super().popleft()
        owner = handle._context.get(OWNER)
        if owner is None or (owner.alive and not owner.paused):
            return handle
        if owner.alive:
            owner.stopped.append(handle)
        return self.nothing


class _Jump:
    """Stands where a loop has its selector: instead of waiting, time moves on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is the true time of the history in seconds, from 0."""

    def __init__(self, shuffle: Random | None = None) -> None:
        super().__init__()
        self._now, self._calls_here, self._sweep_at = 0.0, 0, 1000
        self._clock_resolution = 1e-9
        self._selector = _Jump(self)
        self._ready = _Ready()
        self._ready.shuffle = shuffle
        self._ready.nothing = asyncio.Handle(print, (), self)
        self._ready.nothing.cancel()  # what the loop passes over
        self._tasks: list[asyncio.Task[Any]] = []
        self.complaints: list[BaseException] = []
        self.set_task_factory(self._task)

    def time(self) -> float:
        return self._now

    def jump(self, timeout: float | None) -> None:
        """Move time to the next timer when nothing is ready."""
        if timeout is None:
            raise Deadlock(f"at {self._now:.3f} s nothing is left that could happen")
        if timeout > 0:
            self._now, self._calls_here = max(self._now, self._scheduled[0]._when), 0
        else:
            self._calls_here += 1
            if self._calls_here > _STUCK:
                raise Deadlock(f"time stands still at {self._now:.3f} s")

    def resume(self, life: Incarnation) -> None:
        """Let a paused process go on where it was."""
        life.paused = False
        self._ready.extend(life.stopped)
        life.stopped.clear()

    def bury(self) -> list[BaseException]:
        """Clear away what will never go on; what failed without anybody noticing comes back."""
        self._sweep()
        for task in self._tasks:
            task._log_destroy_pending = False  # pyright: ignore
            with contextlib.suppress(Crashed, RuntimeError):
                task.get_coro().close()
        self._tasks.clear()
        return self.complaints

    def _sweep(self) -> None:
        for task in self._tasks:
            if task.done() and getattr(task, "_log_traceback", False):
                problem = None if task.cancelled() else task.exception()
                if problem is not None:
                    self.complaints.append(problem)
        self._tasks = [task for task in self._tasks if not task.done()]

    def _task(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        self._tasks.append(task)
        if len(self._tasks) >= self._sweep_at:
            self._sweep()
            self._sweep_at = 2 * len(self._tasks) + 1000
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There is nobody to wake."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise RuntimeError("no threads in a simulated history: " + repr(func))
