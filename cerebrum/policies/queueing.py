"""Batch-job queues: an order, a head that waits for its turn, and EASY backfilling behind it.

Protocol of RLScheduler (Zhang et al., SC'20), `docs/reference/rlscheduler-protocol.md`:

- The queue is sorted by the policy's rule as of now, smallest first, ties in queue order, and its
  head starts if it fits. Else the head is chosen: it waits until it fits, whatever arrives
  meanwhile. `final=False` chooses again at every event instead.
- `backfill="easy"` (Lifka, JSSPP'95): while a head waits, tasks behind it start, first come first
  served, if they fit now and end by their requested time strictly before the head could start, by
  the requested times of what runs (the shadow time). What the head leaves over is not used.

`queue="skip"` lets every task that fits pass a head that does not. Gangs are one job. On clusters
of several nodes a job goes to the first node that fits, or the best by `score`, a scorer's name.
The chosen head is remembered in the snapshot: it is the pending task that was told to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.incremental import GPU_RULES
from cerebrum.model.decisions import Bind, Decision, Wait
from cerebrum.model.errors import UnknownName
from cerebrum.model.events import Refusal
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.machine import Machine, machine, requested_ends
from cerebrum.policies.room import Room
from cerebrum.policies.scorers import get_scorer
from cerebrum.policies.units import Unit, firsts, processors, units


@dataclass(frozen=True, slots=True)
class Jobs:
    """The queue by column, in queue order: one entry a job.

    `submit_s`, `requested_s` seconds (at least 1e-9), `processors` CPU cores, `now_s` the time.
    `machine` is what runs and what is free, for an order that said it reads it; else None.
    """

    now_s: float
    submit_s: NDArray[np.float64]
    requested_s: NDArray[np.float64]
    processors: NDArray[np.float64]
    machine: Machine | None = None

    @property
    def wait_s(self) -> NDArray[np.float64]:
        """Seconds since submission."""
        return self.now_s - self.submit_s


Order = Callable[[Jobs], Sequence[NDArray[np.float64]]]
"""Sort keys of the queue, the most important first; the smallest goes first."""


class QueuePolicy:
    """An order of the queue with a head that blocks, optionally EASY backfilling.

    An order that `reads_machine` is asked again after each start: what is free is not the same.
    """

    def __init__(
        self,
        name: str,
        order: Order,
        backfill: Literal["none", "easy"] | str = "none",
        queue: Literal["block", "skip"] | str = "block",
        final: bool = True,
        gpus: str = "best",
        score: str = "",
        reads_machine: bool = False,
    ) -> None:
        self.name = name if backfill == "none" else f"{name}+{backfill}"
        _one_of("backfill", backfill, ("none", "easy"))
        _one_of("queue", queue, ("block", "skip"))
        _one_of("gpus", gpus, GPU_RULES)
        self._order = order
        self._easy, self._skip, self._final = backfill == "easy", queue == "skip", final
        self._gpus, self._reads_machine = gpus, reads_machine
        self._score = get_scorer(score) if score else None

    @property
    def keeps_head(self) -> bool:
        """Whether it knows its head by whom it told to wait: nobody else should tell tasks so."""
        return self._final

    def decide(self, snapshot: Snapshot) -> Decision:
        """Everything that starts now; a `Wait` for the head when it is chosen and has to."""
        queue = self._in_order(snapshot, units(snapshot))
        if not queue:
            return Decision()
        room = Room(snapshot, self._gpus, self._score)
        binds: list[Bind] = []
        kept: list[tuple[int, Unit]] = []
        for i, (place, unit) in enumerate(queue):
            found = room.place(unit)
            binds += found
            if found and self._reads_machine:
                return Decision(tuple(binds))  # we are asked again at once
            if not found:
                kept.append((place, unit))
                if not self._skip:
                    kept += queue[i + 1 :]
                    break
        if kept and self._easy:
            binds += self._fill(snapshot, room, kept, binds)
        if kept and self._final and not snapshot.tasks.refused[kept[0][1][0]]:
            head = kept[0][1]
            return Decision((*binds, Wait(head[0], _reason(room, head))))
        return Decision(tuple(binds))

    def _in_order(self, snapshot: Snapshot, waiting: list[Unit]) -> list[tuple[int, Unit]]:
        """(place in the queue, unit) by the rule; a head that was chosen before stays the head."""
        if not waiting:
            return []
        keys = list(reversed(self._order(self.jobs(snapshot, waiting))))
        if self._final:
            keys.append(snapshot.tasks.refused[firsts(waiting)] == 0)
        return [(i, waiting[i]) for i in np.lexsort(keys).tolist()]

    def jobs(self, snapshot: Snapshot, waiting: Sequence[Unit]) -> Jobs:
        """What the order is shown of these units."""
        columns, first = snapshot.tasks, firsts(waiting)
        return Jobs(
            snapshot.time_s,
            columns.submit_s[first],
            columns.requested_s[first],
            processors(snapshot, waiting),
            machine(snapshot) if self._reads_machine else None,
        )

    def _fill(
        self,
        snapshot: Snapshot,
        room: Room,
        queue: list[tuple[int, Unit]],
        planned: list[Bind],
    ) -> list[Bind]:
        """Binds of jobs behind the head, in queue order, that end before its shadow time."""
        shadow = shadow_time(snapshot, self._room_after(snapshot, planned), queue[0][1], planned)
        ends = snapshot.time_s + snapshot.tasks.requested_s[snapshot.pending]
        in_time = dict(zip(snapshot.pending.tolist(), (ends < shadow).tolist(), strict=True))
        failed: set[tuple[int, ...]] = set()
        binds: list[Bind] = []
        for _, unit in sorted(queue[1:]):
            if not all(in_time[task] for task in unit):
                continue
            shape = tuple(room.kind_of(task) for task in unit)
            if shape in failed:
                continue
            found = room.place(unit)
            if not found:
                failed.add(shape)  # room only shrinks while deciding
            binds += found
        return binds

    def _room_after(self, snapshot: Snapshot, planned: Sequence[Bind]) -> Room:
        room = Room(snapshot, self._gpus, self._score)
        for bind in planned:
            room.bind(bind.task, bind.row)
        return room


def shadow_time(snapshot: Snapshot, room: Room, head: Unit, planned: Sequence[Bind] = ()) -> float:
    """When the head fits if everything that runs lasts as long as requested; inf if it never does.

    `room` is used up. `planned` are binds of this decision, already in `room`.
    """
    ends = sorted(_ends(snapshot, planned))
    for i, (end, task, row, gpus) in enumerate(ends):
        room.give_back(task, row, gpus)
        if i + 1 < len(ends) and ends[i + 1][0] == end:
            continue
        if room.place(head):
            return end
    return np.inf


def _ends(snapshot: Snapshot, planned: Sequence[Bind]) -> list[tuple[float, int, int, int]]:
    """(requested end, task, row, GPUs) of all that runs or is about to."""
    columns, speed = snapshot.tasks, snapshot.nodes["speed"]
    running = snapshot.running
    found = zip(
        requested_ends(snapshot).tolist(), running.tolist(), columns.row[running].tolist(),
        columns.gpus[running].tolist(), strict=True,
    )  # fmt: skip
    new = [
        (snapshot.time_s + float(columns.requested_s[b.task] / speed[b.row]), b.task, b.row, b.gpus)
        for b in planned
    ]
    return [*found, *new]


def _reason(room: Room, unit: Unit) -> int:
    first = unit[0]
    return int(Refusal.GANG) if len(unit) > 1 else room.why_nowhere(first)


def _one_of(field: str, value: Any, known: Any) -> None:
    if value not in known:
        raise UnknownName(field, str(value), known).at(field=field)
