"""Round robin: nodes take turns.

The k-th placement of the run tries node k mod n first, then the nodes after it, until one has room.
k is the number of starts so far (attempts of all tasks), so the turn is part of the snapshot.
"""

from __future__ import annotations

import numpy as np

from cerebrum.model.decisions import Bind
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.batch import BatchPolicy
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit

_ALL = 2**31


class RoundRobin(BatchPolicy):
    """Takes the queue in its order; tasks that fit nowhere are passed over."""

    name = "round-robin"

    def __init__(self, gpus: str = "first") -> None:
        super().__init__(batch=_ALL, gpus=gpus)

    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """Every unit that fits, each from the next node on."""
        turn = int(snapshot.tasks.attempts.sum())
        binds: list[Bind] = []
        failed: set[tuple[int, ...]] = set()
        for unit in waiting:
            shape = tuple(room.class_of(task) for task in unit)
            if shape in failed:
                continue
            found = self._place(room, unit, turn)
            if not found:
                failed.add(shape)
            turn += len(found)
            binds += found
        return binds

    def _place(self, room: Room, unit: Unit, turn: int) -> list[Bind]:
        binds: list[Bind] = []
        for task in unit:
            rows = np.flatnonzero(room.fitting(room.class_of(task)))
            if not len(rows):
                room.undo(binds)
                return []
            start = (turn + len(binds)) % len(room.nodes)
            later = rows[rows >= start]
            binds.append(room.bind(task, int(later[0] if len(later) else rows[0])))
        return binds
