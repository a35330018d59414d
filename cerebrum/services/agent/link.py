"""The agent's side of docs/reference/federation.md: register, poll, ack, report, sync.

Each loop asks, waits for the answer, and stores what it means. Any request may be repeated, so a
lost answer costs a retry and nothing else.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np

from cerebrum.services import wire
from cerebrum.services.agent.leases import Leases
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.offers import Offers
from cerebrum.services.agent.records import HeldState
from cerebrum.services.agent.settings import AgentSettings
from cerebrum.services.agent.waiting import pause, within
from cerebrum.services.errors import Refused, Unreachable
from cerebrum.services.ports import ControllerPeer

REPORTS = 1000
"""Reports in one message."""
_DECLARE_S = 30.0  # between registrations for the sake of capacities only
_PACE_S = 0.5  # between polls that brought nothing and did not wait
_SYNC_STATE = {
    HeldState.UNCONFIRMED: "unconfirmed", HeldState.BLOCKED: "waiting",
    HeldState.WAITING: "waiting", HeldState.BOUND: "running", HeldState.RUNNING: "running",
}  # fmt: skip
SyncState = Literal["unconfirmed", "waiting", "running", "ended"]


class Answer(Protocol):
    """What all answers have in common."""

    @property
    def epoch(self) -> int:
        """Of the leader that answered."""
        ...


A = TypeVar("A", bound=Answer)


class Link:
    """Talks to the controller. `connected`: the last request was answered; `problem`: else why."""

    def __init__(
        self,
        ledger: Ledger,
        life: Lifecycle,
        leases: Leases,
        peer: ControllerPeer,
        settings: AgentSettings,
        rng: np.random.Generator,
        status: Callable[[], list[wire.NodeStatus]],
        bid: Callable[[Sequence[wire.Auction]], list[wire.Bid]],
    ) -> None:
        self.ledger, self.life, self.leases = ledger, life, leases
        self.peer, self.settings, self._rng = peer, settings, rng
        self._offers = Offers(ledger, life, settings)
        self._status, self._bid = status, bid
        self.to_ack, self.to_report, self.to_sync = (asyncio.Event() for _ in range(3))
        self.connected, self.cordoned, self.problem = False, False, ""
        self._registered = -1  # the epoch in which we did
        self._wait_s, self._timeout_s = settings.wait_s, settings.request_timeout_s
        self._is_registered = asyncio.Event()
        self._again: set[tuple[str, int]] = set()
        self._refused: dict[str, str] = {}
        self._bids: list[wire.Bid] = []
        self._comparing = asyncio.Lock()  # an ack that overtakes a sync would look like a loss
        self._failures: dict[str, int] = {}
        self._declared: dict[str, wire.NodeSpec] = {}  # as registered last
        self._declared_s = -math.inf
        self._changed = self._changed_much = False

    def nodes_changed(self, at_once: bool) -> None:
        """Nodes are not as registered: register again with the next poll, or in a while."""
        self._changed, self._changed_much = True, self._changed_much or at_once

    # -- requests ---------------------------------------------------------------------------

    async def attempt(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One step of a loop; without answer, the pause before the next one grows."""
        try:
            await step()
            self._failures[name] = 0
        except (Unreachable, Refused) as problem:
            self.connected, self.problem = False, str(problem)
            if isinstance(problem, Refused) and problem.status in (401, 403, 404, 409):
                self._registered = -1
                self._is_registered.clear()
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            longest_s = min(
                self.settings.retry_max_s, self.settings.retry_s * 2.0 ** min(failures - 1, 20)
            )
            if isinstance(problem, Refused) and problem.retry_after_s is not None:
                longest_s = max(longest_s, min(problem.retry_after_s, self.settings.retry_max_s))
            await self.ledger.clock.sleep(longest_s * (0.5 + 0.5 * float(self._rng.random())))

    async def _ask(self, call: Coroutine[Any, Any, A], wait_s: float = 0.0) -> tuple[A, float]:
        """An answer from the leader, and when its request was sent. Counts as contact."""
        sent_s = self.ledger.clock.monotonic_s()
        answer = await within(self.ledger.clock, call, wait_s + self._timeout_s)
        known = self.epoch
        async with self.ledger.turn():
            if answer.epoch < known:
                self.ledger.event_of("epoch_refused", "", "", epoch=answer.epoch, known=known)
            else:
                if answer.epoch > known:
                    self.ledger.set("epoch", answer.epoch)
                self.leases.heard(sent_s)
        if answer.epoch < known:
            raise Unreachable(f"a leader of epoch {answer.epoch} answered, {known} is known")
        self.connected, self.problem = True, ""
        return answer, sent_s

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return int(self.ledger.values.get("epoch", 0))

    def _who(self) -> dict[str, Any]:
        return {
            "cluster": self.settings.cluster,
            "identity": str(self.ledger.values["identity"]),
            "epoch": self.epoch,
        }

    async def _register(self) -> None:
        nodes = [
            wire.NodeSpec(
                name=node.name, cpu_milli=node.capacity.cpu_milli,
                memory_mib=node.capacity.memory_mib, gpu_count=node.capacity.gpu_count,
                gpu_model=node.gpu_model, speed=node.speed, schedulable=node.schedulable,
                labels=dict(node.labels),
            )
            for node in self.life.nodes.values()
        ]  # fmt: skip
        self._changed = self._changed_much = False
        message = wire.Register(
            **self._who(), nodes=nodes, zone=self.settings.zone,
            url=self.settings.url, version=self.settings.version,
        )  # fmt: skip
        answer, _ = await self._ask(self.peer.register(message))
        async with self.ledger.turn():
            self.ledger.confirmed(answer.report_seq)
            if answer.report_seq > int(self.ledger.values.get("report_seq", 0)):
                self.ledger.set("report_seq", answer.report_seq)
        # Two polls and a lost request have to fit into a lease, else silence and fence look alike.
        if answer.poll_s > 0:
            self._wait_s = min(self.settings.wait_s, answer.poll_s)
        if answer.lease_s > 0:
            self._wait_s = min(self._wait_s, answer.lease_s / 4)
            self._timeout_s = min(self.settings.request_timeout_s, answer.lease_s / 3)
        self._declared = {node.name: node for node in nodes}
        self._declared_s = self.ledger.clock.monotonic_s()
        self._registered = answer.epoch
        self._is_registered.set()
        for signal in (self.to_sync, self.to_ack, self.to_report):
            signal.set()

    # -- poll -------------------------------------------------------------------------------

    async def poll(self) -> None:
        """One contact: say how we are, take what is offered."""
        if self._registered != self.epoch or self._nodes_are_news():
            await self._register()
        bids, self._bids = self._bids, []
        message = self._poll_message(bids)
        try:
            answer, sent_s = await self._ask(self.peer.poll(message), message.wait_s)
        except Unreachable:
            self._bids = bids
            raise
        self.cordoned = answer.cordon
        self._bids = self._bid(answer.auctions) if answer.auctions else []
        news = bool(self._bids)
        if answer.offers or answer.cancel:
            news |= await self._take(answer)
        if answer.resync:
            self.to_sync.set()
        waited_s = self.ledger.clock.monotonic_s() - sent_s
        if not news and waited_s < _PACE_S:
            await self.ledger.clock.sleep(_PACE_S - waited_s)

    def _nodes_are_news(self) -> bool:
        """Nodes that came or went are told at once, other capacities now and then."""
        since_s = self.ledger.clock.monotonic_s() - self._declared_s
        return self._changed_much or (self._changed and since_s >= _DECLARE_S)

    def _node_statuses(self) -> list[wire.NodeStatus]:
        """As it is, within what was registered: more than that would be taken for a lie."""
        found: list[wire.NodeStatus] = []
        for now in self._status():
            declared = self._declared.get(now.name)
            if declared is None:
                continue
            least = {
                "cpu_free_milli": min(now.cpu_free_milli, declared.cpu_milli),
                "memory_free_mib": min(now.memory_free_mib, declared.memory_mib),
                "gpu_free": min(now.gpu_free, declared.gpu_count),
            }
            found.append(now.model_copy(update=least))
        return found

    def _poll_message(self, bids: list[wire.Bid]) -> wire.Poll:
        tasks = self.ledger.tasks.values()
        running = sum(t.state in (HeldState.BOUND, HeldState.RUNNING) for t in tasks)
        return wire.Poll(
            **self._who(), wait_s=self._wait_s, nodes=self._node_statuses(),
            waiting=len(self.ledger.tasks) - running, running=running,
            backlog_core_s=self.life.backlog_core_s(), bids=bids,
        )  # fmt: skip

    async def _take(self, answer: wire.Offers) -> bool:
        """Store offers and cancellations; whether there was anything new in them."""
        before = int(self.ledger.values.get("number", 0))
        async with self.ledger.turn():
            refused = await self._offers.take(answer.offers)
            ended = 0
            for uid in answer.cancel:
                task = self.ledger.tasks.get(uid)
                if task is not None and not task.ending:
                    self.life.end_task(task, "cancelled")
                    ended += 1
        held = self.ledger.assignments
        self._again |= {
            (offer.assignment, offer.generation)
            for offer in answer.offers
            if offer.assignment not in refused
            and (offer.assignment not in held or held[offer.assignment].confirmed)
            and not self._live(offer)
        }
        self._refused.update(refused)
        self.to_ack.set()
        return int(self.ledger.values.get("number", 0)) > before or ended > 0

    def _live(self, offer: wire.Offer) -> bool:
        """Whether another generation of a task of the offer is still to be ended."""
        return any(
            task.uid in self.ledger.tasks
            and self.ledger.tasks[task.uid].generation != offer.generation
            for task in offer.tasks
        )

    # -- ack --------------------------------------------------------------------------------

    async def ack(self) -> None:
        """Tell what is stored, until it is confirmed or dropped."""
        await self._is_registered.wait()
        async with self._comparing:
            # Read in a turn: what is not on disk must not be acked.
            async with self.ledger.turn():
                open_ = {
                    (held.id, held.generation)
                    for held in self.ledger.assignments.values()
                    if not held.confirmed
                }
                again, refused = set(self._again), dict(self._refused)
                number = int(self.ledger.values.get("acks", 0)) + 1
                if open_ or again or refused:
                    self.ledger.set("acks", number)
            if open_ or again or refused:
                await self._exchange_acks(number, open_, again, refused)
                return
        await pause(self.ledger.clock, self.to_ack)

    async def _exchange_acks(
        self,
        number: int,
        open_: set[tuple[str, int]],
        again: set[tuple[str, int]],
        refused: dict[str, str],
    ) -> None:
        stored = sorted(open_ | again)
        message = wire.Ack(**self._who(), number=number, stored=stored, refused=refused)
        answer, sent_s = await self._ask(self.peer.ack(message))
        async with self.ledger.turn():
            for assignment in answer.dropped:
                self._dropped(assignment, open_)
            self._confirm(answer.confirmed, open_, sent_s)
        self._again -= again
        for assignment, reason in refused.items():
            if self._refused.get(assignment) == reason:
                del self._refused[assignment]
        answered = {*answer.confirmed, *answer.dropped}
        if any(name not in answered for name, _ in open_):
            await self.ledger.clock.sleep(self.settings.retry_s)

    def _confirm(self, names: Sequence[str], asked: set[tuple[str, int]], sent_s: float) -> None:
        """What is ours may start, unless the answer took longer than its fence allows."""
        took_s = self.ledger.clock.monotonic_s() - sent_s
        for name in names:
            held = self.ledger.assignments.get(name)
            if held is None or held.confirmed or (name, held.generation) not in asked:
                continue
            if held.fence_after_s is None or took_s < held.fence_after_s:
                self.life.confirm(held)

    def _dropped(self, name: str, asked: set[tuple[str, int]]) -> None:
        held = self.ledger.assignments.get(name)
        if held is None or (name, held.generation) not in asked:
            return
        for uid in sorted(held.tasks):
            self.life.end_task(self.ledger.tasks[uid], "dropped")

    # -- report -----------------------------------------------------------------------------

    async def report(self) -> None:
        """Empty the outbox, oldest first."""
        await self._is_registered.wait()
        batch = await self.ledger.outbox(REPORTS)
        if not batch:
            await pause(self.ledger.clock, self.to_report)
            return
        message = wire.Report(**self._who(), reports=batch)
        answer, _ = await self._ask(self.peer.report(message))
        if answer.seq < batch[0].seq:
            raise Unreachable(f"reports from {batch[0].seq} on were not taken")
        async with self.ledger.turn():
            self.ledger.confirmed(answer.seq)
            self.ledger.event_of("reported", "", "", seq=answer.seq)

    # -- sync -------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Compare all we hold with what the controller believes."""
        await self._is_registered.wait()
        async with self._comparing:
            message, generations = await self._sync_message()
            answer, _ = await self._ask(self.peer.sync(message))
            async with self.ledger.turn():
                for uid in answer.drop:
                    task = self.ledger.tasks.get(uid)
                    if task is not None and task.generation == generations.get(uid):
                        self.life.end_task(task, "dropped")
        await pause(self.ledger.clock, self.to_sync, self.settings.sync_s)

    async def _sync_message(self) -> tuple[wire.Sync, dict[str, int]]:
        async with self.ledger.turn():
            ended = await self.ledger.unreported()
            tasks: dict[str, SyncState] = dict.fromkeys(ended, "ended")
            generations: dict[str, int] = {}
            for task in self.ledger.tasks.values():
                if not self.ledger.assignments[task.assignment].local:
                    tasks[task.uid] = cast(SyncState, _SYNC_STATE[task.state])
                    generations[task.uid] = task.generation
            held = {a.id: a.generation for a in self.ledger.assignments.values() if not a.local}
            acks = int(self.ledger.values.get("acks", 0))
        return wire.Sync(**self._who(), acks=acks, held=held, tasks=tasks), generations
