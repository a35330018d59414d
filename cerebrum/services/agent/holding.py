"""What an agent holds, with its engine, its meters and its timers: made from the ledger, and ended.

Everything here happens inside a turn of the ledger and does no I/O. What is to be done outside
(runs to start, stop or forget) is left in `orders`, for the runner to take once it is stored.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cerebrum.model.program import Program
from cerebrum.model.protocols import Policy
from cerebrum.model.resources import Resources
from cerebrum.model.runs import RunPhase
from cerebrum.model.scenario import NodeChange
from cerebrum.model.tasks import TaskClass
from cerebrum.services.agent.energy import Energy
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.placing import Placeable, Placed, Placement
from cerebrum.services.agent.records import HeldRun, HeldState, HeldTask
from cerebrum.services.agent.settings import AgentSettings
from cerebrum.services.wire import TaskSpec

_INT32 = 2**31 - 1
_LONGEST_BACKOFF_S = 86_400.0


@dataclass(slots=True)
class Orders:
    """What the executor is to be told: run ids, and why and how politely to stop."""

    starts: dict[str, None] = field(default_factory=dict[str, None])
    stops: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    forgets: dict[str, None] = field(default_factory=dict[str, None])

    def __bool__(self) -> bool:
        return bool(self.starts or self.stops or self.forgets)


class Holding:
    """The living state: `placement` (engine and policy), `energy`, `orders`, timers.

    It is built from the ledger whenever that was read. `nodes` are those of this moment, by name.
    `expected_s` says how long a task will probably run (inf: unknown); `finished` is told each run
    time, for the next prediction.
    """

    placement: Placement
    energy: Energy

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        settings: AgentSettings,
        expected_s: Callable[[TaskSpec], float],
        finished: Callable[[TaskSpec, float], None],
    ) -> None:
        self.ledger, self.policy, self.settings = ledger, policy, settings
        self.orders = Orders()
        self.in_hand: set[str] = set()  # run ids the runner is starting at this moment
        self.problem = ""
        self._expected_s, self._finished = expected_s, finished
        self.nodes = {node.name: node for node in settings.nodes}
        self._followers: dict[str, list[str]] = {}
        self._timers: list[tuple[float, str]] = []
        self._decided_at = -1

    @property
    def _now(self) -> float:
        return self.ledger.clock.monotonic_s()

    # -- building ---------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make engine, meters, timers and orders anew from what the ledger holds."""
        ledger, now = self.ledger, self._now
        ledger.set("session", int(ledger.values.get("session", 0)) + 1)
        self.placement = Placement(
            self.settings.cluster, tuple(self.nodes.values()), self.policy,
            int(ledger.values["key"]), self.settings.policy, self.settings.candidate,
        )  # fmt: skip
        self.orders, self._timers, self._followers, self._decided_at = Orders(), [], {}, -1
        self._restore_energy(now)
        held = sorted(ledger.tasks.values(), key=lambda task: task.number)
        for task in held:
            self._follow(task)
        active = [task for task in held if task.state is not HeldState.UNCONFIRMED]
        self.placement.admit(self._placeable(task) for task in active)
        for task in active:
            self._put_back(task, now)
        for run in ledger.runs.values():
            self._order(run)
        for name in self.cordoned:
            if name in self.nodes:
                self.placement.change_node(name, NodeChange.CORDON, now)

    def journal(self) -> None:
        """Store the engine's journal with this turn."""
        entries = self.placement.take_entries()
        if entries:
            self.ledger.journal(int(self.ledger.values["session"]), entries)

    def renew(self) -> None:
        """Replace an engine that is full of ended tasks, or whose journal has grown long."""
        if self.placement.crowded or self.placement.written > self.settings.keep_journal:
            self.journal()
            self.rebuild()

    def _restore_energy(self, now: float) -> None:
        self.energy = Energy(self.nodes.values(), now)
        ahead = {
            node: self.energy.restore(node, totals) for node, totals in self.ledger.energy.items()
        }
        for run in self.ledger.runs.values():
            if run.phase is RunPhase.RUNNING and run.started_s is not None:
                task = self.ledger.tasks.get(run.uid)
                resources = task.spec.resources if task is not None else Resources()
                since_s = run.started_s - ahead.get(run.node, 0) / 1e6
                self.energy.resume(run.run_id, run.node, resources, since_s)

    def _put_back(self, task: HeldTask, now: float) -> None:
        match task.state:
            case HeldState.WAITING:
                self.placement.submit(task.uid, now)
                # The time may be of the clock before a reboot, and mean anything on this one.
                task.not_before_s = min(task.not_before_s, now + back_off_s(task))
                self._hold_back(task, now)
            case HeldState.BOUND | HeldState.RUNNING:
                run = self.ledger.runs[task.run_id]
                placed = Placed(task.uid, run.node, run.gpus, run.cache_ways)
                self.placement.rebind(placed, now, task.state is HeldState.RUNNING)
            case HeldState.BLOCKED if not task.waits_for:
                self._ready(task, now)
            case _:
                pass

    def _order(self, run: HeldRun) -> None:
        if run.phase.final:
            self.orders.forgets[run.run_id] = None
        elif run.stop:
            self.orders.stops[run.run_id] = (run.stop, self._grace_s(run.stop))
        elif run.phase is RunPhase.STARTING:
            self.orders.starts[run.run_id] = None

    def _placeable(self, task: HeldTask) -> Placeable:
        held = self.ledger.assignments[task.assignment]
        return Placeable(
            task.uid,
            TaskClass(task.spec.resources, tuple(task.spec.gpu_models)),
            max(-_INT32, min(_INT32, held.priority)),
            min(held.arrived_s, self._now),
            task.rank_s,
            self._expected_s(task.spec),
        )

    def _follow(self, task: HeldTask) -> None:
        for uid in task.waits_for:
            self._followers.setdefault(uid, []).append(task.uid)

    def _ready(self, task: HeldTask, now: float) -> None:
        task.state = HeldState.WAITING
        self.ledger.touch(task)
        if not self.placement.knows(task.uid):
            self.placement.admit([self._placeable(task)])
        self.placement.submit(task.uid, now)

    def _hold_back(self, task: HeldTask, now: float) -> None:
        if task.not_before_s > now:
            self.placement.defer(task.uid, now, task.not_before_s)
            heapq.heappush(self._timers, (task.not_before_s, task.uid))

    def next_timer_s(self) -> float:
        """Monotonic time at which a held-back task may be placed; inf: there is none."""
        return self._timers[0][0] if self._timers else math.inf

    def backlog_core_s(self) -> float:
        """Work held that has not ended, core-seconds at speed 1; unknown run times count as 0."""
        return sum(
            expected_s * max(1, task.spec.cpu_milli) / 1000
            for task in self.ledger.tasks.values()
            if (expected_s := self._expected_s(task.spec)) < math.inf
        )

    # -- ends -------------------------------------------------------------------------------

    def end_task(self, task: HeldTask, why: str, reason: str = "") -> None:
        """End a held task: `why` is cancelled, fenced or dropped. A run is stopped first."""
        if task.ending in ("fenced", "dropped") and why == "cancelled":
            return
        if task.state is HeldState.UNCONFIRMED and why != "dropped":
            return  # not ours yet: the controller takes it back, or says it again later
        if task.state in (HeldState.BOUND, HeldState.RUNNING):
            task.ending, task.reason = why, reason or why
            self.ledger.touch(task)
            self.stop_run(task, why)
            return
        self.placement.cancelled(task.uid, self._now)
        if why == "dropped":
            self._drop(task)
            return
        task.ending = why
        self.ledger.event("cancelled", task, reason=reason or why, generation=task.generation)
        self._end(task, HeldState.CANCELLED, reason or why)

    def stop_run(self, task: HeldTask, why: str) -> None:
        """Ask for the end of a task's run."""
        run = self.ledger.runs[task.run_id]
        if run.phase.final or run.stop == why:
            return
        run.stop = why
        self.ledger.touch(run)
        self.orders.starts.pop(run.run_id, None)
        self.orders.stops[run.run_id] = (why, self._grace_s(why))

    def _grace_s(self, why: str) -> float:
        return 0.0 if why == "fenced" else self.settings.grace_s

    def _end(
        self, task: HeldTask, state: HeldState, reason: str, more: dict[str, Any] | None = None
    ) -> None:
        task.state, task.reason = state, reason[:8000]
        task.ended_unix_s = self.ledger.clock.unix_s()
        change = "succeeded" if state is HeldState.SUCCEEDED else "failed"
        if state is HeldState.CANCELLED:
            change = "cancelled"
        self.ledger.report(task, change, reason=task.reason, **(more or {}))
        self._leave(task)
        self.ledger.let_go(task)
        self._tell_followers(task)

    def _drop(self, task: HeldTask) -> None:
        self.placement.cancelled(task.uid, self._now)
        self.ledger.event("dropped", task, assignment=task.assignment, generation=task.generation)
        self._leave(task)
        self.ledger.remove(task)

    def _leave(self, task: HeldTask) -> None:
        held = self.ledger.assignments.get(task.assignment)
        if held is None:
            return
        held.tasks.discard(task.uid)
        if not held.tasks:
            self.ledger.let_go(held)

    def _tell_followers(self, task: HeldTask) -> None:
        for uid in self._followers.pop(task.uid, []):
            follower = self.ledger.tasks.get(uid)
            if follower is None:
                continue
            if task.state is HeldState.SUCCEEDED:
                follower.waits_for.discard(task.uid)
                if not follower.waits_for and follower.state is HeldState.BLOCKED:
                    self._ready(follower, self._now)
            elif task.ending != "fenced":
                reason = f"{task.uid} {task.state}"
                if follower.state is HeldState.BLOCKED:
                    self.end_task(follower, "cancelled", reason)
                else:  # not confirmed yet: it ends when it is
                    follower.ending, follower.reason = "cancelled", reason
                    self.ledger.touch(follower)

    # -- nodes ------------------------------------------------------------------------------

    @property
    def cordoned(self) -> list[str]:
        """Nodes that take nothing new by an operator's word."""
        return list(self.ledger.values.get("cordoned", []))

    def change_node(self, name: str, change: NodeChange) -> None:
        """Cordon, uncordon or drain; draining sends what runs there back to the queue."""
        cordoned = set(self.cordoned)
        cordon = change is not NodeChange.UNCORDON
        if (name in cordoned) is not cordon:
            (cordoned.add if cordon else cordoned.discard)(name)
            self.ledger.set("cordoned", sorted(cordoned))
            kind = NodeChange.CORDON if cordon else NodeChange.UNCORDON
            self.placement.change_node(name, kind, self._now)
            self.ledger.event_of("node_changed", "", "", name=name, change=str(change))
        if change is NodeChange.DRAIN:
            for task in self.ledger.tasks.values():
                if task.node == name and task.state in (HeldState.BOUND, HeldState.RUNNING):
                    self.stop_run(task, "drained")

    def _meter(self, node: str) -> None:
        if node in self.energy:
            self.ledger.meter(node, self.energy.totals(node, self._now))


def back_off_s(task: HeldTask) -> float:
    """How long a task waits after its last failure, doubled with each; 0 before the first."""
    if not task.failures:
        return 0.0
    return min(_LONGEST_BACKOFF_S, task.spec.backoff_s * 2.0 ** (task.failures - 1))


def program_of(spec: TaskSpec) -> Program:
    """What a task runs. Raises `InputError`."""
    return Program(
        tuple(spec.command), spec.image, dict(spec.env), spec.workdir,
        math.inf if spec.timeout_s is None else spec.timeout_s, spec.max_attempts, spec.backoff_s,
    )  # fmt: skip
