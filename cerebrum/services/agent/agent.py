"""The agent (LCA): wires ledger, engine, executor and controller together, and runs the loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from cerebrum.model.cluster import Node
from cerebrum.model.errors import CerebrumError, InputError, NotFound
from cerebrum.model.protocols import Executor, Inventory, Policy
from cerebrum.model.scenario import NodeChange
from cerebrum.policies.learned.rollout import Rollout
from cerebrum.services import wire
from cerebrum.services.agent import bids, local, nodes, views
from cerebrum.services.agent.leases import Leases
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.link import Link
from cerebrum.services.agent.placing import warm_up
from cerebrum.services.agent.prediction import NodeForecasts, Runtimes, UsageSource
from cerebrum.services.agent.records import HeldState
from cerebrum.services.agent.running import Runner
from cerebrum.services.agent.settings import AgentSettings
from cerebrum.services.agent.waiting import pause, within
from cerebrum.services.errors import Refused, StoreUnavailable
from cerebrum.services.ports import Clock, Compute, ControllerPeer, Store, at_once
from cerebrum.services.rollouts import KEY, Desk

_PRUNE_S = 600.0
_WAITING_REPORTS = 500  # in one go
Step = Callable[[], Coroutine[Any, Any, None]]


class Agent:
    """One cluster's agent. `run` is its life; the other methods may be called while it runs.

    `peer` None: no controller, direct submissions only. `usage` gives samples of node usage for the
    forecasts (None: none are made), `compute` is where they are fitted. `rng` seeds the identity,
    the policy's key and jitter: in production it must be unpredictable. `inventory` tells how the
    nodes of `settings` change (None: they do not; with one, no forecasts are made). `rollout` made
    the policy, if there is a candidate in it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        peer: ControllerPeer | None,
        executor: Executor,
        policy: Policy,
        settings: AgentSettings,
        rng: np.random.Generator,
        *,
        usage: UsageSource | None = None,
        compute: Compute = at_once,
        inventory: Inventory | None = None,
        rollout: Desk | None = None,
    ) -> None:
        self.settings, self.clock, self.executor = settings, clock, executor
        self.runtimes, self.forecasts = Runtimes(), None
        self._bidder = bids.find_bidder(settings)
        if usage is not None and inventory is None:
            self.forecasts = _forecasts(settings)
        self._inventory, self._nodes_ahead = inventory, dict[str, Node | None]()
        self._rng, self._usage, self._compute = rng, usage, compute
        self.ledger = Ledger(store, clock, settings.cluster)
        self.life = Lifecycle(
            self.ledger, policy, settings, self.runtimes.expected_s, self.runtimes.add
        )
        self.leases = Leases(self.ledger, self.life, settings.boot_id)
        self.runner = Runner(self.ledger, self.life, self.leases, executor, settings)
        self.link = None
        if peer is not None:
            self.link = Link(
                self.ledger, self.life, self.leases, peer, settings, rng,
                lambda: views.node_statuses(self), self._bid,
            )  # fmt: skip
        self.to_decide = asyncio.Event()
        self.rollout = rollout
        if rollout is not None:
            rollout.on_change = self.to_decide.set
        self.store_problem = ""
        self._told: dict[str, str] = {}  # uid -> reason reported last
        self.ledger.on_load = self._loaded
        self.ledger.on_commit = self._keep
        self.ledger.on_done = self._turned

    # -- life -------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Before `run`: compile what decisions need, which can take minutes. Meanwhile turns wait
        and with them who asks for one, but not the event loop."""
        policy = self.life.policy
        async with self.ledger.held_up():
            if not isinstance(policy, Rollout):
                await self._compute(lambda: warm_up(policy))
                return
            await self._compute(lambda: warm_up(policy.baseline))
            if policy.standing.mode != "off":
                await self._warm_up_candidate(policy)

    async def _warm_up_candidate(self, policy: Rollout) -> None:
        """One that fails or does not return is left to its guards."""

        async def compiling() -> None:
            await self._compute(lambda: warm_up(policy.candidate))

        with contextlib.suppress(Exception):
            await within(self.clock, compiling(), policy.limits.first_s)

    async def run(self) -> None:
        """Until cancelled. Then everything is let go of, and nothing that runs is ended."""
        loops: list[tuple[str, Step]] = [
            ("decide", self._decide), ("act", self.runner.act), ("follow", self.runner.follow),
            ("reconcile", self.runner.reconcile), ("keep", self._keep_house),
            ("waiting", self._report_waiting),
        ]  # fmt: skip
        if self.link is not None:
            loops += [
                ("poll", self.link.poll), ("ack", self.link.ack),
                ("report", self.link.report), ("sync", self.link.sync),
            ]  # fmt: skip
        if self.forecasts is not None:
            loops.append(("usage", self._watch_usage))
        if self._inventory is not None:
            loops.append(("nodes", self._follow_nodes))
        try:
            await self._until_stored(self._introduce)
            async with asyncio.TaskGroup() as group:
                for name, step in loops:
                    group.create_task(self._forever(name, step), name=f"agent-{name}")
        finally:
            await self.executor.close()

    async def _forever(self, name: str, step: Step) -> None:
        link = self.link
        if link is not None and name in ("poll", "ack", "report", "sync"):
            asked, step = step, lambda: link.attempt(name, asked)
        while True:
            await self._until_stored(step)

    async def _until_stored(self, step: Step) -> None:
        """Do it; while the database is away, wait and do it again from what is on disk."""
        wait_s = self.settings.retry_s
        while True:
            try:
                await step()
                return
            except StoreUnavailable as problem:
                self.store_problem = str(problem)
                await self.clock.sleep(wait_s * (0.5 + 0.5 * float(self._rng.random())))
                wait_s = min(2 * wait_s, self.settings.retry_max_s)

    async def _introduce(self) -> None:
        async with self.ledger.turn():
            for node in self.life.nodes.values():
                nodes.introduce(self.life, node)

    def _loaded(self) -> None:
        """The ledger was read: everything made from it is made anew."""
        values = self.ledger.values
        if "identity" not in values:
            self.ledger.set("identity", self._rng.bytes(16).hex())
            self.ledger.set("key", int(self._rng.integers(2**62)))
        if self.rollout is not None:
            self.rollout.restore(values.get(KEY))
        self.leases.load()
        self.life.rebuild()
        if self.forecasts is not None and self.forecasts.latest:
            self.life.placement.look_ahead(self.forecasts.latest)
        # What is behind a closed fence has its end before anybody looks at what became of it.
        self.leases.expire()
        self.runner.to_reconcile.set()

    def _keep(self) -> None:
        """At the end of each turn: what is to be stored with it."""
        self.life.journal()
        if self.rollout is not None and self.rollout.unstored:
            for change in self.rollout.take_changes():
                self.ledger.event_of("rollout_changed", "", "", **change)
            self.ledger.set(KEY, self.rollout.record())

    def _turned(self, changed: bool) -> None:
        """After each turn: wake who may have something to do now."""
        self.leases.stored()
        if self.life.orders or changed:
            self.runner.to_act.set()
        if changed:
            self.store_problem = ""
            self.to_decide.set()
            if self.link is not None:
                self.link.to_report.set()

    # -- loops ------------------------------------------------------------------------------

    async def _decide(self) -> None:
        next_s = self.life.next_timer_s() - self.clock.monotonic_s()
        await pause(self.clock, self.to_decide, min(next_s, self.leases.next_s()))
        async with self.ledger.turn():
            self.leases.expire()
            self.life.renew()
            self.life.decide()

    async def _report_waiting(self) -> None:
        """Tell the controller why tasks wait: each reason once, not every reason at once."""
        await self.clock.sleep(self.settings.waiting_s)
        async with self.ledger.turn():
            tasks = self.ledger.tasks
            self._told = {uid: reason for uid, reason in self._told.items() if uid in tasks}
            told = 0
            for task in tasks.values():
                if task.state is not HeldState.WAITING or not task.reason:
                    continue
                if self._told.get(task.uid) != task.reason and told < _WAITING_REPORTS:
                    told += 1
                    self._told[task.uid] = task.reason
                    self.ledger.report(task, "waiting", reason=task.reason[:8000])

    async def _keep_house(self) -> None:
        s = self.settings
        await self.clock.sleep(_PRUNE_S)
        await self.ledger.prune(s.keep_ended, s.keep_events, s.keep_journal)

    async def _follow_nodes(self) -> None:
        """Take in what the inventory says; what could not be stored is taken in again."""
        if self._inventory is not None and not self._nodes_ahead:
            self._nodes_ahead.update(await self._inventory.next_changes())
        async with self.ledger.turn():
            news = nodes.follow(self.life, self._nodes_ahead)
        self._nodes_ahead.clear()
        self.to_decide.set()
        if self.link is not None:
            self.link.nodes_changed(at_once=news)

    async def _watch_usage(self) -> None:
        forecasts, usage = self.forecasts, self._usage
        await self.clock.sleep(self.settings.usage_s)
        if forecasts is None or usage is None:
            return
        forecasts.add(await usage.sample(), self.life.placement.given_cpu())
        ahead = await self._compute(forecasts.look_ahead)
        if ahead:
            ahead["step_s"] = np.full((len(self.settings.nodes), 1), self.settings.usage_s)
            forecasts.latest = ahead
            self.life.placement.look_ahead(ahead)

    def _bid(self, auctions: Any) -> list[wire.Bid]:
        busy = {} if self.forecasts is None else self.forecasts.mean_cpu()
        view = bids.own_view(self.life, self.settings, busy)
        return bids.make_bids(view, auctions, self.settings.links, self._bidder)

    # -- what people ask for ----------------------------------------------------------------

    async def submit_subgraph(
        self, spec: wire.WorkflowSpec, submission: str = ""
    ) -> dict[str, Any]:
        """Run a (sub-)workflow here without a controller; stored when this returns.

        `submission` names it (else the spec's name does): the same name and content again is the
        same submission. Raises `Refused`: 409 other content, 422 no sense or never room, 429 full.
        """
        return await local.submit(self.ledger, self.life, self.settings, spec, submission)

    async def cancel(self, uid: str) -> None:
        """End a task that has not ended. Raises `NotFound`."""
        async with self.ledger.turn():
            task = self.ledger.tasks.get(uid)
            if task is None:
                raise NotFound(f"no task {uid!r} is waiting or running here")
            self.life.end_task(task, "cancelled")

    async def cordon(self, node: str) -> None:
        """Place nothing new on a node. Raises `NotFound`."""
        await self._change_node(node, NodeChange.CORDON)

    async def uncordon(self, node: str) -> None:
        """Place tasks on it again. Raises `NotFound`."""
        await self._change_node(node, NodeChange.UNCORDON)

    async def drain(self, node: str) -> None:
        """Cordon it and send what runs there back to the queue. Raises `NotFound`."""
        await self._change_node(node, NodeChange.DRAIN)

    async def _change_node(self, node: str, change: NodeChange) -> None:
        if node not in self.life.nodes:
            raise NotFound(f"there is no node {node!r}")
        async with self.ledger.turn():
            self.life.change_node(node, change)

    async def logs(
        self, uid: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """What a task's last run wrote. Raises as `run_logs`."""
        return await self.run_logs(await views.last_run(self, uid), stream, offset, limit)

    async def run_logs(self, run_id: str, stream: str, offset: int, limit: int) -> bytes:
        """What a run wrote. Raises `NotFound`, and `Refused` while its node cannot be asked."""
        try:
            return await self.executor.logs(run_id, stream, offset, limit)
        except (NotFound, InputError):
            raise
        except CerebrumError as problem:
            raise Refused(502, "The logs cannot be had now", str(problem)) from problem

    async def rollout_report(self) -> dict[str, Any]:
        """See `rollouts.Watched`."""
        desk = self._desk()
        async with self.ledger.turn():  # whose first one reads what was stored
            return desk.report(self.settings.policy)

    async def move_rollout(self, to: str, by: str, reason: str = "") -> dict[str, Any]:
        """See `rollouts.Watched`."""
        desk = self._desk()
        async with self.ledger.turn():
            desk.move(to, by, reason)
        return desk.report(self.settings.policy)

    def _desk(self) -> Desk:
        if self.rollout is None:
            raise Refused(404, "no candidate", "this agent was started without --candidate")
        return self.rollout

    async def status(self) -> dict[str, Any]:
        """Everything at a glance: nodes, tasks, engine, lease, energy, forecasts."""
        return await views.status(self)

    async def totals(self) -> views.Totals:
        """Sums of what `status` says, at a tenth of its price: thousands of nodes are not listed
        every few seconds."""
        return await views.totals(self)

    async def task(self, uid: str) -> dict[str, Any]:
        """All that is known of a task, its history included. Raises `NotFound`."""
        return await views.task(self, uid)

    async def explain(self, uid: str) -> dict[str, Any]:
        """Why a task waits, or where it would go now and why. Raises `NotFound`."""
        return await views.explain(self, uid)


def _forecasts(settings: AgentSettings) -> NodeForecasts | None:
    if not settings.forecaster:
        return None
    from cerebrum.forecast import get_forecaster

    return NodeForecasts(
        [node.name for node in settings.nodes], settings.usage_samples, settings.horizon,
        get_forecaster(settings.forecaster),
    )  # fmt: skip
