"""What controller and agent need of the outside: a clock, a store, a peer.

Production gives them the machine's clock, a database and HTTP; the fault tests give the same code a
virtual clock, a database that can crash at any await, and a network that drops, delays, repeats and
reorders (`tests/faults`). Nothing else in `services/controller` and `services/agent` touches time,
files, sockets, threads or global randomness. To wait is `clock.sleep` or an asyncio primitive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from cerebrum.services import wire

T = TypeVar("T")

Compute = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Where a long computation is done: `at_once`, or in production `computing.Computing`."""


async def at_once(work: Callable[[], Any]) -> Any:
    """Compute here and now, in the event loop."""
    return work()


class Clock(Protocol):
    """Two clocks: one for people, which may jump, and one for deadlines, which may not."""

    def unix_s(self) -> float:
        """Seconds since 1970, for people and logs. Never used to decide anything."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow and go on across process restarts on one machine."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the monotonic clock."""
        ...


class Store(Protocol):
    """A database. `work` gets a SQLAlchemy connection inside a transaction and must not await."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` and commit; durable when this returns. Raises what `work` raises, rolled back.

        Raises `StoreUnavailable` when the outcome is a failure to store (disk full, server gone);
        the transaction may then have been committed or not, and the caller has to find out.
        """
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on what is committed."""
        ...


class ControllerPeer(Protocol):
    """The controller as its agents see it. `Controller` itself has these methods; so has the HTTP
    client. Raises `Unreachable` when there is no answer (it may have been carried out all the same)
    and `Refused` when the controller says no."""

    async def register(self, message: wire.Register) -> wire.Registered:
        """Make oneself known, again after each restart of either side."""
        ...

    async def poll(self, message: wire.Poll) -> wire.Offers:
        """Status in, work out; waits up to `message.wait_s` for something to say."""
        ...

    async def ack(self, message: wire.Ack) -> wire.Acked:
        """Say which offers are stored; only those confirmed may start."""
        ...

    async def report(self, message: wire.Report) -> wire.Reported:
        """What became of tasks, in order, each until it is confirmed."""
        ...

    async def sync(self, message: wire.Sync) -> wire.Synced:
        """Compare everything held with what the controller believes."""
        ...
