"""A stage for the agent: virtual time, a disk that outlives it, a scripted controller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import create_engine, select, text
from sqlalchemy.pool import StaticPool

from cerebrum.executors.simulated_runs import Faults, SimulatedNodes, SimulatedRuns
from cerebrum.model.cluster import Node, PowerModel
from cerebrum.model.resources import Resources
from cerebrum.policies import get_policy
from cerebrum.services import wire
from cerebrum.services.agent import Agent, AgentSettings, schema
from cerebrum.services.errors import Refused, StoreUnavailable, Unreachable
from cerebrum.services.rollouts import Desk, RolloutSettings
from tests.faults.loop import VirtualLoop


class Clock:
    """Virtual time; the wall clock is of no use to anybody."""

    def unix_s(self) -> float:
        return 1.8e9 + asyncio.get_running_loop().time()

    def monotonic_s(self) -> float:
        return 5000.0 + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class PowerCut(Exception):
    """The process dies at this very write."""


class Disk:
    """`ports.Store`. `cut` (write number) dies `before` or `after` the commit; `full` refuses."""

    def __init__(self) -> None:
        self.engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        schema.metadata.create_all(self.engine)
        self.writes, self.cut, self.committed, self.full = 0, 0, False, False

    async def write(self, work: Any) -> Any:
        await asyncio.sleep(0.001)
        self.writes += 1
        if self.full:
            raise StoreUnavailable("the disk is full")
        if self.writes == self.cut and not self.committed:
            raise PowerCut
        with self.engine.begin() as connection:
            result = work(connection)
        if self.writes == self.cut:
            raise PowerCut
        return result

    async def read(self, work: Any) -> Any:
        with self.engine.connect() as connection:
            return work(connection)

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            query = text(f"SELECT * FROM {table} ORDER BY rowid")
            return [dict(row) for row in connection.execute(query).mappings()]

    def events(self, *kinds: str) -> list[tuple[str, str, dict[str, Any]]]:
        """(kind, task, data) in order."""
        found = [(r["kind"], r["task"], json.loads(r["data"])) for r in self.rows("events")]
        return [event for event in found if not kinds or event[0] in kinds]

    def state(self, uid: str) -> str:
        with self.engine.connect() as connection:
            query = select(schema.tasks.c.state).where(schema.tasks.c.uid == uid)
            return str(connection.execute(query).scalar())


@dataclass
class Controller:
    """`ports.ControllerPeer`, following docs/reference/federation.md for one cluster."""

    epoch: int = 1
    lease_s: float = 30.0
    reachable: bool = True
    lose_answers_to: set[str] = field(default_factory=set[str])
    offers: dict[str, wire.Offer] = field(default_factory=dict[str, wire.Offer])
    confirmed: set[str] = field(default_factory=set[str])
    withdrawn: set[str] = field(default_factory=set[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    cancel: set[str] = field(default_factory=set[str])
    drop: set[str] = field(default_factory=set[str])
    auctions: list[wire.Auction] = field(default_factory=list[wire.Auction])
    bids: list[wire.Bid] = field(default_factory=list[wire.Bid])
    reports: dict[int, wire.TaskReport] = field(default_factory=dict[int, wire.TaskReport])
    identities: set[str] = field(default_factory=set[str])
    polls: list[wire.Poll] = field(default_factory=list[wire.Poll])
    nodes: list[wire.NodeSpec] = field(default_factory=list[wire.NodeSpec])
    messages: list[Any] = field(default_factory=list[Any])
    syncs: list[wire.Sync] = field(default_factory=list[wire.Sync])

    async def _arrive(self) -> None:
        await asyncio.sleep(0.01)
        if not self.reachable:
            await asyncio.sleep(1.0)
            raise Unreachable("the cable is cut")

    def _leave(self, method: str) -> None:
        if method in self.lose_answers_to:
            raise Unreachable("the answer is lost")

    async def register(self, message: wire.Register) -> wire.Registered:
        await self._arrive()
        self.identities.add(message.identity)
        self.nodes = message.nodes
        self.messages.append(message)
        if len(self.identities) > 1:
            raise Refused(409, "Another agent has this id")
        seq = max(self.reports, default=0)
        self._leave("register")
        return wire.Registered(epoch=self.epoch, lease_s=self.lease_s, poll_s=5.0, report_seq=seq)

    async def poll(self, message: wire.Poll) -> wire.Offers:
        await self._arrive()
        self.polls.append(message)
        self.messages.append(message)
        self.bids += message.bids
        if not (self._open() or self.cancel or self.auctions):
            await asyncio.sleep(message.wait_s)
        auctions, self.auctions = self.auctions, []
        self._leave("poll")
        return wire.Offers(
            epoch=self.epoch, offers=self._open(), cancel=sorted(self.cancel), auctions=auctions
        )

    def _open(self) -> list[wire.Offer]:
        gone = self.confirmed | self.withdrawn | self.refused.keys()
        return [offer for name, offer in self.offers.items() if name not in gone]

    async def ack(self, message: wire.Ack) -> wire.Acked:
        await self._arrive()
        self.refused.update(message.refused)
        names = [name for name, _ in message.stored]
        mine = [n for n in names if n not in self.withdrawn]
        self.confirmed.update(mine)
        self._leave("ack")
        dropped = [n for n in names if n in self.withdrawn]
        return wire.Acked(epoch=self.epoch, confirmed=mine, dropped=dropped)

    async def report(self, message: wire.Report) -> wire.Reported:
        await self._arrive()
        for report in message.reports:
            assert report.seq in self.reports or report.seq == max(self.reports, default=0) + 1
            assert self.reports.setdefault(report.seq, report) == report
            if report.change in ("succeeded", "failed", "cancelled"):
                self.cancel.discard(report.uid)
        self._leave("report")
        return wire.Reported(epoch=self.epoch, seq=max(self.reports, default=0))

    async def sync(self, message: wire.Sync) -> wire.Synced:
        await self._arrive()
        self.syncs.append(message)
        self._leave("sync")
        return wire.Synced(epoch=self.epoch, drop=sorted(self.drop & message.tasks.keys()))

    def offer(self, name: str, *tasks: wire.OfferedTask, **more: Any) -> wire.Offer:
        """Put an offer up."""
        given: dict[str, Any] = {"generation": 1, "epoch": self.epoch, **more}
        offer = wire.Offer(
            assignment=name, workflow="w", workflow_name="w", tasks=list(tasks), **given
        )
        self.offers[name] = offer
        return offer

    def ends(self) -> dict[str, list[tuple[str, str]]]:
        """Terminal reports: uid -> [(change, reason)]."""
        found: dict[str, list[tuple[str, str]]] = {}
        for report in self.reports.values():
            if report.change not in ("running", "waiting"):
                found.setdefault(report.uid, []).append((report.change, report.reason))
        return found


def task(name: str, seconds: float = 5.0, after: Iterable[str] = (), **spec: Any) -> Any:
    """An offered task `w/<name>`."""
    more = {key: spec.pop(key) for key in ("rank_s", "inputs") if key in spec}
    given: dict[str, Any] = {"cpu_milli": 1000, "memory_mib": 100, **spec}
    return wire.OfferedTask(
        uid=f"w/{name}", spec=wire.TaskSpec(name=name, duration_s=seconds, **given),
        after=[f"w/{before}" for before in after], **more,
    )  # fmt: skip


ONE_CORE = (Node("n0", Resources(1000, 1000)),)
NODES = tuple(
    Node(f"n{i}", Resources(4000, 4096), power=PowerModel(100.0, 300.0, 4000)) for i in range(2)
)


class Stage:
    """One agent's surroundings, which outlive it. `start`, `kill` and `start` again."""

    def __init__(
        self,
        faults: Faults | None = None,
        controller: Controller | None = None,
        policy: str = "best-fit",
        nodes: tuple[Node, ...] = NODES,
        start_s: float = 0.0,
        rollout: RolloutSettings | None = None,
        **settings: Any,
    ) -> None:
        self.clock, self.disk = Clock(), Disk()
        self.rollout = rollout
        self.controller = controller or Controller()
        self.world: SimulatedNodes | None = None
        self._faults, self._start_s, self.policy = faults, start_s, policy
        self._settings = {"cluster": "c1", "nodes": nodes, "boot_id": "b1", **settings}
        self.lives, self.agent, self._running = 0, None, None
        self.starts: list[str] = []

    def start(self, alone: bool = False, inventory: Any = None, **settings: Any) -> Agent:
        """A new life of the agent."""
        if self.world is None:
            self.world = SimulatedNodes(
                self.clock, np.random.default_rng(7), self._faults, self._start_s
            )
        self.lives += 1
        executor = _Watched(self.world, self.starts)
        policy, desk = get_policy(self.policy), None
        if self.rollout is not None:
            desk = Desk(self.rollout, None, self.clock.unix_s)
            policy = desk.policy(self.policy)
            settings = {"policy": self.policy, "candidate": self.rollout.candidate, **settings}
        self.agent = Agent(
            self.disk, self.clock, None if alone else self.controller, executor,
            policy, AgentSettings(**{**self._settings, **settings}),
            np.random.default_rng(self.lives), inventory=inventory, rollout=desk,
        )  # fmt: skip
        self._running = asyncio.ensure_future(self.agent.run())
        return self.agent

    async def kill(self) -> None:
        """The process is gone; what runs goes on."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def died(self) -> bool:
        """Whether the agent has ended by itself."""
        return self._running is not None and self._running.done()

    async def until(self, what: Callable[[], bool], seconds: float = 300.0) -> None:
        """Let time pass until something is so; an error of the agent is an error here."""
        for _ in range(int(seconds / 0.05)):
            if what():
                return
            if self._running is not None and self._running.done():
                self._running.result()
            await asyncio.sleep(0.05)
        raise AssertionError(f"it did not happen within {seconds} s")


class _Watched(SimulatedRuns):
    """Notes which launches really were new."""

    def __init__(self, world: SimulatedNodes, starts: list[str]) -> None:
        super().__init__(world)
        self._starts = starts

    async def start(self, launch: Any) -> None:
        if all(status.run_id != launch.run_id for status in self.world.statuses()):
            self._starts.append(launch.run_id)
        await super().start(launch)


def play(story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a story in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story())
    finally:
        loop.bury()
        loop.close()
