"""JSON of lists and watch events -> typed objects. One that is unreadable spoils no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, cast

import msgspec

from cerebrum.executors.kubernetes.client import (
    UNDECODABLE,
    ListMeta,
    RawList,
    Unreachable,
    api_error,
)
from cerebrum.executors.kubernetes.metadata import Metadata, T
from cerebrum.model.garbage import paused_gc


class Undecodable(Unreachable):
    """The server's answer is not what it should be."""


class _Page(msgspec.Struct, Generic[T]):
    metadata: ListMeta
    items: list[T] | None = None


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Identity(msgspec.Struct, gc=False):
    """Read where the whole is not needed, or cannot be read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""


class _Identified(msgspec.Struct):
    metadata: _Identity


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that is there but cannot be decoded. `key` is empty if that is unknown."""

    key: str
    uid: str
    version: str
    problem: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next` is empty on the last."""

    version: str
    next: str
    items: list[T]
    unreadable: list[Unreadable]


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One line of a watch. `item` is None in a bookmark, in a deletion, and if `unreadable`."""

    type: str
    key: str
    version: str
    item: T | None = None
    unreadable: Unreadable | None = None


class Reader(Generic[T]):
    """Decodes objects of one Struct; `settle` is done to each before anybody else has it."""

    def __init__(self, struct: type[T], settle: Callable[[T], None] | None = None) -> None:
        self._settle = settle
        whole = cast("Any", _Page)[struct]
        self._page = cast("msgspec.json.Decoder[_Page[T]]", msgspec.json.Decoder(whole))
        self._one = msgspec.json.Decoder(struct)
        self._raw_page = msgspec.json.Decoder(RawList)
        self._event = msgspec.json.Decoder(_RawEvent)
        self._identified = msgspec.json.Decoder(_Identified)

    def page(self, body: bytes) -> Page[T]:
        """In one call; object by object where that fails. Raises `Undecodable` if it is no list."""
        try:
            with paused_gc():
                page = self._page.decode(body)
            items = page.items or []
            if self._settle is not None:
                for item in items:
                    self._settle(item)
            return _page(page.metadata, items, [])
        except UNDECODABLE:
            pass
        try:
            raw = self._raw_page.decode(body)
        except UNDECODABLE as problem:
            raise Undecodable(f"not a list: {problem}") from None
        found = [self._try(item) for item in raw.items or []]
        bad = [item for item in found if isinstance(item, Unreadable)]
        return _page(
            raw.metadata, [item for item in found if not isinstance(item, Unreadable)], bad
        )

    def event(self, line: bytes) -> Event[T]:
        """Raises `ApiError` for an ERROR event, `Undecodable` for what is no event."""
        try:
            event = self._event.decode(line)
            match event.type:
                case "ADDED" | "MODIFIED":
                    return self._put(event)
                case "DELETED" | "BOOKMARK":
                    # What a deleted object was last is of no use: only who it was.
                    who = self._identified.decode(event.object).metadata
                    return Event(event.type, key_of(who), who.resourceVersion)
                case "ERROR":
                    raise api_error(bytes(event.object))
                case other:
                    raise Undecodable(f"an event of the unknown type {other[:40]!r}")
        except UNDECODABLE as problem:
            raise Undecodable(f"an event cannot be decoded: {problem}") from None

    def _put(self, event: _RawEvent) -> Event[T]:
        found = self._try(event.object)
        if isinstance(found, Unreadable):
            return Event(event.type, found.key, found.version, None, found)
        return Event(event.type, found.metadata.key, found.metadata.resourceVersion, found)

    def _try(self, raw: msgspec.Raw) -> T | Unreadable:
        try:
            found = self._one.decode(raw)
            if self._settle is not None:
                self._settle(found)
            return found
        except UNDECODABLE as problem:
            try:
                who = self._identified.decode(raw).metadata
            except UNDECODABLE:
                who = _Identity()
            return Unreadable(key_of(who), who.uid, who.resourceVersion, str(problem))


def key_of(who: Metadata | _Identity) -> str:
    """`namespace/name`, or `name`."""
    return f"{who.namespace}/{who.name}" if who.namespace else who.name


def _page(meta: ListMeta, items: list[T], unreadable: list[Unreadable]) -> Page[T]:
    return Page(meta.resourceVersion, meta.continue_ or "", items, unreadable)
