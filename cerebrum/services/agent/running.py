"""The agent's hand on its executor: starts, stops, forgets, fences, and what became of runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

from cerebrum.model.errors import CerebrumError, InputError
from cerebrum.model.protocols import Executor
from cerebrum.model.runs import RunPhase, RunStatus
from cerebrum.services.agent.leases import Leases
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.settings import AgentSettings
from cerebrum.services.agent.waiting import pause


class Runner:
    """Carries out the lifecycle's orders once they are stored. `problem`: the executor's last."""

    def __init__(
        self,
        ledger: Ledger,
        life: Lifecycle,
        leases: Leases,
        executor: Executor,
        settings: AgentSettings,
    ) -> None:
        self.ledger, self.life, self.leases = ledger, life, leases
        self.executor, self.settings = executor, settings
        self.to_act, self.to_reconcile = asyncio.Event(), asyncio.Event()
        self.problem = ""

    # -- orders -----------------------------------------------------------------------------

    async def act(self) -> None:
        """Wait for orders and carry them out."""
        await pause(self.ledger.clock, self.to_act)
        try:
            await self._carry_out()
        finally:
            self.life.in_hand.clear()

    async def _carry_out(self) -> None:
        async with self.ledger.turn():
            orders = self.life.orders
            starts = list(orders.starts)[: self.settings.starts]
            stops, forgets = dict(orders.stops), list(orders.forgets)
            for run_id in starts:
                del orders.starts[run_id]
            orders.stops.clear()
            orders.forgets.clear()
            self.life.in_hand.update(starts)
            renewals = self.leases.renewals()
            if orders.starts:
                self.to_act.set()
        await self._fence(renewals)
        await asyncio.gather(*(self._stop(run_id, *how) for run_id, how in stops.items()))
        await asyncio.gather(*(self._start(run_id) for run_id in starts))
        forgotten = [run_id for run_id in forgets if await self._forget(run_id)]
        if forgotten:
            async with self.ledger.turn():
                for run_id in forgotten:
                    run = self.ledger.runs.get(run_id)
                    if run is not None and run.phase.final:
                        self.ledger.remove(run)

    async def _start(self, run_id: str) -> None:
        run = self.ledger.runs.get(run_id)
        launch = self.life.launch(run) if run is not None and not run.stop else None
        if run is None or launch is None or run.phase is not RunPhase.STARTING:
            return
        held = self.ledger.assignments.get(self.ledger.tasks[run.uid].assignment)
        remaining_s = math.inf if held is None else self.leases.remaining_s(held)
        if remaining_s <= 0:
            return
        run.tries += 1
        if remaining_s < math.inf:  # before the start, lest we die between the two
            await self._try(self.executor.fence([run_id], remaining_s))
        try:
            await self.executor.start(launch)
        except InputError as refusal:
            async with self.ledger.turn():
                status = RunStatus(run_id, RunPhase.START_FAILED, reason=str(refusal))
                self.life.observe(status)
        except (CerebrumError, OSError) as problem:  # perhaps it did start: reconciling tells
            self.problem = str(problem)

    async def _stop(self, run_id: str, reason: str, grace_s: float) -> None:
        await self._try(self.executor.stop(run_id, reason, grace_s))
        run = self.ledger.runs.get(run_id)
        if run is not None and run.phase is RunPhase.STARTING:
            self.to_reconcile.set()  # it may never have begun; then nothing else will say so

    async def _forget(self, run_id: str) -> bool:
        return await self._try(self.executor.forget(run_id))

    async def _fence(self, renewals: dict[float, list[str]]) -> None:
        contact_s, clock = self.leases.contact_s, self.ledger.clock
        done = True
        for after_s, run_ids in renewals.items():
            remaining_s = max(0.0, contact_s + after_s - clock.monotonic_s())
            done &= await self._try(self.executor.fence(run_ids, remaining_s))
        if renewals and done:
            self.leases.fenced_at_s = contact_s

    async def _try(self, call: Awaitable[None]) -> bool:
        try:
            await call
        except (CerebrumError, OSError) as problem:
            self.problem = str(problem)
            return False
        return True

    # -- what became of it ------------------------------------------------------------------

    async def follow(self) -> None:
        """Wait for runs to change, and store what they say."""
        try:
            changes = await self.executor.next_changes()
        except (CerebrumError, OSError) as problem:  # its outside is away; what runs there goes on
            self.problem = str(problem)
            await self.ledger.clock.sleep(self.settings.retry_s)
            return
        if not changes:
            await self.reconcile_now()
            return
        try:
            async with self.ledger.turn():
                for status in changes:
                    self.life.observe(status)
        except BaseException:
            self.to_reconcile.set()  # they are not told twice: they have to be asked for
            raise

    async def reconcile(self) -> None:
        """Now and then: compare what we believe with what there is."""
        s = self.settings
        wait_s = s.reconcile_s if await self.reconcile_now() else min(s.retry_max_s, s.reconcile_s)
        await pause(self.ledger.clock, self.to_reconcile, wait_s)

    async def reconcile_now(self) -> bool:
        """Adopt what runs, end what is strange, give up what is gone; False if nobody can say."""
        async with self.ledger.turn():
            started = [
                run.run_id
                for run in self.ledger.runs.values()
                if not run.phase.final
                and run.run_id not in self.life.in_hand
                and run.run_id not in self.life.orders.starts
            ]
        try:
            statuses = await self.executor.runs()
        except (CerebrumError, OSError) as problem:
            self.problem = str(problem)
            return False
        async with self.ledger.turn():
            for status in statuses:
                self.life.observe(status)
            there = {status.run_id for status in statuses}
            for run_id in started:
                run = self.ledger.runs.get(run_id)
                if run is None or run.phase.final or run_id in self.life.in_hand:
                    continue
                if run_id not in there:
                    self.life.missing(run)
                elif run.stop:
                    self.life.orders.stops[run_id] = (run.stop, self.settings.grace_s)
        return True
