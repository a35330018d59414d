"""Guards: what a candidate's answer must be before it may count.

Each guard is one function with one name. It is given what was asked and answered, and trips or
says nothing; where one trips, the baseline decides. `REASONS` is the whole list, and the label of
the counters. Nothing here reads a clock: how long an answer took is measured by who asks.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import Action, Bind, Decision, Defer, Preempt, Reject, Wait
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Policy, Scores
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned.drift import WINDOW, Drift, Usual
from cerebrum.policies.learned.feasibility import misfit
from cerebrum.policies.learned.sides import single, starts

T = TypeVar("T")
Reason = Literal[
    "raised", "malformed", "deadline", "not-a-number", "out-of-mask", "infeasible", "withheld",
    "out-of-distribution", "drift",
]  # fmt: skip
REASONS: dict[Reason, str] = {
    "raised": "the candidate raised an error, or its process ended",
    "malformed": "the answer is no decision: another type, or values that are no whole numbers",
    "deadline": "the answer took longer than it may",
    "not-a-number": "a score, a time or a feature is NaN or infinite",
    "out-of-mask": "a node that does not exist or may not take the task",
    "infeasible": "the engine would refuse it, or nothing would come of it",
    "withheld": "it starts nothing where the baseline starts a task, or ends or rejects one",
    "out-of-distribution": "features outside of what was seen in training",
    "drift": "over a window the features are distributed as they never were in training",
}
"""Reason -> what tripped."""


@runtime_checkable
class Features(Protocol):
    """A candidate that can show what it looked at. `statistics` describe its training data, `usual`
    what it chose there (None: drift is not looked for)."""

    statistics: Seen
    usual: Usual | None

    def features_of(self, snapshot: Snapshot, task: int, row: int) -> NDArray[np.floating]:
        """float[F]: the scaled features of binding `task` to node `row`, as the network sees
        them."""
        ...


class Seen(Protocol):
    """What of `learned.statistics.Statistics` the guards use."""

    def __len__(self) -> int:
        """How many features there are."""
        ...

    def outside(self, observations: NDArray[np.floating], margin: float = 0.1) -> NDArray[np.bool_]:
        """bool[..., F]: NaN, or beyond what was seen by more than `margin` of its range."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a candidate may go.

    `deadline_s` for one decision; it is cut off after ten times that, the first one on an engine,
    which also compiles, after `first_s` (where somebody cuts off at all). `patience_s` how long a
    task that the baseline would start may have waited when the candidate leaves it while others
    run, whose ends ask it again (0: not at all; a queue policy that reserves needs more); `defer_s`
    the longest deferral; `margin` beyond the training range, in parts of it, and `strangers` the
    part of the features that may lie there; `drift` by how much the population stability index of a
    feature over `window` decisions may exceed what it was at most in training (0.25 is the usual
    mark of a shift; training was measured over windows of 500, and shorter ones wander further by
    chance).
    """

    deadline_s: float = 0.1
    first_s: float = 60.0
    patience_s: float = 0.0
    defer_s: float = 600.0
    margin: float = 0.1
    strangers: float = 0.0
    drift: float = 0.25
    window: int = WINDOW

    def __post_init__(self) -> None:
        for name in ("deadline_s", "first_s", "defer_s", "drift"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "above 0")
        for name in ("patience_s", "margin"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "of at least 0")
        _require("strangers", self.strangers, 0 <= self.strangers < 1, "in [0, 1)")
        _require("window", self.window, self.window >= 20, "of at least 20")


def _require(name: str, value: float, holds: bool, expected: str) -> None:
    if not (math.isfinite(value) and holds):
        raise ConfigError(f"expected a number {expected}, got {value}").at(field=name)


class CutOff(BaseException):
    """Whoever watches the time ended the candidate's turn. No `Exception`: a candidate that catches
    all of its own errors does not catch this one."""


class Within(Protocol):
    """Makes a call that may take so many seconds."""

    def __call__(self, seconds: float, call: Callable[[], T]) -> T:
        """Its result. May raise `CutOff`."""
        ...


def patiently(seconds: float, call: Callable[[], T]) -> T:
    """The result, however long it takes."""
    del seconds
    return call()


@dataclass(frozen=True, slots=True)
class Trip:
    """A guard tripped. `grave`: once is enough to demote."""

    reason: Reason
    detail: str
    grave: bool = False


@dataclass(eq=False)
class Answer:
    """What a candidate was asked and said. `baseline` decides the same snapshot when called;
    `took_s` None: not measured (the first answer on an engine also compiles)."""

    snapshot: Snapshot
    candidate: Policy
    given: object
    took_s: float | None
    limits: Limits
    baseline: Callable[[], Decision]
    drift: Drift | None = None

    @cached_property
    def decision(self) -> Decision:
        """The answer with plain values. Raises `TypeError` or `ValueError` where it has none."""
        return clean(self.given)

    @property
    def single(self) -> Bind | None:
        """The only bind, if that is all that was decided."""
        return single(self.decision)

    @cached_property
    def features(self) -> NDArray[np.floating] | None:
        """What the candidate saw of the node it chose; None where it shows nothing."""
        bind = self.single
        if bind is None or not isinstance(self.candidate, Features):
            return None
        found = np.asarray(self.candidate.features_of(self.snapshot, bind.task, bind.row))
        width = len(self.candidate.statistics)
        if found.shape != (width,) or found.dtype.kind not in "fiu":
            raise TypeError(f"expected {width} features, got {found.dtype} {found.shape}")
        return found


# -- one guard each --------------------------------------------------------------------------


def malformed(answer: Answer) -> Trip | None:
    """It is a decision of whole numbers."""
    try:
        _ = answer.decision
    except ValueError as problem:
        return Trip("not-a-number", str(problem))
    except (TypeError, AttributeError, OverflowError) as problem:
        return Trip("malformed", str(problem))
    return None


def late(took_s: float | None, limits: Limits) -> Trip | None:
    """It came in time. Ten times too late is grave: the next one may not come at all."""
    budget_s = limits.deadline_s
    if took_s is None or took_s <= budget_s:
        return None
    text = f"{took_s * 1000:.1f} ms, {budget_s * 1000:.1f} ms are allowed"
    return Trip("deadline", text, grave=took_s > 10 * budget_s)


def in_time(answer: Answer) -> Trip | None:
    """See `late`."""
    return late(answer.took_s, answer.limits)


def impossible(answer: Answer) -> Trip | None:
    """The engine would carry it out (see `feasibility`)."""
    found = misfit(answer.snapshot, answer.decision)
    return None if found is None else Trip(found.kind, found.problem)


def scored(answer: Answer) -> Trip | None:
    """The scores it chose by are numbers."""
    bind = answer.single
    if bind is None or not isinstance(answer.candidate, Scores):
        return None
    totals = np.asarray(answer.candidate.totals(answer.snapshot, bind.task))
    return unscored(totals, answer.snapshot)


def unscored(totals: NDArray[Any], snapshot: Snapshot) -> Trip | None:
    """There is a number for each node; -inf keeps one out."""
    if totals.shape != (len(snapshot.nodes),) or totals.dtype.kind not in "fiu":
        return Trip("malformed", f"scores of {totals.dtype} {totals.shape}")
    wrong = np.isnan(totals) | (totals == np.inf)
    if not wrong.any():
        return None
    row = int(np.argmax(wrong))
    return Trip("not-a-number", f"node {snapshot.node_names[row]!r} scores {totals[row]}")


def withheld(answer: Answer) -> Trip | None:
    """It ends and rejects nothing by itself, and leaves no task that the baseline would start."""
    snapshot, limits, actions = answer.snapshot, answer.limits, answer.decision.actions
    for action in actions:
        if isinstance(action, Defer) and action.until_s > snapshot.time_s + limits.defer_s:
            return Trip("withheld", f"task {action.task} is deferred by more than allowed")
        if isinstance(action, Preempt | Reject) and action not in answer.baseline().actions:
            return Trip("withheld", f"{type(action).__name__.lower()} of task {action.task}")
    if starts(answer.decision):
        return None
    submitted, runs = snapshot.tasks.submit_s, len(snapshot.running) > 0
    for action in answer.baseline().actions:
        if not isinstance(action, Bind):
            continue
        waited_s = snapshot.time_s - float(submitted[action.task])
        if not (runs and waited_s < limits.patience_s):
            name = snapshot.task_names[action.task]
            return Trip("withheld", f"task {name!r} could start and was left")
    return None


def strange(answer: Answer) -> Trip | None:
    """What it saw lies where training data lay."""
    features = answer.features
    if features is None:
        return None
    if not np.isfinite(features).all():
        return Trip("not-a-number", f"feature {int(np.argmin(np.isfinite(features)))}")
    seen = cast(Features, answer.candidate).statistics
    outside = seen.outside(features, answer.limits.margin)
    if outside.mean() <= answer.limits.strangers:
        return None
    names = _names(answer.candidate, np.flatnonzero(outside))
    return Trip("out-of-distribution", f"{names} outside of the training data")


def drifted(answer: Answer) -> Trip | None:
    """Over the last window, what it saw was no further from training than training was at times.
    Else: grave, since it is no accident."""
    features, drift = answer.features, answer.drift
    if features is None or drift is None:
        return None
    found = drift.add(features)
    if found is None:
        return None
    beyond = found - drift.usual.wander
    worst = int(np.argmax(beyond))
    if beyond[worst] <= answer.limits.drift:
        return None
    names, most = _names(answer.candidate, np.array([worst])), drift.usual.wander[worst]
    text = f"{names}: population stability index {found[worst]:.2f}, in training at most {most:.2f}"
    return Trip("drift", text, grave=True)


FAULTS = (Exception, SystemExit, CutOff)
"""What a candidate may raise that is not for whoever asks."""
GUARDS: tuple[Callable[[Answer], Trip | None], ...] = (
    malformed, in_time, impossible, scored, withheld, strange, drifted,
)  # fmt: skip
"""In the order in which they look; the first that trips is the reason."""


def judge(answer: Answer) -> Trip | None:
    """What trips first. Whatever the candidate raises while it is looked at counts as `raised`."""
    try:
        for guard in GUARDS:
            trip = guard(answer)
            if trip is not None:
                return trip
    except FAULTS as bug:
        return raised(bug)
    return None


def raised(bug: BaseException) -> Trip:
    """The trip of an error. One cut off is grave: the next turn may be as long."""
    if isinstance(bug, CutOff):
        return Trip("deadline", str(bug), grave=True)
    return Trip("raised", f"{type(bug).__name__}: {bug}"[:500])


# -- plain values ----------------------------------------------------------------------------


def clean(given: object) -> Decision:
    """The decision with Python's own numbers. Raises `TypeError`, or `ValueError` for NaN."""
    if not isinstance(given, Decision):
        raise TypeError(f"expected a Decision, got {_shown(given)}")
    actions = cast(object, given.actions)
    if not isinstance(actions, tuple):
        raise TypeError(f"expected a tuple of actions, got {_shown(actions)}")
    return Decision(tuple(_action(one) for one in cast(tuple[Any, ...], actions)))


def _action(one: Any) -> Action:
    match one:
        case Bind(task, row, gpus, ways):
            return Bind(_whole(task), _whole(row), _whole(gpus), _whole(ways))
        case Defer(task, until_s):
            if not math.isfinite(until_s):
                raise ValueError(f"deferred until {until_s}")
            return Defer(_whole(task), float(until_s))
        case Preempt(task):
            return Preempt(_whole(task))
        case Reject(task, reason):
            return Reject(_whole(task), _whole(reason))
        case Wait(task, reason):
            return Wait(_whole(task), _whole(reason))
        case _:
            raise TypeError(f"expected an action, got {_shown(one)}")


def _whole(value: Any) -> int:
    if isinstance(value, float | np.floating) and value - value != 0:
        raise ValueError(f"{value} where a whole number is expected")
    if isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {value}")
    return operator.index(cast(Any, value))


def _shown(value: object) -> str:
    return type(value).__name__


def _names(candidate: object, places: NDArray[np.intp]) -> str:
    """Features by name where the candidate has `feature_names`, else by place."""
    known = getattr(candidate, "feature_names", ())
    shown = [known[i] if i < len(known) else f"feature {i}" for i in places.tolist()[:3]]
    return ", ".join(map(str, shown)) + (", ..." if len(places) > 3 else "")
