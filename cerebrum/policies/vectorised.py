"""A scorer over all nodes at once: `score(snapshot, task) -> float64[nodes]`, in a plain loop.

For ideas that need NumPy, other nodes or the clock. `task` is the task's id: its columns are in
`snapshot.tasks`, its class in `snapshot.classes[snapshot.tasks.class_id[task]]`. The highest score
among the nodes that fit wins; -inf keeps a node out; NaN and inf are errors. A compiled scorer of
one node (`cerebrum.engine.compiled.scorer`) is hundreds of times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.incremental import DISCIPLINES, GPU_RULES, TIE_RULES
from cerebrum.engine.placement import mix
from cerebrum.model.decisions import NOTHING, Bind, Decision, Reject, Wait
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.events import Refusal
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit, units

Score = Callable[[Snapshot, int], Any]


class Vectorised:
    """Takes the queue in its order; one bind (or gang) a decision, so `score` sees each change."""

    def __init__(
        self,
        name: str,
        score: Score,
        gpus: str = "best",
        ties: str = "first",
        queue: str = "skip",
    ) -> None:
        for field, value, known in (
            ("gpus", gpus, GPU_RULES),
            ("ties", ties, TIE_RULES),
            ("queue", queue, DISCIPLINES),
        ):
            if value not in known or value == "score":
                raise UnknownName(field, str(value), [k for k in known if k != "score"])
        self.name = name
        self._score, self._gpus, self._ties, self._queue = score, gpus, ties, queue

    def decide(self, snapshot: Snapshot) -> Decision:
        """The first task of the queue about which there is something to do."""
        room = Room(snapshot, self._gpus)
        failed: set[tuple[int, ...]] = set()
        for unit in units(snapshot):
            shape = tuple(room.kind_of(task) for task in unit)
            if shape not in failed:
                decision = self._place(snapshot, room, unit)
                if decision:
                    return decision
                failed.add(shape)
            if self._queue == "reject":
                return Decision(tuple(Reject(task, _reason(room, unit)) for task in unit[:1]))
            if not snapshot.tasks.refused[unit[0]]:
                return Decision((Wait(unit[0], _reason(room, unit)),))
            if self._queue == "block":
                return NOTHING
        return NOTHING

    def _place(self, snapshot: Snapshot, room: Room, unit: Unit) -> Decision:
        binds: list[Bind] = []
        for task in unit:
            row = self._pick(snapshot, room, task)
            if row < 0:
                room.undo(binds)
                return NOTHING
            binds.append(room.bind(task, row))
        return Decision(tuple(binds))

    def _pick(self, snapshot: Snapshot, room: Room, task: int) -> int:
        fitting = room.fitting(room.class_of(task), task)
        if not fitting.any():
            return -1
        scores = np.where(fitting, self._checked(snapshot, task), -np.inf)
        top = scores.max()
        if top == -np.inf:
            return -1
        best = np.flatnonzero(scores == top)
        if self._ties == "name":
            return int(best[np.argmin(snapshot.rank[best])])
        if self._ties == "random":
            draw = mix(snapshot.key, int(task) * 1024 + int(snapshot.tasks.attempts[task]))
            return int(best[int(mix(int(draw) & (2**62 - 1), 0)) % len(best)])
        return int(best[0])

    def _checked(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        scores = np.asarray(self._score(snapshot, int(task)))
        if scores.shape != (len(snapshot.nodes),) or scores.dtype.kind not in "fiu":
            raise ConfigError(
                f"expected a number for each of {len(snapshot.nodes)} nodes, "
                f"got {scores.dtype} {scores.shape}"
            ).at(field=self.name)
        scores = scores.astype(np.float64)
        wrong = np.isnan(scores) | (scores == np.inf)
        if wrong.any():
            node = snapshot.node_names[int(np.argmax(wrong))]
            raise ConfigError(f"scores node {node!r} {scores[wrong][0]}").at(field=self.name)
        return scores


def _reason(room: Room, unit: Unit) -> int:
    first = unit[0]
    return int(Refusal.GANG) if len(unit) > 1 else room.why_nowhere(first)
