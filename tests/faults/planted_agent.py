"""Mistakes planted in the agent."""

from __future__ import annotations

import itertools
from typing import Any

from cerebrum.model.runs import RunPhase
from cerebrum.services import wire
from cerebrum.services.agent import lifecycle
from cerebrum.services.agent.energy import Energy
from cerebrum.services.agent.holding import Holding
from cerebrum.services.agent.leases import Leases
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.link import REPORTS, Link
from cerebrum.services.agent.records import HeldState, HeldTask
from cerebrum.services.agent.running import Runner
from tests.faults.planted import Patch, bug

# -- taking in ------------------------------------------------------------------------------------


@bug
def ack_before_store(patch: Patch) -> None:
    """Offers are acknowledged while they are still being stored."""
    right = Link._take

    async def wrong(self: Any, answer: wire.Offers) -> bool:
        self._again |= {(offer.assignment, offer.generation) for offer in answer.offers}
        self.to_ack.set()
        return await right(self, answer)

    patch(Link, "_take", wrong)


@bug
def start_before_confirmed(patch: Patch) -> None:
    """What is stored is started, before the controller has said that it still may."""
    right = Lifecycle.hold

    def wrong(self: Any, assignment: Any, tasks: Any) -> None:
        right(self, assignment, tasks)
        self.confirm(assignment)

    patch(Lifecycle, "hold", wrong)


@bug
def dropped_is_started(patch: Patch) -> None:
    """An offer that was withdrawn is started all the same."""

    def wrong(self: Any, name: str, asked: Any) -> None:
        held = self.ledger.assignments.get(name)
        if held is not None and not held.confirmed:
            self.life.confirm(held)

    patch(Link, "_dropped", wrong)


# -- leases ---------------------------------------------------------------------------------------


@bug
def lease_counted_from_the_answer(patch: Patch) -> None:
    """Fences are counted from when the answer came, not from when its request was sent."""
    right = Leases.heard
    patch(Leases, "heard", lambda self, _: right(self, self._ledger.clock.monotonic_s()))


@bug
def no_fence_at_the_executor(patch: Patch) -> None:
    """Fences are left to the agent: what a dead one started runs on."""

    async def start(self: Any, run_id: str) -> None:
        run = self.ledger.runs.get(run_id)
        launch = self.life.launch(run) if run is not None and not run.stop else None
        if run is not None and launch is not None and run.phase is RunPhase.STARTING:
            run.tries += 1
            await self.executor.start(launch)

    patch(Runner, "_start", start)
    patch(Leases, "renewals", lambda self: {})


@bug
def fences_start_anew_after_a_restart(patch: Patch) -> None:
    """After a restart the agent counts its leases from the restart."""

    def wrong(self: Any) -> None:
        self.contact_s = self._ledger.clock.monotonic_s()

    patch(Leases, "load", wrong)


# -- reporting ------------------------------------------------------------------------------------


@bug
def report_deleted_before_confirmed(patch: Patch) -> None:
    """Reports are forgotten when they are sent."""

    async def wrong(self: Any) -> None:
        await self._is_registered.wait()
        batch = await self.ledger.outbox(REPORTS)
        if not batch:
            await self.ledger.clock.sleep(0.5)
            return
        async with self.ledger.turn():
            self.ledger.confirmed(batch[-1].seq)
        await self._ask(self.peer.report(wire.Report(**self._who(), reports=batch)))

    patch(Link, "report", wrong)


@bug
def sync_leaves_out_what_waits(patch: Patch) -> None:
    """What the agent holds and does not run is not named in a sync."""
    right = Link._sync_message

    async def wrong(self: Any) -> Any:
        message, generations = await right(self)
        tasks = {uid: state for uid, state in message.tasks.items() if state == "running"}
        return message.model_copy(update={"tasks": tasks}), generations

    patch(Link, "_sync_message", wrong)


@bug
def failure_reported_as_success(patch: Patch) -> None:
    """A run that ended by itself counts as done, whatever its exit code."""
    right = Lifecycle._failed

    def wrong(self: Any, task: Any, status: Any, more: Any) -> None:
        if status.phase is RunPhase.FAILED:
            self.placement.succeeded(task.uid, self._now)
            self._end(task, HeldState.SUCCEEDED, "", more)
        else:
            right(self, task, status, more)

    patch(Lifecycle, "_failed", wrong)


@bug
def no_second_attempt(patch: Patch) -> None:
    """The first failure of a task is its last."""
    right = Lifecycle._failed

    def wrong(self: Any, task: Any, status: Any, more: Any) -> None:
        task.failures = task.spec.max_attempts
        right(self, task, status, more)

    patch(Lifecycle, "_failed", wrong)


@bug
def energy_in_the_wrong_unit(patch: Patch) -> None:
    """A run is charged in watt-hours where joules are meant."""
    right = Energy.end
    patch(Energy, "end", lambda self, run_id, now_s: right(self, run_id, now_s) / 3600.0)


# -- running --------------------------------------------------------------------------------------


@bug
def run_ids_from_a_counter(patch: Patch) -> None:
    """Runs are named by a counter of the process."""
    numbers = itertools.count()
    patch(lifecycle, "run_id", lambda *_: f"cb-{next(numbers):024x}")


@bug
def attempts_not_stored(patch: Patch) -> None:
    """How often a task was started is forgotten with the process."""
    right = HeldTask.changing
    patch(HeldTask, "changing", lambda self: right(self) | {"attempts": 0})


@bug
def bound_task_lost_in_a_crash(patch: Patch) -> None:
    """What was bound and not yet started when the agent died is never started."""
    right, missing = Holding._order, Lifecycle.missing

    def order(self: Any, run: Any) -> None:
        if run.phase is not RunPhase.STARTING or run.stop:
            right(self, run)

    def ignore(self: Any, run: Any) -> None:
        if run.phase is not RunPhase.STARTING:
            missing(self, run)

    patch(Holding, "_order", order)
    patch(Lifecycle, "missing", ignore)


@bug
def capacity_forgotten_on_restart(patch: Patch) -> None:
    """After a restart the nodes look empty, though runs go on there."""
    right = Holding._put_back

    def wrong(self: Any, task: Any, now: float) -> None:
        if task.state not in (HeldState.BOUND, HeldState.RUNNING):
            right(self, task, now)

    patch(Holding, "_put_back", wrong)


@bug
def predecessors_forgotten_on_restart(patch: Patch) -> None:
    """After a restart no task waits for another."""
    right = Ledger._load

    async def wrong(self: Any) -> None:
        on_load, self.on_load = self.on_load, lambda: None
        try:
            await right(self)
        finally:
            self.on_load = on_load
        for task in self.tasks.values():
            task.waits_for = set()
        on_load()

    patch(Ledger, "_load", wrong)


@bug
def cancelled_runs_go_on(patch: Patch) -> None:
    """What is cancelled or dropped is forgotten, and its run goes on."""
    right = Holding.end_task

    def wrong(self: Any, task: Any, why: str, reason: str = "") -> None:
        if why == "fenced" or task.state not in (HeldState.BOUND, HeldState.RUNNING):
            right(self, task, why, reason)
            return
        run = self.ledger.runs[task.run_id]
        run.phase = RunPhase.STOPPED
        self.ledger.touch(run)
        task.state = HeldState.WAITING
        right(self, task, why, reason)

    patch(Holding, "end_task", wrong)


@bug
def fenced_tasks_go_on(patch: Patch) -> None:
    """A fence that closes ends nothing, at the agent or at its executor."""
    no_fence_at_the_executor(patch)
    patch(Leases, "expire", lambda self: None)
    patch(Leases, "next_s", lambda self: float("inf"))
