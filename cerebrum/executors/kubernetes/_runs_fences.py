"""Deadlines of runs: what they are, and what their pods were shown. No I/O, no clock.

A deadline moves on every few seconds, and to show it to a pod costs a write. So a pod is shown a
later one only when half of what it was shown is over: what it knows is never later than the truth,
and an earlier deadline, or none, is shown at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OLD_S = 3600.0
"""How long the deadline of a run that never came to be is remembered."""


@dataclass(slots=True)
class Fence:
    """One run's: `at_s` monotonic, `length_s` as it was last set, `shown_s` monotonic or None."""

    at_s: float
    length_s: float
    shown_s: float | None = None


class Fences:
    """All of them, by run id."""

    def __init__(self) -> None:
        self._fences: dict[str, Fence] = {}

    def at_s(self, run_id: str) -> float | None:
        """When the run has to end, monotonic; None: it has no deadline."""
        fence = self._fences.get(run_id)
        return None if fence is None else fence.at_s

    def set(self, run_id: str, now_s: float, seconds: float) -> bool:
        """Replace a deadline; whether its pod has to be shown now."""
        known = self._fences.get(run_id)
        shown_s = None if known is None else known.shown_s
        self._fences[run_id] = Fence(now_s + seconds, seconds, shown_s)
        return shown_s is None or now_s + seconds < shown_s

    def lift(self, run_id: str) -> None:
        """There is none any more; the pod has to be shown that."""
        self._fences.pop(run_id, None)

    def shown(self, run_id: str, at_s: float) -> None:
        """The pod has this deadline."""
        fence = self._fences.get(run_id)
        if fence is not None:
            fence.shown_s = at_s

    def adopt(self, run_id: str, now_s: float, at_s: float) -> None:
        """An earlier life showed a pod this deadline."""
        if run_id not in self._fences:
            self._fences[run_id] = Fence(at_s, max(0.0, at_s - now_s), at_s)

    def to_show(self, run_id: str, now_s: float) -> float | None:
        """The deadline that a pod should be shown by now, monotonic; None: it knows enough."""
        fence = self._fences.get(run_id)
        if fence is None or fence.at_s <= now_s:
            return None
        if fence.shown_s is not None:
            recent = fence.shown_s - now_s > fence.length_s / 2
            later_s = fence.at_s - fence.shown_s
            if 0 <= later_s < 1.0 or (recent and later_s > 0):
                return None
        return fence.at_s

    def next_s(self, going_on: Iterable[str]) -> float:
        """The next deadline of these runs; inf without any."""
        found = (self._fences[run_id].at_s for run_id in going_on if run_id in self._fences)
        return min(found, default=float("inf"))

    def forget(self, run_id: str) -> None:
        """Its run has ended."""
        self._fences.pop(run_id, None)

    def drop_old(self, now_s: float) -> None:
        """Those of runs that never came to be."""
        for run_id in [r for r, fence in self._fences.items() if fence.at_s < now_s - OLD_S]:
            del self._fences[run_id]
