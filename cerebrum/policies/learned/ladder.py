"""Where a candidate stands: its mode, what it did so far, and when it loses a rung.

The state is plain data that outlives processes: `record` and `Standing.of_record` are what a
service stores. Nothing here decides about tasks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.policies.learned.guards import REASONS, Reason, Trip

Mode = Literal["off", "shadow", "advise", "canary", "on"]
MODES: tuple[Mode, ...] = get_args(Mode)
UP: dict[Mode, Mode] = {
    "off": "shadow", "shadow": "canary", "advise": "canary", "canary": "on", "on": "on",
}  # fmt: skip
"""Mode -> the next one; `advise` is only entered by name."""
DOWN: dict[Mode, Mode] = {
    "on": "canary", "canary": "shadow", "advise": "shadow", "shadow": "off", "off": "off",
}  # fmt: skip
DECIDING: tuple[Mode, ...] = ("canary", "on")
"""Modes in which tasks go where the candidate says."""
COSTLY: tuple[Reason, ...] = ("raised", "deadline")
"""Reasons that cost something even where the candidate decides nothing."""
SHARE = 0.1
_KEPT = 50


@dataclass(frozen=True, slots=True)
class Target:
    """A mode to be in; `share` of the keys for canary."""

    mode: Mode
    share: float = SHARE

    def __str__(self) -> str:
        return f"{self.mode}:{self.share:g}" if self.mode == "canary" else self.mode


def parse_target(text: str) -> Target:
    """`off`, `shadow`, `advise`, `canary`, `canary:0.1` or `on`. Raises `ConfigError`."""
    name, colon, rest = text.strip().partition(":")
    if name not in MODES:
        raise UnknownName("rollout mode", name, MODES).at(field="rollout")
    mode: Mode = name
    if not colon:
        return Target(mode)
    try:
        share = float(rest)
    except ValueError:
        share = math.nan
    if mode != "canary" or not 0 < share <= 1:
        raise ConfigError(f"expected canary:SHARE with 0 < SHARE <= 1, got {text!r}").at(
            field="rollout"
        )
    return Target(mode, share)


@dataclass(frozen=True, slots=True)
class Ladder:
    """When a candidate falls: `trips` within its last `window` answers, one rung of `down`.

    Falling from `on` it keeps `share` of the keys, or fewer if it had fewer before.
    """

    trips: int = 5
    window: int = 100
    share: float = SHARE
    down: Mapping[Mode, Mode] = field(default_factory=lambda: DOWN)

    def __post_init__(self) -> None:
        if not 1 <= self.trips <= self.window:
            raise ConfigError(f"expected 1 <= trips <= window, got {self.trips}, {self.window}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"expected 0 < share <= 1, got {self.share}").at(field="share")


@dataclass(frozen=True, slots=True)
class Change:
    """The mode changed: `by` guard or operator, `unix_s` when, `reason` for people."""

    unix_s: float
    was: str
    now: str
    by: str
    reason: str


@dataclass(eq=False)
class Standing:
    """One candidate's mode and counters, shared by all that ask it.

    `answers` of the candidate; `agreed`, `differed` those that were and were not the baseline's
    choice for the same task; `elsewhere` those about other tasks; `trips` by reason; `decided` by
    side; `explored` choices made at random; `regret` summed over `measured` differing choices.
    `version` goes up with the mode, `seen` with anything.
    """

    mode: Mode = "off"
    share: float = SHARE
    answers: int = 0
    agreed: int = 0
    differed: int = 0
    elsewhere: int = 0
    explored: int = 0
    regret: float = 0.0
    measured: int = 0
    decided: dict[str, int] = field(default_factory=dict[str, int])
    trips: dict[str, int] = field(default_factory=dict[str, int])
    last_trip: str = ""
    recent: list[int] = field(default_factory=list[int])
    history: list[Change] = field(default_factory=list[Change])
    version: int = 0
    seen: int = 0

    @property
    def target(self) -> Target:
        """Mode and share."""
        return Target(self.mode, self.share)

    def move(self, target: Target, by: str, reason: str, unix_s: float = 0.0) -> Change | None:
        """Be in another mode from now on; None when it is that one already."""
        was = str(self.target)
        if str(target) == was:
            return None
        self.mode = target.mode
        if target.mode == "canary":
            self.share = target.share
        self.recent.clear()
        self.version += 1
        self.seen += 1
        change = Change(unix_s, was, str(self.target), by, reason[:500])
        self.history = [*self.history, change][-_KEPT:]
        return change

    def above(self) -> Target:
        """The next rung up."""
        return Target(UP[self.mode], self.share if self.mode == "advise" else SHARE)

    def below(self, ladder: Ladder) -> Target:
        """The next rung down."""
        share = ladder.share if self.mode == "on" else self.share
        return Target(ladder.down[self.mode], min(share, self.share) or ladder.share)

    def answered(self) -> None:
        """The candidate was asked once more."""
        self.answers += 1
        self.seen += 1

    def trip(self, trip: Trip, ladder: Ladder, unix_s: float = 0.0) -> Change | None:
        """Count it; the demotion it leads to, if any."""
        self.trips[trip.reason] = self.trips.get(trip.reason, 0) + 1
        self.last_trip = f"{trip.reason}: {trip.detail}"[:500]
        self.seen += 1
        if self.mode not in DECIDING and trip.reason not in COSTLY:
            return None
        self.recent = [at for at in self.recent if at > self.answers - ladder.window]
        self.recent.append(self.answers)
        if not trip.grave and len(self.recent) < ladder.trips:
            return None
        many = "" if trip.grave else f"{len(self.recent)} trips in {ladder.window} answers, last "
        return self.move(self.below(ladder), "guard", f"{many}{self.last_trip}", unix_s)

    def take_over(self, other: Standing) -> None:
        """Be what another one is; those who share this one see it at once."""
        for one in fields(other):
            setattr(self, one.name, getattr(other, one.name))

    def record(self) -> dict[str, Any]:
        """JSON of everything."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Standing:
        """The inverse of `record`. Raises `ConfigError` for what is none."""
        known = {one.name for one in fields(cls)}
        try:
            given = {key: value for key, value in record.items() if key in known}
            given["history"] = [Change(**one) for one in given.get("history", [])]
            found = cls(**given)
        except (TypeError, AttributeError) as problem:
            raise ConfigError(f"a stored rollout cannot be read: {problem}") from problem
        if found.mode not in MODES or not 0 < found.share <= 1:
            raise ConfigError(f"a stored rollout has mode {found.mode!r}, share {found.share}")
        return found

    def reported(self) -> dict[str, Any]:
        """For people and HTTP: as `record`, every reason named, without bookkeeping."""
        shown = {key: value for key, value in self.record().items() if key not in _INTERNAL}
        shown["trips"] = {reason: self.trips.get(reason, 0) for reason in REASONS}
        shown["regret"] = self.regret / self.measured if self.measured else None
        return shown


_INTERNAL = ("recent", "version", "seen")
Changed = Callable[[Change], None]
"""Hears of every change of mode."""


def unit(*parts: object) -> float:
    """A number in [0, 1) that these parts always give, on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
