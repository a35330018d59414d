"""A live copy of one kind of object: list, then watch, and never believe that nothing was missed.

The rules, each with a test that fails without it (`tests/executors/kubernetes/test_informer.py`):
a list that expires between two pages starts over and loses nothing; a watch goes on from the last
version it saw, also after half a line or silence; where the server no longer has that version, or
its order cannot be trusted, a new list is compared with the old, so that what disappeared meanwhile
is reported as deleted; every change is reported once and in order; while things fail the pauses
grow, and start small again only after the watch really said something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Generic, Protocol

import numpy as np
import structlog

from cerebrum.executors.kubernetes._cache import Cache, Change, ChangeKind, OutOfOrder, after
from cerebrum.executors.kubernetes._decoding import Reader, Undecodable, Unreadable
from cerebrum.executors.kubernetes._rate import BackOff, TokenBucket
from cerebrum.executors.kubernetes.client import ApiError, Unreachable
from cerebrum.executors.kubernetes.metadata import KubernetesObject, Metadata, OwnerReference, T

__all__ = [
    "Change",
    "ChangeKind",
    "Counts",
    "Informer",
    "KubernetesObject",
    "Metadata",
    "OwnerReference",
]

BATCH = 1000
"""Most changes delivered at once."""
IDLE_S = 100.0
"""A watch that says nothing for so long is begun anew. API servers send a bookmark about once a
minute, but none for a kind of which they have seen no change since they started; and a server that
hangs, or a connection that somebody in between forgot, looks the same from here."""
STARTS_PER_S = 0.5
STARTS_AT_ONCE = 4
PAGES_PER_S = 0.5
"""Lists and watches are begun at most this often, and lists not sooner again than their pages
allow (but after `BackOff.longest_s` at most): together at most one request a second, whatever
happens."""
TRIES = 3
"""So many refusals in a row, and the version itself is in doubt."""
_PASSING = (401, 403, 408, 429)
"""Refusals that say nothing about the version: it is kept, and asked for again."""
_DOUBTFUL = (500, 504)
"""May be about the version: 504 is what a version from the future gets."""

_log = structlog.get_logger("cerebrum.kubernetes.informer")


class Source(Protocol):
    """What an informer asks of a `Client`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        limited: bool,
        attempts: int,
    ) -> bytes:
        """See `Client.request`."""
        ...

    def watch_batches(
        self, path: str, *, resource_version: str, timeout_s: float, query: Mapping[str, str] | None
    ) -> AsyncGenerator[tuple[bytes, ...], None]:
        """See `Client.watch_batches`."""
        ...


class Counts:
    """What happened so far: for metrics, and for tests."""

    def __init__(self) -> None:
        self.lists = self.watches = self.expired = self.failures = 0
        self.changes = self.unreadable = 0


class Informer(Generic[T]):
    """Keeps `items` equal to what the API server has under `path`, and tells about every change.

    `on_changes` gets them in batches, in order, after they were made in `items`; an exception from
    it ends `run`. `query` may hold selectors. `watch_s` is how long one watch lasts (80 to 100 % of
    it, so that a crowd does not come back together); `idle_s` after how much silence it is cut.
    `relist_s` lists anew that often although nothing seems wrong (None: never). `clock` is in
    seconds and never jumps back (None: the event loop's). `on_expired` is told why a list is done
    again; `settle` is done to each object before it is kept.
    """

    def __init__(
        self,
        client: Source,
        path: str,
        struct: type[T],
        on_changes: Callable[[Sequence[Change[T]]], None],
        *,
        rng: np.random.Generator,
        query: Mapping[str, str] | None = None,
        page_size: int = 500,
        watch_s: float = 290.0,
        idle_s: float = IDLE_S,
        relist_s: float | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_expired: Callable[[str], None] | None = None,
        settle: Callable[[T], None] | None = None,
    ) -> None:
        self.path = path
        self.synced = asyncio.Event()
        self.counts = Counts()
        self.last_contact_s: float | None = None
        self.last_error = ""
        self._client, self._query = client, dict(query or {})
        self._on_changes, self._on_expired = on_changes, on_expired
        self._page_size, self._watch_s, self._idle_s = page_size, watch_s, idle_s
        self._relist_s, self._rng = relist_s, rng
        self._clock = clock or _loop_time
        self._sleep = sleep
        self._reader, self._cache = Reader(struct, settle), Cache[T]()
        self._back_off = BackOff(rng)
        self._starts: TokenBucket | None = None
        self._must_list, self._listed_at, self._refusals, self._went_back = "start", 0.0, 0, 0
        self._listing_s, self._pages = 0.0, 0
        self._complained: set[str] = set()

    @property
    def items(self) -> dict[str, T]:
        """What we believe there is, by key: `namespace/name`, or `name`. Not to be changed."""
        return self._cache.items

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Keys of objects whose present version cannot be decoded, with that version. `items` has
        the last one that could be, if any."""
        return self._cache.unreadable

    @property
    def resource_version(self) -> str:
        """All that happened up to here is in `items`; empty before the first list."""
        return self._cache.version

    @property
    def stale_s(self) -> float:
        """Seconds since the server last said anything about the objects; inf before the first."""
        return float("inf") if self.last_contact_s is None else self._clock() - self.last_contact_s

    async def run(self) -> None:
        """List and watch until cancelled. Nothing that the server does ends it."""
        self._starts = TokenBucket(STARTS_PER_S, STARTS_AT_ONCE, self._clock)
        while True:
            try:
                if self._must_list or self._is_due():
                    await self._list()
                await self._watch()
            except (ApiError, Unreachable) as problem:
                self._note(problem)
                wait_s = problem.retry_after_s if isinstance(problem, ApiError) else None
                await self._sleep(self._back_off.next_s(wait_s))

    # --- list ---

    async def _list(self) -> None:
        # A long list counts as many requests: it is not done again at once.
        await self._wait(self._listing_s + min(self._pages / PAGES_PER_S, self._back_off.longest_s))
        await self._turn()
        self.counts.lists += 1
        self._listing_s, self._pages = self._clock(), 0
        found: dict[str, T] = {}
        unreadable: dict[str, Unreadable] = {}
        asks, version = {**self._query, "limit": str(self._page_size)}, ""
        while True:
            self._pages += 1
            # At our own pace, as the watch: a queue of writes must not make us blind.
            body = await self._client.request(
                "GET", self.path, query=asks, limited=False, attempts=1
            )
            page = self._reader.page(body)
            self.last_contact_s = self._clock()
            version = version or page.version
            for item in page.items:
                key = item.metadata.key
                # An object we have already is kept, not held twice.
                found[key] = self.items[key] if self._cache.same(key, item) else item
            for problem in page.unreadable:
                self._complain(problem)
                if problem.key:
                    unreadable[problem.key] = problem
            if not page.next:
                break
            if page.next == asks.get("continue"):
                raise Unreachable("the list does not go on: the same page is offered again")
            asks["continue"] = page.next
        self._check_time(version)
        await self._become(found, unreadable, version)

    def _is_due(self) -> bool:
        """Time to list although nothing seems wrong?"""
        return self._relist_s is not None and self._clock() - self._listed_at >= self._relist_s

    async def _become(
        self, found: Mapping[str, T], unreadable: Mapping[str, Unreadable], version: str
    ) -> None:
        changes = self._cache.replace(found, unreadable, version)
        while batch := list(islice(changes, BATCH)):
            self._deliver(batch)
            await asyncio.sleep(0)
        self._must_list, self._listed_at, self._refusals = "", self._clock(), 0
        self.synced.set()

    def _check_time(self, version: str) -> None:
        """A list from before what we know is not believed, until the server insists: then its store
        was restored from a copy."""
        if self._cache.version and after(self._cache.version, version) and version.isdecimal():
            self._went_back += 1
            if self._went_back < TRIES:
                raise Unreachable(f"a list of version {version}, after {self._cache.version}")
            _log.warning("store_went_back", path=self.path, version=version)
        self._went_back = 0

    # --- watch ---

    async def _watch(self) -> None:
        await self._turn()
        self.counts.watches += 1
        began_s, version = self._clock(), self._cache.version
        try:
            await self._follow()
        finally:
            lasted_s = self._clock() - began_s
            moved = self._cache.version != version
            if moved or lasted_s >= self._back_off.longest_s:
                self._back_off.reset()
                self._refusals = 0
        if not moved and lasted_s < min(self._back_off.longest_s, self._watch_s / 2):
            raise Unreachable(f"the watch ended after {lasted_s:.1f} s and said nothing")

    async def _follow(self) -> None:
        batches = self._client.watch_batches(
            self.path,
            resource_version=self._cache.version,
            timeout_s=self._watch_s * float(self._rng.uniform(0.8, 1.0)),
            query=self._query,
        )
        answered = False
        async with aclosing(batches):
            while True:
                try:
                    async with asyncio.timeout(self._idle_s):
                        lines = await anext(batches, None)
                except TimeoutError:
                    if answered:
                        return  # of a kind that never changes nothing is heard; ask again
                    raise Unreachable(f"no answer to a watch in {self._idle_s:g} s") from None
                if lines is None:
                    return
                answered = True
                self.last_contact_s = self._clock()
                self._take(lines)

    def _take(self, lines: Sequence[bytes]) -> None:
        """Deliver what a burst of lines changes, also where one of them turns out bad."""
        batch: list[Change[T]] = []
        try:
            for line in lines:
                batch.extend(self._observe(line))
                if len(batch) >= BATCH:
                    full, batch = batch, []
                    self._deliver(full)
        finally:
            if batch:
                self._deliver(batch)

    def _observe(self, line: bytes) -> Iterator[Change[T]]:
        event = self._reader.event(line)
        self.last_contact_s = self._clock()
        if event.unreadable is not None:
            self._complain(event.unreadable)
        if not event.version or (not event.key and event.type != "BOOKMARK"):
            if event.unreadable is None:
                raise Undecodable(f"an event of type {event.type} without name or version")
            return
        try:
            yield from self._cache.observe(event)
        except OutOfOrder as problem:
            self._expire("order")
            raise Unreachable(f"out of order: {problem}") from None

    # --- both ---

    def _deliver(self, batch: Sequence[Change[T]]) -> None:
        self.counts.changes += len(batch)
        self._on_changes(batch)

    async def _turn(self) -> None:
        assert self._starts is not None
        await self._wait(self._clock() + self._starts.reserve())

    async def _wait(self, until_s: float) -> None:
        if (wait_s := until_s - self._clock()) > 0:
            await self._sleep(wait_s)

    def _note(self, problem: ApiError | Unreachable) -> None:
        """Remember a failure; log it when it is news; decide whether the version is still good."""
        self.counts.failures += 1
        if isinstance(problem, ApiError):
            self._refusals += problem.status in _DOUBTFUL
            if 400 <= problem.status < 500 and problem.status not in _PASSING:
                self._expire(problem.reason)
        elif isinstance(problem, Undecodable):
            self._refusals += 1
        if self._refusals >= TRIES:
            self._expire("refused")
        text = str(problem)
        if text != self.last_error:
            _log.warning("informer_failed", path=self.path, problem=text)
        self.last_error = text

    def _expire(self, reason: str) -> None:
        if not self._must_list:
            self.counts.expired += 1
            self._must_list = reason
            if self._on_expired is not None:
                self._on_expired(reason)

    def _complain(self, problem: Unreadable) -> None:
        self.counts.unreadable += 1
        if problem.key not in self._complained and len(self._complained) < 1000:
            self._complained.add(problem.key)
            _log.warning("object_unreadable", path=self.path, key=problem.key or "unknown",
                         problem=problem.problem)  # fmt: skip


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
