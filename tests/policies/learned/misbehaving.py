"""Candidates that go wrong, each in its own way."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from cerebrum.model.decisions import NOTHING, Bind, Decision, Defer, Preempt, Reject, Wait
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies import get_policy

HANGS_S = 5.0
DEADLINE_S = 0.1


class Clock:
    """Seconds that only candidates spend."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Mad:
    """`answer` is made of the snapshot and the first waiting task."""

    def __init__(self, answer: Callable[[Snapshot, int], Any]) -> None:
        self.name, self._answer = "mad", answer

    def decide(self, snapshot: Snapshot) -> Any:
        return self._answer(snapshot, int(snapshot.pending[0]))


class Dawdling:
    """The right answer, too late."""

    name = "dawdling"

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds, self._policy = clock, seconds, get_policy("best-fit")

    def decide(self, snapshot: Snapshot) -> Decision:
        self._clock.now_s += self._seconds
        return self._policy.decide(snapshot)


class NotANumber:
    """Chooses by scores that are none."""

    name = "nan"

    def __init__(self) -> None:
        self._policy: Any = get_policy("best-fit")

    def decide(self, snapshot: Snapshot) -> Decision:
        return self._policy.decide(snapshot)

    def totals(self, snapshot: Snapshot, task: int) -> Any:
        return self._policy.totals(snapshot, task) * np.nan

    def gpus_on(self, snapshot: Snapshot, task: int, row: int) -> int:
        return self._policy.gpus_on(snapshot, task, row)


def _raise(error: BaseException) -> Any:
    raise error


def _full(snapshot: Snapshot, task: int) -> int:
    """A node without room, else one that does not exist."""
    refused = np.flatnonzero(snapshot.refusals(task) > 0)
    return int(refused[0]) if len(refused) else len(snapshot.nodes)


def _room(snapshot: Snapshot, task: int) -> int:
    fits = np.flatnonzero(snapshot.refusals(task) == 0)
    return int(fits[0]) if len(fits) else 0


CANDIDATES: dict[str, tuple[str, Callable[[], Any]]] = {
    "raises": ("raised", lambda: Mad(lambda s, t: _raise(ZeroDivisionError("0")))),
    "exits": ("raised", lambda: Mad(lambda s, t: sys.exit(3))),
    "recurses": ("raised", lambda: Mad(lambda s, t: _raise(RecursionError()))),
    "none": ("malformed", lambda: Mad(lambda s, t: None)),
    "text": ("malformed", lambda: Mad(lambda s, t: "bind it")),
    "an-array": ("malformed", lambda: Mad(lambda s, t: np.arange(3))),
    "a-list": ("malformed", lambda: Mad(lambda s, t: Decision([Bind(t, 0)]))),  # type: ignore
    "no-action": ("malformed", lambda: Mad(lambda s, t: Decision(("bind",)))),  # type: ignore
    "a-fraction": ("malformed", lambda: Mad(lambda s, t: Decision((Bind(t, 0.5),)))),  # type: ignore
    "nan-row": ("not-a-number", lambda: Mad(lambda s, t: Decision((Bind(t, math.nan),)))),  # type: ignore
    "nan-time": ("not-a-number", lambda: Mad(lambda s, t: Decision((Defer(t, math.nan),)))),
    "nan-scores": ("not-a-number", NotANumber),
    "no-such-node": ("out-of-mask", lambda: Mad(lambda s, t: Decision((Bind(t, 10**6),)))),
    "negative-node": ("out-of-mask", lambda: Mad(lambda s, t: Decision((Bind(t, -1),)))),
    "full-node": ("out-of-mask", lambda: Mad(lambda s, t: Decision((Bind(t, _full(s, t)),)))),
    "no-such-task": ("infeasible", lambda: Mad(lambda s, t: Decision((Bind(10**6, 0),)))),
    "negative-task": ("infeasible", lambda: Mad(lambda s, t: Decision((Bind(-1, 0),)))),
    "other-gpus": (
        "infeasible", lambda: Mad(lambda s, t: Decision((Bind(t, _room(s, t), 1 << 40),)))
    ),
    "huge-gpus": ("infeasible", lambda: Mad(lambda s, t: Decision((Bind(t, _room(s, t), -1),)))),
    "twice": ("infeasible", lambda: Mad(lambda s, t: Decision((Wait(t), Wait(t))))),
    "past": ("infeasible", lambda: Mad(lambda s, t: Decision((Defer(t, s.time_s),)))),
    "rejects": ("withheld", lambda: Mad(lambda s, t: Decision((Reject(t),)))),
    "defers": ("withheld", lambda: Mad(lambda s, t: Decision((Defer(t, s.time_s + 1e30),)))),
    "waits": ("withheld", lambda: Mad(lambda s, t: Decision((Wait(t),)))),
    "idle": ("withheld", lambda: Mad(lambda s, t: NOTHING)),
    "ends-others": (
        "withheld",
        lambda: Mad(lambda s, t: Decision((Preempt(int(s.running[0]) if len(s.running) else 0),))),
    ),
}  # fmt: skip
"""Name -> (the reason its guard gives, how to make it)."""
