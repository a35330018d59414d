"""A controller on a hand-moved clock and a database in memory, and agents that do as they are told.

Nothing here waits in real time: `clock.advance` moves it, and sleepers wake in order.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sqlalchemy import Connection, create_engine, event, select
from sqlalchemy.pool import StaticPool

from cerebrum.services import wire
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.store import schema as db


class HandClock:
    """Stands still until it is moved."""

    def __init__(self, at_s: float = 1000.0) -> None:
        self.now_s = at_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def unix_s(self) -> float:
        return 1.7e9 + self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._count), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, letting everyone whose time has come run."""
        until_s = self.now_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until_s:
            at_s, _, future = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, at_s)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now_s = until_s


async def settle() -> None:
    """Let everything run that can run without time."""
    for _ in range(50):
        await asyncio.sleep(0)


class MemoryStore:
    """One SQLite connection in memory; `broken` makes the next writes fail, stored or not, and who
    makes the next write hears that it is stored when `late` is set."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)

        @event.listens_for(self._engine, "connect")
        def _connected(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys = ON")

        @event.listens_for(self._engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        db.metadata.create_all(self._engine)
        self.broken = ""
        self.late: asyncio.Event | None = None
        self.writes = 0

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        await asyncio.sleep(0)
        self.writes += 1
        if self.broken == "before":
            raise StoreUnavailable("disk full")
        with self._engine.begin() as connection:
            result = work(connection)
        if self.broken == "after":
            raise StoreUnavailable("the connection broke after the commit")
        late, self.late = self.late, None
        await (late.wait() if late else asyncio.sleep(0))
        return result

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        await asyncio.sleep(0)
        with self._engine.begin() as connection:
            return work(connection)

    def close(self) -> None:
        self._engine.dispose()


class Rig:
    """A store and its clock; controllers come and go."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.store = HandClock(), MemoryStore()
        self.settings = ControllerSettings(
            **{"lease_s": 10.0, "margin_s": 2.0, "patience_s": 30.0, "leader_ttl_s": 6.0} | settings
        )
        self._names = itertools.count(1)
        self.controller = self.new_controller()

    def new_controller(self, url: str = "") -> Controller:
        number = next(self._names)
        rng = np.random.default_rng(number)
        return Controller(self.store, self.clock, self.settings, rng, f"c{number}", url)

    async def lead(self, controller: Controller | None = None) -> Controller:
        """The controller leads, its loops do not run."""
        self.controller = controller or self.controller
        task = asyncio.ensure_future(self.controller.lead())
        while not task.done():
            await self.clock.advance(0.5)
        await task
        return self.controller

    async def restart(self) -> Controller:
        """As after kill -9: a new controller on the same database."""
        return await self.lead(self.new_controller())

    async def keep(self) -> None:
        """Renew the leadership, as the loop of a running controller does."""
        await self.controller.leader.renew()

    async def pass_time(self, seconds: float, agents: Iterable[Agent] = ()) -> None:
        """Time goes by; these agents poll, the leader renews and watches its leases."""
        agents = list(agents)
        for _ in range(round(seconds)):
            await self.clock.advance(1.0)
            await self.keep()
            for agent in agents:
                await agent.poll()
            await self.controller.watch_once()

    async def submit(self, spec: wire.WorkflowSpec, **more: Any) -> str:
        asked = {"tenant": "t", "key": None, "body_hash": "h"} | more
        return (await self.controller.submit(spec, **asked)).workflow_id

    async def agent(self, cluster: str, *args: Any, **more: Any) -> Agent:
        """An agent that is registered."""
        agent = Agent(self, cluster, *args, **more)
        await agent.register()
        return agent

    async def planned(self, spec: wire.WorkflowSpec, **more: Any) -> str:
        """Submitted, cut and assigned: its id."""
        workflow = await self.submit(spec, **more)
        await self.plan()
        return workflow

    async def plan(self) -> None:
        while await self.controller.plan_once():
            pass

    def rows(self, query: Any) -> list[Any]:
        with self.store._engine.begin() as connection:
            return list(connection.execute(query).all())

    def states(self, workflow_id: str) -> dict[str, str]:
        table = db.tasks
        query = select(table.c.name, table.c.state).where(table.c.workflow_id == workflow_id)
        return dict(tuple(row) for row in self.rows(query))

    def task(self, workflow_id: str, name: str) -> Any:
        table = db.tasks
        return self.rows(
            select(table).where(table.c.workflow_id == workflow_id, table.c.name == name)
        )[0]

    def workflow(self, workflow_id: str) -> Any:
        return self.rows(select(db.workflows).where(db.workflows.c.id == workflow_id))[0]

    def events(self, *kinds: str) -> list[Any]:
        """(kind, task, cluster, data) in their order."""
        rows = self.rows(select(db.events).order_by(db.events.c.seq))
        return [
            (row.kind, row.task, row.cluster, json.loads(row.data))
            for row in rows
            if not kinds or row.kind in kinds
        ]


class Agent:
    """An agent of one cluster that stores nothing and starts nothing by itself."""

    def __init__(
        self, rig: Rig, cluster: str, cpu_milli: int = 8000, identity: str = "", **node: Any
    ) -> None:
        self.rig, self.cluster = rig, cluster
        self.identity = identity or f"identity-of-{cluster}".ljust(16, "-")
        more = {"memory_mib": 16_000} | node
        self.nodes = [wire.NodeSpec(name=f"{cluster}-n0", cpu_milli=cpu_milli, **more)]
        self.offers: dict[str, wire.Offer] = {}
        self.acks = self.seq = 0
        self.cancel: list[str] = []
        self.answer = wire.Offers(epoch=0)

    def _me(self) -> dict[str, Any]:
        epoch = self.rig.controller.leader.epoch
        return {"cluster": self.cluster, "identity": self.identity, "epoch": epoch}

    async def register(self) -> wire.Registered:
        answer = await self.rig.controller.register(wire.Register(nodes=self.nodes, **self._me()))
        self.seq = max(self.seq, answer.report_seq)
        return answer

    async def poll(self, **more: Any) -> wire.Offers:
        self.answer = await self.rig.controller.poll(wire.Poll(**self._me(), **more))
        self.cancel = self.answer.cancel
        for offer in self.answer.offers:
            self.offers[offer.assignment] = offer
        return self.answer

    async def ack(self, *offers: wire.Offer, refused: dict[str, str] | None = None) -> wire.Acked:
        self.acks += 1
        stored = [(offer.assignment, offer.generation) for offer in offers]
        message = wire.Ack(number=self.acks, stored=stored, refused=refused or {}, **self._me())
        return await self.rig.controller.ack(message)

    async def take(self) -> list[wire.OfferedTask]:
        """Poll, store and ack: the tasks that are confirmed."""
        answer = await self.poll()
        if not answer.offers:
            return []
        acked = await self.ack(*answer.offers)
        return [
            task
            for offer in answer.offers
            if offer.assignment in acked.confirmed
            for task in offer.tasks
        ]

    def says(self, uid: str, change: str, generation: int = 1, **more: Any) -> wire.TaskReport:
        self.seq += 1
        return wire.TaskReport(seq=self.seq, uid=uid, generation=generation, change=change, **more)

    async def report(self, *reports: wire.TaskReport) -> wire.Reported:
        return await self.rig.controller.report(wire.Report(reports=list(reports), **self._me()))

    async def end(self, uid: str, change: str = "succeeded", generation: int = 1) -> None:
        """The task ran and ended."""
        await self.report(
            self.says(uid, "running", generation, node=self.nodes[0].name),
            self.says(uid, change, generation, node=self.nodes[0].name, exit_code=0),
        )

    async def sync(self, tasks: dict[str, str], held: Iterable[wire.Offer] = ()) -> wire.Synced:
        return await self.rig.controller.sync(
            wire.Sync(
                acks=self.acks,
                held={offer.assignment: offer.generation for offer in held},
                tasks=tasks,
                **self._me(),
            )
        )


def job(*names: str, **more: Any) -> wire.WorkflowSpec:
    """Independent tasks of ten seconds."""
    tasks = [wire.TaskSpec(name=name, cpu_milli=1000, duration_s=10.0) for name in names]
    return wire.WorkflowSpec(name="job", kind="job", tasks=tasks, **more)


def chain(*names: str, **more: Any) -> wire.WorkflowSpec:
    """One task after the other."""
    tasks = [wire.TaskSpec(name=name, cpu_milli=1000, duration_s=10.0) for name in names]
    edges = [
        wire.DependencySpec(before=before, after=after, volume_mb=5.0)
        for before, after in itertools.pairwise(names)
    ]
    return wire.WorkflowSpec(name="chain", tasks=tasks, dependencies=edges, **more)


def story(tell: Callable[..., Any], **settings: Any) -> None:
    """Run `tell(rig)` in an event loop of its own, with a controller that leads."""

    async def told() -> None:
        rig = Rig(**settings)
        try:
            await rig.lead()
            await tell(rig)
        finally:
            rig.store.close()

    asyncio.run(told())
