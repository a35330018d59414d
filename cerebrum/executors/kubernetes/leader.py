"""Of several replicas one acts: leader election by a Lease, with client-go's rules.

Time is each one's own: a candidate waits until the Lease has not changed for its whole duration by
the candidate's clock, which never jumps, and reads no timestamp anybody wrote. A leader stops in
time by its own clock, whether or not anybody can be reached. Every write names the version it
replaces, so of two that try at once one fails.

Stricter than client-go in one point: a Lease is ours only if it is exactly a record that we wrote.
Two processes with one identity by mistake do not both lead, and one that was killed and is back
waits like everybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import structlog

from cerebrum.executors.kubernetes.client import UNDECODABLE, ApiError, Unreachable
from cerebrum.executors.kubernetes.metadata import Metadata
from cerebrum.executors.kubernetes.times import micro_time
from cerebrum.model.errors import ConfigError

LONGEST_LEASE_S = 3600
"""What a Lease may ask us to wait for at most."""
JITTER = 1.2

_log = structlog.get_logger("cerebrum.kubernetes.leader")


class Requests(Protocol):
    """What the election asks of a `Client`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any | None = None,
        timeout_s: float | None = None,
        limited: bool = True,
        attempts: int = 1,
    ) -> bytes:
        """See `Client.request`."""
        ...


class LeaseSpec(msgspec.Struct, omit_defaults=True):
    """`spec` of a Lease; times are RFC 3339 text with microseconds."""

    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    acquireTime: str | None = None
    renewTime: str | None = None
    leaseTransitions: int | None = None


class Lease(msgspec.Struct):
    """`coordination.k8s.io/v1`."""

    metadata: Metadata
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)
    apiVersion: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


_LEASE = msgspec.json.Decoder(Lease)


@dataclass(slots=True)
class _Seen:
    """A Lease, and when by our clock it was first seen so."""

    lease: Lease
    at_s: float


class LeaderElection:
    """One candidate for the Lease `namespace/name`; `identity` must be unique among them.

    A leader that could not renew for `renew_s` stops; others may follow `lease_s` after its last
    renewal; everybody tries every `retry_s`. Raises `ConfigError` unless lease_s > renew_s >
    1.2 * retry_s > 0. `clock` never jumps back and goes on while the machine sleeps; `unix_s` is
    only written into the Lease for people to read.
    """

    def __init__(
        self,
        client: Requests,
        namespace: str,
        name: str,
        identity: str,
        lease_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
        *,
        rng: np.random.Generator | None = None,
        clock: Callable[[], float] | None = None,
        unix_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not (math.isfinite(lease_s) and LONGEST_LEASE_S >= lease_s > renew_s > JITTER * retry_s):
            raise ConfigError(
                f"expected 3600 >= lease_s > renew_s > {JITTER} * retry_s, "
                f"got {lease_s}, {renew_s}, {retry_s}"
            )
        if not retry_s > 0 or not identity:
            raise ConfigError("expected an identity, and a retry_s above 0")
        self.identity = identity
        self._client, self._namespace, self._name = client, namespace, name
        self._lease_s, self._renew_s, self._retry_s = lease_s, renew_s, retry_s
        self._rng = rng or np.random.default_rng()
        self._clock, self._unix_s, self._sleep = clock or _boot_time, unix_s, sleep
        self._seen: _Seen | None = None
        self._written: deque[str] = deque(maxlen=16)
        self._until_s = -math.inf

    @property
    def is_leader(self) -> bool:
        """May we act now? Ask before every write: it turns false by itself, without any event."""
        return self._clock() < self._until_s

    @property
    def holder(self) -> str:
        """Who leads, as far as we know; empty if nobody does."""
        return "" if self._seen is None else self._seen.lease.spec.holderIdentity or ""

    @property
    def transitions(self) -> int:
        """How often the Lease went from one holder to another."""
        return 0 if self._seen is None else self._seen.lease.spec.leaseTransitions or 0

    async def run(
        self,
        on_started: Callable[[], Awaitable[None]],
        on_stopped: Callable[[], Awaitable[None]],
    ) -> None:
        """Stand for election until cancelled, again after each loss.

        `on_started` runs while we lead: it may return, or go on until it is cancelled at the loss;
        what it raises is raised here. `on_stopped` follows it; only then the Lease is given up.
        """
        while True:
            while not await self._try(self._retry_s):
                await self._sleep(self._retry_s * float(self._rng.uniform(1.0, JITTER)))
            _log.info("leading", lease=self._name, identity=self.identity)
            work = asyncio.ensure_future(_done(on_started))
            try:
                await self._hold(work)
            finally:
                try:
                    await _stopped(work)
                    await on_stopped()
                finally:
                    await self._release()
            if not work.cancelled():
                work.result()
            _log.warning("no_longer_leading", lease=self._name, identity=self.identity)

    async def _hold(self, work: asyncio.Future[None]) -> None:
        """Renew until it is too late, or the work fails."""
        while self.is_leader:
            if work.done():
                work.result()
            await self._sleep(max(0.0, min(self._retry_s, self._until_s - self._clock())))
            left_s = self._until_s - self._clock()
            # Half of what is left: a hung connection leaves time to try once more.
            if left_s > 0 and not await self._try(max(left_s / 2, min(left_s, 0.1))):
                seen = self._seen
                if seen is not None and seen.lease.spec.holderIdentity and not self._ours(seen):
                    self._until_s = -math.inf  # somebody else holds it: do not wait for the clock

    # --- one attempt ---

    async def _try(self, timeout_s: float) -> bool:
        """Take or renew the Lease, by at most one read and one write. False if that failed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._take(timeout_s)
        except TimeoutError:
            return False
        except (ApiError, Unreachable, *UNDECODABLE) as problem:
            if not (isinstance(problem, ApiError) and problem.status == 409):
                _log.warning("lease_failed", lease=self._name, problem=str(problem))
            return False

    async def _take(self, timeout_s: float) -> bool:
        if self.is_leader and self._seen is not None:
            try:
                return await self._write(self._seen, timeout_s)
            except ApiError as problem:
                # A renewal may have happened without our hearing of it.
                if problem.status not in (404, 409):
                    raise
        seen = await self._look(timeout_s)
        if seen is None or self._is_free(seen):
            return await self._write(seen, timeout_s)
        return False

    async def _look(self, timeout_s: float) -> _Seen | None:
        try:
            answer = await self._ask("GET", f"{self._path}/{self._name}", timeout_s)
        except ApiError as problem:
            if problem.status != 404:
                raise
            self._seen = None
            return None
        lease = _LEASE.decode(answer)
        # The version changes with every write, also of one that leaves the record as it was.
        if self._seen is None or _stamp(self._seen.lease) != _stamp(lease):
            self._seen = _Seen(lease, self._clock())
        return self._seen

    def _is_free(self, seen: _Seen) -> bool:
        spec = seen.lease.spec
        if not spec.holderIdentity or self._ours(seen):
            return True
        lasts_s = min(max(float(spec.leaseDurationSeconds or 0), self._lease_s), LONGEST_LEASE_S)
        return self._clock() >= seen.at_s + lasts_s

    def _ours(self, seen: _Seen) -> bool:
        spec = seen.lease.spec
        return spec.holderIdentity == self.identity and spec.renewTime in self._written

    async def _write(self, seen: _Seen | None, timeout_s: float) -> bool:
        began_s, now = self._clock(), micro_time(self._unix_s())
        lease = self._next(seen, now)
        self._written.append(now)
        if seen is None:
            answer = await self._ask("POST", self._path, timeout_s, lease)
        else:
            answer = await self._ask("PUT", f"{self._path}/{self._name}", timeout_s, lease)
        # Counted from before we asked: what others saw of it is never older.
        self._seen = _Seen(_LEASE.decode(answer), began_s)
        self._until_s = began_s + self._renew_s
        return True

    def _next(self, seen: _Seen | None, now: str) -> Lease:
        if seen is None:
            return Lease(
                Metadata(name=self._name, namespace=self._namespace), self._spec(now, now, 0)
            )
        old, same = seen.lease.spec, self._ours(seen)
        acquired = old.acquireTime if same and old.acquireTime else now
        return Lease(
            seen.lease.metadata,  # its resourceVersion guards the update
            self._spec(acquired, now, (old.leaseTransitions or 0) + (not same)),
        )

    def _spec(self, acquired: str, now: str, transitions: int) -> LeaseSpec:
        return LeaseSpec(self.identity, math.ceil(self._lease_s), acquired, now, transitions)

    async def _release(self) -> None:
        """Let the next one start at once. Best effort: without it they wait `lease_s`."""
        held, seen, self._until_s = self.is_leader, self._seen, -math.inf
        if not held or seen is None:
            return
        now = micro_time(self._unix_s())
        free = self._spec(seen.lease.spec.acquireTime or "", now, self.transitions)
        free.holderIdentity, free.leaseDurationSeconds = "", 1
        with contextlib.suppress(ApiError, Unreachable, TimeoutError, *UNDECODABLE):
            async with asyncio.timeout(self._retry_s):
                path = f"{self._path}/{self._name}"
                lease = Lease(seen.lease.metadata, free)
                answer = await self._ask("PUT", path, self._retry_s, lease)
                self._seen = _Seen(_LEASE.decode(answer), self._clock())

    # --- outside ---

    @property
    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    async def _ask(
        self, method: str, path: str, timeout_s: float, lease: Lease | None = None
    ) -> bytes:
        # Not limited: a queue of bindings must not cost us the leadership.
        return await self._client.request(
            method, path, body=lease, timeout_s=timeout_s, limited=False, attempts=1
        )


async def _done(on_started: Callable[[], Awaitable[None]]) -> None:
    await on_started()


async def _stopped(work: asyncio.Future[None]) -> None:
    """Cancel it and wait; what it raised meanwhile is looked at later."""
    work.cancel()
    await asyncio.wait([work])


def _stamp(lease: Lease) -> tuple[str, str]:
    return lease.metadata.uid, lease.metadata.resourceVersion


def _boot_time() -> float:
    """Seconds since boot; unlike the loop's clock it goes on while a Linux machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
