"""The protocols: who decides, who makes it happen, who looks ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import Decision
from cerebrum.model.snapshot import Snapshot


@runtime_checkable
class Policy(Protocol):
    """A pure decision: the same snapshot gives the same decision. Higher scores win."""

    name: str

    def decide(self, snapshot: Snapshot) -> Decision:
        """What to do now; called again after each non-empty decision has been applied."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One node in an explanation: refused for `refusals` (bits), or scored.

    `raw`, `normalized` and `weighted` hold one number per scorer of the profile, in its order.
    """

    row: int
    refusals: int = 0
    raw: tuple[float, ...] = ()
    normalized: tuple[float, ...] = ()
    weighted: tuple[float, ...] = ()
    total: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task went where it went: every node's refusals or scores, and the tie rule."""

    task: int
    scorers: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    winner: int
    ties: int
    tie_rule: str
    note: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])


@runtime_checkable
class Explains(Protocol):
    """A policy that can say why: the filter and score table behind a decision."""

    def explain(self, snapshot: Snapshot, task: int) -> Explanation:
        """The table for `task` as if it were decided now."""
        ...


class Executor(Protocol):
    """Makes decisions happen, and moves on to the next point at which there is one to take."""

    def next_snapshot(self) -> Snapshot | None:
        """What there is to decide on next; None when nothing will ever happen again."""
        ...

    def act(self, decision: Decision) -> Snapshot:
        """Carry out; the snapshot afterwards. Raises `InfeasibleDecision`."""
        ...


class Forecaster(Protocol):
    """Looks ahead on one or many series."""

    name: str

    def fit(self, history: NDArray[np.float64]) -> None:
        """Learn from float64[series, time], oldest first, evenly spaced."""
        ...

    def predict(self, horizon: int) -> NDArray[np.float64]:
        """float64[series, horizon], in the units of the history."""
        ...
