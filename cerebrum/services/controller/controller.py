"""The controller: one object that answers agents and clients, and a loop that decides."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from sqlalchemy import func, select

from cerebrum.services import wire
from cerebrum.services.controller import (
    dispatch,
    leases,
    operations,
    policies,
    registration,
    reports,
    rollouts,
    submit,
)
from cerebrum.services.controller._context import Context
from cerebrum.services.controller._waiting import wait_for
from cerebrum.services.controller.auction import Auctions
from cerebrum.services.controller.election import Leadership
from cerebrum.services.controller.plan import Planner
from cerebrum.services.controller.settings import ControllerSettings
from cerebrum.services.controller.submit import Submitted
from cerebrum.services.controller.views import ClusterStatus, cluster_statuses
from cerebrum.services.errors import StoreUnavailable
from cerebrum.services.ports import Clock, Compute, Store, at_once
from cerebrum.services.rollouts import Desk
from cerebrum.services.store import schema as db

LOOK_S = 1.0
"""How often a standby looks for events that another controller wrote."""


class Controller:
    """A `ControllerPeer`, and what clients and operators may ask for.

    `name` tells replicas apart and `url` is where this one is reached; `rng` gives identifiers;
    `compute` runs long computations (default: in the event loop); `rollout` has a candidate for the
    default assigner. Nothing is answered before `run`
    has won an election: until then every method raises `Refused` (307 with the leader's address,
    or 503). Every method may raise `StoreUnavailable` and `LeadershipLost`; after the latter the
    process has to end, and `run` raises it too.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: ControllerSettings,
        rng: np.random.Generator,
        name: str,
        url: str = "",
        compute: Compute = at_once,
        rollout: Desk | None = None,
    ) -> None:
        self._context = Context(store, clock, settings, rng, name, url, compute, rollout)
        self._auctions = Auctions(self._context)
        self._planner = Planner(self._context, self._auctions)

    # -- running ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lead when it is our turn, until cancelled. Raises `LeadershipLost`."""
        context = self._context
        await context.compute(lambda: policies.warm_up(context.settings))
        await context.leadership.campaign(self._take_over)
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._renew(), self._planner.run(), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await context.leadership.resign()

    async def _take_over(self) -> None:
        """Between the election and the first answer: make memory from the database."""
        await self._context.load()

    async def _renew(self) -> None:
        context = self._context
        while True:
            await context.clock.sleep(context.settings.leader_ttl_s / 6)
            await context.leadership.renew()

    async def _watch(self) -> None:
        context = self._context
        while True:
            await context.clock.sleep(context.settings.watch_s)
            try:
                await leases.watch(context)
            except StoreUnavailable:
                continue  # looked at again in a moment

    # -- one step at a time, for tests --------------------------------------------------------

    async def lead(self) -> None:
        """Win an election and load, without starting the loops of `run`."""
        await self._context.leadership.campaign(self._take_over)

    async def plan_once(self) -> int:
        """One planning pass; how many workflows were decided."""
        return await self._planner.plan_once()

    async def watch_once(self) -> None:
        """Look at all leases once."""
        await leases.watch(self._context)

    # -- what agents say (ports.ControllerPeer) -----------------------------------------------

    async def register(self, message: wire.Register) -> wire.Registered:
        """See `ports.ControllerPeer`."""
        return await registration.register(self._context, message)

    async def poll(self, message: wire.Poll) -> wire.Offers:
        """See `ports.ControllerPeer`."""
        return await dispatch.poll(self._context, self._auctions, message)

    async def ack(self, message: wire.Ack) -> wire.Acked:
        """See `ports.ControllerPeer`."""
        return await reports.ack(self._context, message)

    async def report(self, message: wire.Report) -> wire.Reported:
        """See `ports.ControllerPeer`."""
        return await reports.report(self._context, message)

    async def sync(self, message: wire.Sync) -> wire.Synced:
        """See `ports.ControllerPeer`."""
        return await reports.sync(self._context, message)

    # -- what clients and operators ask for ---------------------------------------------------

    async def submit(
        self, spec: wire.WorkflowSpec, *, tenant: str, key: str | None, body_hash: str
    ) -> Submitted:
        """Accept a workflow; durable when this returns. Raises `Refused` 422, 409 or 429."""
        return await submit.submit(self._context, spec, tenant, key, body_hash)

    async def cancel_workflow(self, workflow_id: str, tenant: str | None = None) -> str:
        """Ask for its end; the state it has then. `tenant` None: whoever's it is."""
        return await operations.cancel_workflow(self._context, workflow_id, tenant)

    async def cancel_task(self, uid: str, tenant: str | None = None) -> str:
        """Ask for the end of a task and of those behind it; the state it has then."""
        return await operations.cancel_task(self._context, uid, tenant)

    async def drain_cluster(self, cluster: str) -> None:
        """Give a cluster nothing new, and what it does not hold to others."""
        await operations.drain_cluster(self._context, cluster)

    async def uncordon_cluster(self, cluster: str) -> None:
        """Take a drained cluster into use again."""
        await operations.uncordon_cluster(self._context, cluster)

    async def forget_cluster(self, cluster: str) -> None:
        """Take back everything from a cluster whose end the operator vouches for."""
        await operations.forget_cluster(self._context, cluster)

    async def set_quota(self, tenant: str, max_tasks: int | None) -> None:
        """Limit a tenant's unended tasks; None: the default."""
        await operations.set_quota(self._context, tenant, max_tasks)

    async def rollout_report(self) -> dict[str, Any]:
        """See `rollouts.Watched`."""
        return await rollouts.report(self._context)

    async def move_rollout(self, to: str, by: str, reason: str = "") -> dict[str, Any]:
        """See `rollouts.Watched`."""
        return await rollouts.move(self._context, to, by, reason)

    # -- what there is to see -----------------------------------------------------------------

    @property
    def leader(self) -> Leadership:
        """`is_leader`, `epoch`, and `leader_url` of whoever leads."""
        return self._context.leadership

    @property
    def rollout(self) -> Desk | None:
        """The candidate's, if there is one."""
        return self._context.rollout

    @property
    def store(self) -> Store:
        """For those who read: tables are in `services/store/schema.py`."""
        return self._context.store

    @property
    def settings(self) -> ControllerSettings:
        """As given."""
        return self._context.settings

    @property
    def halted(self) -> bool:
        """Rule 5: too many clusters fell silent at once, so nothing is taken back."""
        return self._context.halted

    @property
    def undecided(self) -> int:
        """Workflows that wait for a decision."""
        return self._planner.waiting

    def clusters(self) -> list[ClusterStatus]:
        """Every registered cluster, as the leader knows it."""
        return cluster_statuses(self._context)

    async def wait_events(self, after_seq: int, timeout_s: float) -> bool:
        """Whether there are events after `after_seq`, waiting up to `timeout_s` for one."""
        context, query = self._context, select(func.max(db.events.c.seq))
        until_s = context.clock.monotonic_s() + timeout_s
        while True:
            changed = context.changed
            last = await context.store.read(lambda connection: connection.scalar(query))
            if (last or 0) > after_seq:
                return True
            left_s = until_s - context.clock.monotonic_s()
            if left_s <= 0:
                return False
            await wait_for(changed, context.clock, min(left_s, LOOK_S))
