"""Who leads (rule 7): one row, renewed by its holder, taken over by who saw it stand still."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from cerebrum.services.controller._prepared import Prepared
from cerebrum.services.errors import LeadershipLost, Refused, StoreUnavailable
from cerebrum.services.ports import Clock, Store
from cerebrum.services.store import schema as db

_ROW = select(db.leader.c.holder, db.leader.c.url, db.leader.c.counter, db.leader.c.epoch)

_EPOCH = Prepared(select(db.leader.c.epoch).with_for_update(read=True))


@dataclass(frozen=True, slots=True)
class Seen:
    """The leader's row at one moment."""

    holder: str
    url: str
    counter: int
    epoch: int


class Leadership:
    """Our side of the row. `is_leader` holds between an election won and the first doubt."""

    def __init__(self, store: Store, clock: Clock, name: str, url: str, ttl_s: float) -> None:
        self._store, self._clock, self._ttl_s = store, clock, ttl_s
        self._name, self._url = name, url
        self._renewed_s = 0.0
        self._lost = ""
        self._leading = False
        self.epoch = 0
        self.leader_url = ""

    @property
    def is_leader(self) -> bool:
        """Whether we may decide: elected, and renewed within 2/3 of the ttl."""
        return self._leading and not self._lost and self._in_time()

    def require(self) -> int:
        """Our epoch. Raises `Refused` (307, 503) on a standby, `LeadershipLost` when it is over."""
        if self._lost:
            raise LeadershipLost(self._lost)
        if not self._leading:
            if self.leader_url and self.leader_url != self._url:
                raise Refused(307, "Not the leader", "ask the leader", leader=self.leader_url)
            raise Refused(503, "No leader yet", "an election is under way", retry_after_s=1.0)
        if not self._in_time():
            self._over(f"no renewal for {2 / 3 * self._ttl_s:g} s")
        return self.epoch

    async def campaign(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Wait until we are elected, `prepare`, then lead."""
        seen, since_s = await self._look(), self._clock.monotonic_s()
        while True:
            now_s = self._clock.monotonic_s()
            due = seen is None or not seen.holder or now_s - since_s >= self._ttl_s
            if due and await self._take(seen):
                await self._prepared(prepare)
                return
            await self._clock.sleep(self._ttl_s / 10)
            found = await self._look(seen)
            if found != seen:
                seen, since_s = found, self._clock.monotonic_s()

    async def renew(self) -> None:
        """Say that we are alive. Raises `LeadershipLost`; a store that does not answer is left to
        the next call, until time is up."""
        asked_s = self._clock.monotonic_s()
        epoch = self.require()

        def work(connection: Connection) -> None:
            check_epoch(connection, epoch)
            connection.execute(update(db.leader).values(counter=db.leader.c.counter + 1))

        try:
            await self._store.write(work)
        except LeadershipLost as error:
            self._over(str(error))
        except StoreUnavailable:
            self.require()
        else:
            # Counted from before we asked: a standby may have seen it no earlier than that.
            self._renewed_s = asked_s
            self.require()

    async def resign(self) -> None:
        """Let a standby take over at once. Nothing more may be written after it."""
        if not self._leading or self._lost:
            return
        epoch, self._lost = self.epoch, "this controller has resigned"

        def work(connection: Connection) -> None:
            check_epoch(connection, epoch)
            connection.execute(
                update(db.leader).values(holder="", url="", counter=db.leader.c.counter + 1)
            )

        try:
            await self._store.write(work)
        except (LeadershipLost, StoreUnavailable):
            return

    def _over(self, reason: str) -> None:
        self._lost = self._lost or reason
        raise LeadershipLost(self._lost)

    def _in_time(self) -> bool:
        return self._clock.monotonic_s() - self._renewed_s < 2 / 3 * self._ttl_s

    async def _look(self, before: Seen | None = None) -> Seen | None:
        """The row now; what it was before when the store does not answer."""

        def work(connection: Connection) -> Seen | None:
            row = connection.execute(_ROW).first()
            return None if row is None else Seen(*row)

        try:
            seen = await self._store.read(work)
        except StoreUnavailable:
            return before
        self.leader_url = seen.url if seen and seen.holder else ""
        return seen

    async def _take(self, seen: Seen | None) -> bool:
        """Try to become the holder of a row that stands as `seen`."""
        asked_s, unix_s = self._clock.monotonic_s(), self._clock.unix_s()
        mine = Seen(self._name, self._url, (seen.counter if seen else 0) + 1, 1)
        if seen is not None:
            mine = Seen(mine.holder, mine.url, mine.counter, seen.epoch + 1)

        def work(connection: Connection) -> bool:
            found = connection.execute(_ROW.with_for_update()).first()
            if (None if found is None else Seen(*found)) != seen:
                return False
            values = {
                "holder": mine.holder,
                "url": mine.url,
                "counter": mine.counter,
                "epoch": mine.epoch,
            }
            if seen is None:
                connection.execute(insert(db.leader).values(id=1, **values))
            else:
                connection.execute(update(db.leader).values(values))
            event = {"unix_s": unix_s, "kind": "elected", "data": json.dumps({"epoch": mine.epoch})}
            connection.execute(insert(db.events).values(event))
            return True

        try:
            taken = await self._store.write(work)
        except (StoreUnavailable, IntegrityError):  # the other one inserted the row first
            return False
        if taken:
            self.epoch, self._renewed_s = mine.epoch, asked_s
        return taken

    async def _prepared(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Nothing is answered before memory is made from the database."""
        while True:
            if not self._in_time():
                self._over("the database did not answer after the election")
            try:
                await prepare()
                break
            except StoreUnavailable:
                await self._clock.sleep(self._ttl_s / 10)
        self._leading, self.leader_url = True, self._url


def check_epoch(connection: Connection, epoch: int) -> None:
    """The first statement of every transaction of a leader. On PostgreSQL the row is locked against
    an election until we have committed."""
    found = _EPOCH.run(connection).scalar()
    if found != epoch:
        raise LeadershipLost(f"our epoch is {epoch}, the database's is {found}")
