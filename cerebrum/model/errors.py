"""Everything Cerebrum raises on purpose. A docstring is the message's meaning and its remedy.

CerebrumError
|- InputError            something a person wrote is wrong: file, line, field, what was expected
|  |- TraceError         a trace, workflow or cluster file
|  |- ConfigError        a policy profile, a setting, a command-line value
|  `- UnknownName        a name that is not registered; carries the nearest valid ones
|- NotFound              a run, task or node that was asked for does not exist
|- InvalidEvent          an event that the state it is applied to does not allow
|- InfeasibleDecision    a policy decided something that cannot be done
`- MissingDependency     an optional package is needed for what was asked
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self


class CerebrumError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's input a problem is: any part may be unknown."""

    path: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = self.path or ""
        if self.line is not None:
            where += f":{self.line}" if where else f"line {self.line}"
        return ": ".join(part for part in (where, self.field) if part)


class InputError(CerebrumError):
    """What you gave is not valid. The message names the place, what was found and what is expected.

    Printed as one line, `pods.csv:17: gpu_milli: expected 0..1000, got '1200'`; nothing was
    written. Correct the named field and run again.
    """

    exit_code = 2

    def __init__(self, problem: str, place: Place | None = None) -> None:
        self.problem = " ".join(problem.split())
        self.place = place or Place()
        super().__init__(self.problem)

    def __str__(self) -> str:
        where = str(self.place)
        return _printable(f"{where}: {self.problem}" if where else self.problem)

    def at(
        self,
        path: str | Path | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> Self:
        """The same error with the parts of its place filled in that were unknown so far."""
        place = self.place
        self.place = replace(
            place,
            path=place.path if place.path is not None else (None if path is None else str(path)),
            line=place.line if place.line is not None else line,
            field=place.field if place.field is not None else field,
        )
        return self


class TraceError(InputError):
    """A trace, workflow or cluster file cannot be read. No partial result is produced."""


class ConfigError(InputError):
    """A policy profile, setting or command-line value is not valid."""


class UnknownName(InputError):
    """A name is not registered. The message lists the nearest valid names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], place: Place | None = None):
        names = sorted(known)
        near = nearest(name, names)
        hint = f"did you mean {near!r}?" if near else "choose one of " + ", ".join(names[:40])
        super().__init__(f"unknown {kind} {name!r}: {hint}", place)
        self.nearest = near


class NotFound(CerebrumError):
    """What you asked for does not exist (any more). List what there is and ask again."""

    exit_code = 3


class InvalidEvent(CerebrumError):
    """The state does not allow this event: a task that is not running cannot finish.

    In a simulation this is a bug in an executor or policy; in a replay the log is damaged or
    belongs to another scenario.
    """


class InfeasibleDecision(CerebrumError):
    """A policy decided something impossible, such as a node without room. The policy has a bug."""


class MissingDependency(CerebrumError):
    """An optional package is needed. The message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'cerebrum[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name` (ignoring case), or None if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _printable(text: str) -> str:
    """One line whatever a stranger's file held: what does not print is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
