"""Policies that look at many waiting tasks at once and bind several in one decision.

With `round_s` above 0 there is one round in that many seconds: a policy that started something
wakes up that much later if tasks are left (the last of them is deferred until then). When the last
round was is read off the snapshot: something running started less than `round_s` ago.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from cerebrum.model.decisions import NOTHING, Bind, Decision, Defer
from cerebrum.model.errors import ConfigError
from cerebrum.model.events import TaskState
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit, units

_ROUNDING_S = 1e-9


class BatchPolicy(ABC):
    """`plan` binds some of the first `batch` jobs of the queue; everything else is here."""

    name = "batch"

    def __init__(self, batch: int, round_s: float = 0.0, gpus: str = "best") -> None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:  # pyright: ignore
            raise ConfigError(f"expected a whole number above 0, got {batch!r}").at(field="batch")
        if not 0 <= round_s < np.inf:
            raise ConfigError(f"expected seconds, at least 0, got {round_s!r}").at(field="round_s")
        self._batch, self._round_s, self._gpus = batch, float(round_s), gpus

    @abstractmethod
    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """What starts now. `waiting` is the head of the queue; `room` may be used up."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """One round, unless the last one was less than `round_s` ago."""
        if not len(snapshot.pending):
            return NOTHING
        until = self._last_start(snapshot) + self._round_s
        if self._round_s and until > snapshot.time_s + _ROUNDING_S:
            return NOTHING if _wakes(snapshot) else _wake(int(snapshot.pending[-1]), until)
        binds = self.plan(snapshot, Room(snapshot, self._gpus), units(snapshot)[: self._batch])
        bound = {bind.task for bind in binds}
        left = [task for task in snapshot.pending.tolist() if task not in bound]
        if not (binds and left and self._round_s):
            return Decision(tuple(binds))
        return Decision((*binds, Defer(left[-1], snapshot.time_s + self._round_s)))

    def _last_start(self, snapshot: Snapshot) -> float:
        begun = snapshot.tasks.started_s[snapshot.running]
        return float(np.nanmax(begun, initial=-np.inf))


def gangs_first(room: Room, waiting: list[Unit]) -> tuple[list[Bind], list[int]]:
    """Gangs that fit are placed as they come; the rest of the queue is single tasks.

    So are tasks that rules about other tasks concern: a plan of many at once cannot keep those.
    """
    alone = [len(unit) == 1 and not room.ruled(unit[0]) for unit in waiting]
    binds = [
        bind
        for unit, single in zip(waiting, alone, strict=True)
        if not single
        for bind in room.place(unit)
    ]
    return binds, [unit[0] for unit, single in zip(waiting, alone, strict=True) if single]


def _wakes(snapshot: Snapshot) -> bool:
    columns = snapshot.tasks
    waiting = columns.state == TaskState.PENDING
    return bool((columns.not_before_s[waiting] > snapshot.time_s).any())


def _wake(task: int, until: float) -> Decision:
    return Decision((Defer(task, until),))
