"""What we believe there is, and what follows for it from an event or a new list. No I/O.

resourceVersions of one kind count up through all its objects, and a watch reports them in order. So
one number, `version`, says what is already in: an event at or below it is a repetition, or proof
that the order cannot be trusted, and then only a new list helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic

from cerebrum.executors.kubernetes._decoding import Event, Unreadable
from cerebrum.executors.kubernetes.metadata import T


class ChangeKind(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One step. `old` is what was delivered last under this key, None if it is new; `new` is None
    if it is gone. An object recreated under its name is a DELETED, then an ADDED."""

    kind: ChangeKind
    key: str
    old: T | None
    new: T | None


class OutOfOrder(Exception):
    """An event that should have come earlier: something may be missing."""


class Cache(Generic[T]):
    """Objects by key, `unreadable` ones by key with the version that could not be read."""

    def __init__(self) -> None:
        self.items: dict[str, T] = {}
        self.unreadable: dict[str, str] = {}
        self.version = ""
        self.repeated = 0

    def observe(self, event: Event[T]) -> Iterator[Change[T]]:
        """Take in one event; the changes are already made. Raises `OutOfOrder`."""
        key, version = event.key, event.version
        if event.type == "BOOKMARK":
            self.version = version if after(version, self.version) else self.version
            return
        if not after(version, self.version):
            if not self._is_known(event):
                raise OutOfOrder(f"{key} at version {version}, after {self.version}")
            self.repeated += 1
            return
        self.version = version
        if event.type == "DELETED":
            self.unreadable.pop(key, None)
            yield from self._remove(key)
        elif event.item is not None:
            yield from self._put(key, event.item)
        elif event.unreadable is not None:
            yield from self._keep(event.unreadable)

    def replace(
        self, found: Mapping[str, T], unreadable: Mapping[str, Unreadable], version: str
    ) -> Iterator[Change[T]]:
        """Become a complete list, one change at a time, each made when it is yielded; what is gone
        comes first, since that is what makes room."""
        for key in [key for key in self.items if key not in found and key not in unreadable]:
            yield from self._remove(key)
        self.unreadable.clear()
        for problem in unreadable.values():
            yield from self._keep(problem)
        for key, new in found.items():
            if not self.same(key, new):
                yield from self._put(key, new)
        self.version = version

    def same(self, key: str, new: T) -> bool:
        """Is this what we have?"""
        old = self.items.get(key)
        return old is not None and (
            old is new
            or (
                old.metadata.resourceVersion == new.metadata.resourceVersion
                and old.metadata.uid == new.metadata.uid
            )
        )

    def _is_known(self, event: Event[T]) -> bool:
        old = self.items.get(event.key)
        if old is not None and not after(event.version, old.metadata.resourceVersion):
            return True
        if event.key in self.unreadable:
            return not after(event.version, self.unreadable[event.key])
        return old is None and event.type == "DELETED"

    def _put(self, key: str, new: T) -> Iterator[Change[T]]:
        old = self.items.get(key)
        self.unreadable.pop(key, None)
        if old is not None and old.metadata.uid != new.metadata.uid:
            yield from self._remove(key)
            old = None
        self.items[key] = new
        yield Change(ChangeKind.ADDED if old is None else ChangeKind.MODIFIED, key, old, new)

    def _remove(self, key: str) -> Iterator[Change[T]]:
        old = self.items.pop(key, None)
        if old is not None:
            yield Change(ChangeKind.DELETED, key, old, None)

    def _keep(self, problem: Unreadable) -> Iterator[Change[T]]:
        """The last version that could be read stands for the object, if it is the same one."""
        old = self.items.get(problem.key)
        self.unreadable[problem.key] = problem.version
        if old is not None and problem.uid and old.metadata.uid != problem.uid:
            yield from self._remove(problem.key)


def after(version: str, other: str) -> bool:
    """Is a resourceVersion later than another? Where a server's are not numbers there is no order,
    and a different one counts as later."""
    if version.isdecimal() and other.isdecimal():
        return (len(version), version) > (len(other), other)  # also for a million digits
    return version != other
