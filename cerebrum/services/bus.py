"""The message bus: RabbitMQ, fed from the events table. Never the source of truth.

The events are the outbox and `meta['bus_cursor']` says how far it was carried. The cursor moves
only after the broker confirmed, so each event arrives at least once; `message_id` is its `seq`, by
which a consumer drops what it has seen. While the broker is away nothing waits for it: the events
stay where they are, and are carried later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from sqlalchemy import Connection, Row, insert, select, update

from cerebrum.model.errors import ConfigError, MissingDependency
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.ports import Clock, Store
from cerebrum.services.store.schema import events, meta

if TYPE_CHECKING:
    from aio_pika.abc import AbstractExchange

CURSOR = "bus_cursor"
BATCH = 500
CONFIRM_S = 10.0
CLOSE_S = 2.0
RETRY_S, RETRY_MAX_S = 1.0, 30.0
IDLE_S = 30.0
_SUBJECT = {
    "submitted": "workflow", "planned": "workflow", "workflow_ended": "workflow",
    "registered": "cluster", "cluster_lost": "cluster", "cluster_back": "cluster",
    "drained": "cluster", "elected": "controller", "rollout_changed": "rollout",
}  # fmt: skip
_CURSOR = select(meta.c.value).where(meta.c.key == CURSOR)
_log = structlog.get_logger("cerebrum.bus")


class Leading(Protocol):
    """Who leads."""

    @property
    def is_leader(self) -> bool:
        """Whether we do."""
        ...


class Source(Protocol):
    """What the bus needs of the controller."""

    @property
    def leader(self) -> Leading:
        """Whether this replica leads; only its bus publishes."""
        ...

    async def wait_events(self, after_seq: int, timeout_s: float) -> bool:
        """Wait until there may be events after `after_seq`."""
        ...


@dataclass
class Bus:
    """`run` carries events to a topic exchange until it is cancelled.

    Routing keys are `workflow.submitted`, `task.assigned`, `task.running`, `task.succeeded`,
    `workflow.ended`, `cluster.lost` and so on: subject, dot, kind. `published` counts confirmed
    messages, `connected` says whether the broker is there; both are for metrics.
    """

    store: Store
    source: Source
    clock: Clock
    url: str
    exchange: str = "cerebrum"
    published: int = 0
    connected: bool = False

    async def run(self) -> None:
        """Carry, and connect again after each failure, ever more slowly."""
        wait_s = RETRY_S
        while True:
            before = self.published
            try:
                await self._session()
            except (OSError, TimeoutError, StoreUnavailable, *_broker_errors()) as error:
                # Cancelled while it connects, the client library says that connecting failed.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError from error
                _log.warning("bus_interrupted", error=f"{type(error).__name__}: {error}")
            finally:
                self.connected = False
            wait_s = RETRY_S if self.published > before else min(2 * wait_s, RETRY_MAX_S)
            await self.clock.sleep(wait_s)

    async def _session(self) -> None:
        """One connection, until it breaks."""
        pika = _pika()
        connection = await pika.connect(self.url, timeout=CONFIRM_S)
        try:
            async with asyncio.timeout(CONFIRM_S):
                channel = await connection.channel(publisher_confirms=True)
                exchange = await channel.declare_exchange(
                    self.exchange, pika.ExchangeType.TOPIC, durable=True
                )
            self.connected = True
            _log.info("bus_connected", exchange=self.exchange)
            cursor = await self.store.read(read_cursor)
            while True:
                cursor = await self._carry(exchange, cursor)
        finally:
            # A broker that died does not answer a farewell either.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await connection.close()

    async def _carry(self, exchange: AbstractExchange, cursor: int) -> int:
        """One batch, or a wait for one; where to go on."""
        if not self.source.leader.is_leader:
            await self.clock.sleep(RETRY_S)
            return await self.store.read(read_cursor)
        rows = await self.store.read(lambda connection: _after(connection, cursor))
        if not rows:
            await self.source.wait_events(cursor, IDLE_S)
            return cursor
        async with asyncio.timeout(CONFIRM_S):
            # Each returns when the broker has confirmed it: one failure, and the cursor stays.
            await asyncio.gather(*(self._publish(exchange, row) for row in rows))
        upto = int(rows[-1].seq)
        await self.store.write(lambda connection: write_cursor(connection, upto))
        self.published += len(rows)
        return upto

    async def _publish(self, exchange: AbstractExchange, row: Row[Any]) -> None:
        pika = _pika()
        message = pika.Message(
            _body(row), message_id=str(row.seq), timestamp=row.unix_s, type=row.kind,
            content_type="application/json", delivery_mode=pika.DeliveryMode.PERSISTENT,
            app_id="cerebrum",
        )  # fmt: skip
        await exchange.publish(message, routing_key(row.kind), mandatory=False)


def routing_key(kind: str) -> str:
    """`workflow_ended` -> `workflow.ended`, `succeeded` -> `task.succeeded`."""
    subject = _SUBJECT.get(kind, "task")
    return f"{subject}.{kind.removeprefix(subject + '_')}"


def read_cursor(connection: Connection) -> int:
    """The last event that the broker has."""
    value = connection.execute(_CURSOR).scalar_one_or_none()
    return 0 if value is None else int(value)


def write_cursor(connection: Connection, seq: int) -> None:
    """It never goes back: a replica that was slow to notice it lost may still write one."""
    known = connection.execute(_CURSOR).scalar_one_or_none()
    if known is None:
        connection.execute(insert(meta).values(key=CURSOR, value=str(seq)))
    elif int(known) < seq:
        connection.execute(update(meta).where(meta.c.key == CURSOR).values(value=str(seq)))


def check(url: str) -> None:
    """Raises `ConfigError` or `MissingDependency` before anything is started."""
    _pika()
    if not url.startswith(("amqp://", "amqps://")):
        raise ConfigError("expected an address such as amqp://user:secret@host:5672/").at(
            field="amqp_url"
        )


def _after(connection: Connection, cursor: int) -> Sequence[Row[Any]]:
    query = select(events).where(events.c.seq > cursor).order_by(events.c.seq).limit(BATCH)
    return connection.execute(query).all()


def _body(row: Row[Any]) -> bytes:
    message = {
        "seq": row.seq, "unix_s": row.unix_s, "kind": row.kind, "workflow": row.workflow_id,
        "task": row.task, "cluster": row.cluster, "data": json.loads(row.data),
    }  # fmt: skip
    return json.dumps(message, separators=(",", ":")).encode()


def _pika() -> Any:
    try:
        import aio_pika
    except ImportError:
        raise MissingDependency("the message bus", "rabbitmq") from None
    return aio_pika


def _broker_errors() -> tuple[type[Exception], ...]:
    """What a connection that breaks raises, depending on where it breaks: a channel that is found
    closed between two messages is a `RuntimeError`."""
    return (asyncio.InvalidStateError, *_pika().exceptions.CONNECTION_EXCEPTIONS)
