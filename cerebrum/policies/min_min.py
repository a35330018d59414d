"""Min-Min and Max-Min: batch mapping by completion time (Maheswaran et al., HCW'99).

Repeat: for each waiting task find its minimum completion time over the nodes,

    completion(task, node) = earliest start on the node + requested run time / speed

and map the task whose minimum is smallest (Min-Min: short tasks first, nodes stay free) or largest
(Max-Min: long tasks first, short ones fill up) to that node. Ties: the first task, the first node.

Assumptions: run times are the requested ones; a node runs as many tasks as fit, and its mapped
tasks in the order they were mapped (`completion`). Tasks mapped to a start in the future are not
bound: they stay in the queue and are mapped anew at the next event, as in the paper's batch mode.
The batch is the first `batch` jobs of the queue. A gang goes first, as a whole, if it fits now.
A run time without end counts as a thousand years.
"""

from __future__ import annotations

import numpy as np

from cerebrum.model.decisions import Bind
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.batch import BatchPolicy, gangs_first
from cerebrum.policies.completion import Plan
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit

ENDLESS_S = 1000 * 365.25 * 86_400


class MinMin(BatchPolicy):
    """The task that can be done first goes first."""

    name = "min-min"
    largest = False

    def __init__(self, batch: int = 100) -> None:
        super().__init__(batch)

    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """Binds of the mapped tasks that start now."""
        binds, tasks = gangs_first(room, waiting)
        plan = Plan(room, len(tasks) + len(binds))
        for bind in binds:
            length = min(float(snapshot.tasks.requested_s[bind.task]), ENDLESS_S)
            plan.occupied(bind, length)
        lengths = np.minimum(snapshot.tasks.requested_s[tasks], ENDLESS_S)
        kinds = snapshot.tasks.class_id[tasks]
        left = np.ones(len(tasks), np.bool_)
        while left.any() and _starts_now(plan, np.unique(kinds[left]).tolist()):
            chosen, row = self._choose(plan, kinds, lengths, left)
            if row < 0:
                break
            left[chosen] = False
            if plan.commit(int(kinds[chosen]), row, float(lengths[chosen])):
                binds.append(room.bind(tasks[chosen], row))
        return binds

    def _choose(
        self, plan: Plan, kinds: np.ndarray, lengths: np.ndarray, left: np.ndarray
    ) -> tuple[int, int]:
        """The task to map next and its node; node -1 if no task can ever start."""
        best = np.full(len(kinds), np.nan)
        rows = np.full(len(kinds), -1)
        for kind in np.unique(kinds[left]).tolist():
            start = plan.start_s(kind)
            mine = np.flatnonzero(left & (kinds == kind))
            done = start[None, :] + lengths[mine, None] / plan.speed[None, :]
            rows[mine] = done.argmin(axis=1)
            best[mine] = done.min(axis=1)
        best[~np.isfinite(best)] = np.nan
        if np.isnan(best).all():
            return -1, -1
        chosen = int(np.nanargmax(best) if self.largest else np.nanargmin(best))
        return chosen, int(rows[chosen])


def _starts_now(plan: Plan, kinds: list[int]) -> bool:
    """Whether anything could still start now: the plan only fills up, so if not, it is done."""
    return any((plan.start_s(kind) <= plan.now_s).any() for kind in kinds)
