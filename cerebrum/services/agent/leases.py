"""Fences: what must have ended here when nobody has answered us for too long.

Counted from the moment the last answered request was *sent*: the controller, which counts from when
it received it and adds a margin, is always later. The moment is kept on disk, since the monotonic
clock goes on while we are dead; after a reboot it does not, and all fences count as expired.
"""

from __future__ import annotations

import math

from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.records import Assignment

_ENDING = ("fenced", "dropped")  # ends that a fence has nothing to add to
_KEEP_SHARE = 0.1  # of a fence: how far the moment on disk, or the executor's, may lag behind


class Leases:
    """When each assignment's fence closes. All but `remaining_s` belongs in a turn.

    A contact counts once the turn in which it was heard is stored: the same turn ends what expired
    before it, and if that is not stored, as on a full disk, no fence may open again.
    """

    def __init__(self, ledger: Ledger, life: Lifecycle, boot_id: str) -> None:
        self._ledger, self._life, self._boot_id = ledger, life, boot_id
        self.contact_s = -math.inf
        self._heard_s = -math.inf  # in this turn
        self.fenced_at_s = -math.inf  # the contact that the executor's deadlines were made from

    def load(self) -> None:
        """Go on from what is on disk, unless this life knows better."""
        self._heard_s = -math.inf
        values = self._ledger.values
        if values.get("boot_id", self._boot_id) == self._boot_id:
            self.contact_s = max(self.contact_s, float(values.get("contact_s", -math.inf)))
        if self.contact_s > self._ledger.clock.monotonic_s():  # another boot after all
            self.contact_s = -math.inf

    def heard(self, sent_s: float) -> None:
        """A request sent then was answered. What has expired before stays expired."""
        self.expire()
        self._heard_s = max(self.contact_s, self._heard_s, sent_s)
        shortest_s = min((a.fence_after_s or math.inf for a in self._fenced()), default=math.inf)
        stored_s = float(self._ledger.values.get("contact_s", -math.inf))
        if self._heard_s - stored_s >= _KEEP_SHARE * shortest_s or (
            shortest_s < math.inf and self._ledger.values.get("boot_id") != self._boot_id
        ):
            self._ledger.set("contact_s", self._heard_s)
            self._ledger.set("boot_id", self._boot_id)

    def stored(self) -> None:
        """The turn is over and stored."""
        self.contact_s = max(self.contact_s, self._heard_s)

    def expire(self) -> None:
        """End what is behind a closed fence."""
        for held in self._fenced():
            if held.confirmed and self.remaining_s(held) <= 0:
                for uid in sorted(held.tasks):
                    task = self._ledger.tasks.get(uid)
                    if task is not None and task.ending not in _ENDING:
                        self._ledger.event("fenced", task, generation=task.generation)
                        self._life.end_task(task, "fenced")

    def remaining_s(self, held: Assignment) -> float:
        """Seconds until the fence closes; inf without one."""
        if held.fence_after_s is None:
            return math.inf
        return self.contact_s + held.fence_after_s - self._ledger.clock.monotonic_s()

    def next_s(self) -> float:
        """Seconds until the next fence that has something to end closes."""
        tasks = self._ledger.tasks
        return min(
            (
                max(0.0, self.remaining_s(held))
                for held in self._fenced()
                if held.confirmed
                and any(uid in tasks and tasks[uid].ending not in _ENDING for uid in held.tasks)
            ),
            default=math.inf,
        )

    def renewals(self) -> dict[float, list[str]]:
        """Run ids by the seconds after contact at which their executor is to end them.

        Empty while the deadlines it has are recent enough.
        """
        groups: dict[float, list[str]] = {}
        for run in self._ledger.runs.values():
            task = self._ledger.tasks.get(run.uid)
            held = self._ledger.assignments.get(task.assignment) if task is not None else None
            if held is not None and held.fence_after_s is not None and not run.phase.final:
                groups.setdefault(held.fence_after_s, []).append(run.run_id)
        late_s = self.contact_s - self.fenced_at_s
        return {after_s: ids for after_s, ids in groups.items() if late_s > _KEEP_SHARE * after_s}

    def _fenced(self) -> list[Assignment]:
        return [a for a in self._ledger.assignments.values() if a.fence_after_s is not None]
