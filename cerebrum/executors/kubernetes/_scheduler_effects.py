"""What follows from a decision: binds, reports, preemptions, gangs, comparisons."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from cerebrum.executors.kubernetes import preemption, refusals
from cerebrum.executors.kubernetes._scheduler_intake import Intake
from cerebrum.executors.kubernetes.binder import Api, Binder, Fate, Order, Outcome
from cerebrum.executors.kubernetes.counters import Counters
from cerebrum.executors.kubernetes.deciding import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Loop
from cerebrum.executors.kubernetes.gangs import Gangs
from cerebrum.executors.kubernetes.making_room import MakingRoom
from cerebrum.executors.kubernetes.mirror import Held, Mirror, Phase
from cerebrum.executors.kubernetes.provisioning import Provisioning
from cerebrum.executors.kubernetes.reporting import Reporter
from cerebrum.executors.kubernetes.shadow import Shadow
from cerebrum.kube import names
from cerebrum.model.decisions import Bind
from cerebrum.model.events import TaskState, gpu_indices

_FULL = 512  # binds under way: deciding further ahead only hides who came since
_AGAIN_S = 0.02  # of every second, for waiting pods whose message may have changed


@dataclass(slots=True)
class Settings:
    """How to schedule; see `PodScheduler`."""

    scheduler_name: str
    preempt: bool
    concurrency: int
    wall: Callable[[], float]
    mode: Callable[[], Literal["bind", "shadow", "off"]]


class Effects:
    """Carries out decisions, and answers for what the mirror and the binder tell."""

    def __init__(
        self,
        api: Api,
        intake: Intake,
        mirror: Mirror,
        reporter: Reporter,
        counters: Counters,
        shadow: Shadow,
        settings: Settings,
    ) -> None:
        self._mirror = mirror
        self._intake = intake
        self._reporter = reporter
        self._counters = counters
        self._shadow = shadow
        self._settings = settings
        self.binder = Binder(api, self._bind_done, settings.concurrency)
        self.making_room = MakingRoom(
            api, mirror, reporter, counters, settings.scheduler_name, settings.wall, self._ask
        )
        self._provisioning = Provisioning(api, intake.storage.claims, intake.node_labels)
        self._preparing: set[asyncio.Task[None]] = set()
        self._again: deque[str] = deque()
        self.gangs = intake.gangs = Gangs(mirror, self._tell)
        self.loop = Loop(mirror, self, counters, time_s=mirror.recorded.now)
        mirror.on_wait = self._waits
        mirror.on_settled = self._settled
        mirror.on_gone = self._gone
        mirror.on_unfit = self._unfit

    # -- what the mirror tells ------------------------------------------------------------------

    def _waits(self, held: Held) -> bool:
        """One of ours waits: now, or with its group, or never as it is."""
        if held.pod.problem:
            self._tell(held, held.pod.problem)
            return False
        if held.pod.group:
            self.gangs.add(held)
            return False
        return True

    def _settled(self, held: Held, before: Phase, chosen: str) -> None:
        if held.pod.group:
            self.gangs.decided(held)
        if before is Phase.ARRIVED and not chosen:
            return  # it was bound when we first saw it
        self.making_room.gone(held)
        self._reporter.told_no_more(held.pod)
        if self._settings.mode() == "shadow":
            self._shadow.settled(held, held.node)
        elif before is Phase.ASSUMED:
            self._counters.waited_s.add(self._mirror.recorded.now_s - held.since_s)

    def _gone(self, held: Held) -> None:
        if held.pod.group:
            self.gangs.gone(held)
        self.making_room.gone(held)
        self._shadow.forget(held)
        self._reporter.told_no_more(held.pod)

    def _unfit(self, held: Held, why: str) -> None:
        """The engine has no place for what a pod asks; a bound one is not counted then."""
        self._counters.unreadable += 1
        if not held.pod.node:
            self._tell(held, why)

    # -- what the loop asks ---------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether to decide now: not while so many binds are under way, nor when switched off."""
        return self._settings.mode() != "off" and self.binder.backlog < _FULL

    def bind(self, actions: Sequence[Bind]) -> None:
        """A pod, or a whole gang, is given its nodes."""
        if self._settings.mode() == "shadow":
            for action in actions:
                node = self._mirror.recorded.engine.node_names[action.row]
                self._shadow.deciding(self._mirror, action.task, node)
        assumed = [self._mirror.assume(a.task, a.row, a.gpus, a.cache_ways) for a in actions]
        for held in assumed:
            if held.pod.group:
                self.gangs.decided(held)
            if self._settings.mode() == "bind":
                self._ask(held)

    def refused(self, held: Held, reason: int) -> None:
        """A pod fits nowhere: make room for it, or say why."""
        self._counters.unschedulable += 1
        if self._settings.mode() == "bind":
            self._explain(held)

    def preempt(self, victims: Sequence[Held], bind: Bind | None) -> None:
        """The policy ends pods, for the one it binds there next."""
        if bind is None:
            self._end_for_nobody(victims)
            return
        by = self._mirror.by_task[bind.task]
        if self._settings.mode() != "bind" or not by.pod.preempts:
            self.loop.set_aside(by, LONGEST_BACKOFF_S)
            return
        self._mirror.nominate(bind.task, bind.row, bind.gpus, bind.cache_ways)
        self.making_room.start(victims, by)

    def _end_for_nobody(self, victims: Sequence[Held]) -> None:
        """Nothing changes for the policy until they are gone, so it is not asked again at once."""
        self.loop.pause()
        if self._settings.mode() == "bind":
            self.making_room.start(victims, None)

    # -- binding ----------------------------------------------------------------------------------

    def _ask(self, held: Held) -> None:
        pod = held.pod
        notes: dict[str, str] = {}
        if held.gpus:
            notes[names.GPU_INDEX] = "-".join(str(gpu) for gpu in gpu_indices(held.gpus))
        order = Order(pod.namespace, pod.name, pod.uid, held.node, notes)
        if pod.volumes.to_bind or pod.volumes.to_provision:
            task = asyncio.get_running_loop().create_task(self._prepare(held, order))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        else:
            self.binder.submit(order)

    async def _prepare(self, held: Held, order: Order) -> None:
        problem = await self._provisioning.prepare(order, held.pod.volumes)
        if problem:
            self._bind_done(order, Outcome(Fate.REFUSED, message=problem))
        else:
            self.binder.submit(order)

    def close(self) -> None:
        """End what waits for volumes."""
        for task in self._preparing:
            task.cancel()

    def _bind_done(self, order: Order, outcome: Outcome) -> None:
        held = self._mirror.held.get(order.uid)
        counters = self._counters
        counters.conflicts += outcome.conflict
        self.loop.wake()
        match outcome.fate:
            case Fate.BOUND:
                counters.binds += 1
                if held is not None:
                    held.failures = 0
                    counters.bind_s.add(self._mirror.recorded.now_s - held.decided_s)
                    self._reporter.scheduled(held.pod, order.node)
            case Fate.ELSEWHERE:
                counters.elsewhere += 1
                if held is not None:
                    self._mirror.reassume(held, outcome.node)
            case Fate.GONE | Fate.HELD_BACK:
                counters.gone += 1
                self._mirror.bury(order.uid)
            case Fate.REFUSED:
                counters.refused += 1
                if held is not None:
                    self._failed(held, outcome.message)

    def _failed(self, held: Held, message: str) -> None:
        if held.phase is not Phase.ASSUMED:
            return
        held.failures += 1
        backoff_s = min(FIRST_BACKOFF_S * 2 ** (held.failures - 1), LONGEST_BACKOFF_S)
        self._mirror.release(held, backoff_s)
        self.loop.later(held, backoff_s)
        self._reporter.failed_binding(held.pod, message, first=not held.said)
        held.said = message

    # -- saying why -------------------------------------------------------------------------------

    def _explain(self, held: Held) -> None:
        bits = refusals.bits_of(self._mirror, held)
        may = self._settings.preempt and held.pod.preempts
        if may:
            plan = preemption.plan(self._mirror, held, bits, self._intake.budgets())
            if plan is not None:
                text = refusals.text(self._mirror, held, bits, tried=False)
                self._tell(held, text)
                ways = held.pod.task_class.resources.cache_ways
                self._mirror.nominate(held.task, plan.row, plan.gpus, ways)
                self.making_room.start(plan.victims, held)
                return
        self._tell(held, refusals.text(self._mirror, held, bits, tried=self._settings.preempt))

    def _tell(self, held: Held, message: str) -> None:
        """Once for each thing there is to say."""
        if self._settings.mode() == "bind" and message != held.said:
            self._reporter.unschedulable(held.pod, message, first=not held.said)
            held.said = message

    def look_again(self) -> None:
        """From now on every waiting pod is looked at once more, a few each second."""
        if not self._again:
            self._again.extend(held.pod.uid for held in self._mirror.waiting() if held.said)

    def tick(self) -> None:
        """A second has passed."""
        for uid in self._shadow.overdue():
            if (held := self._mirror.held.get(uid)) and held.phase is Phase.ASSUMED:
                self._mirror.aside(held)
        end_s = perf_counter() + _AGAIN_S
        while self._again and perf_counter() < end_s:
            held = self._mirror.held.get(self._again.popleft())
            if held is None or held.phase is not Phase.QUEUED or held.pod.group:
                continue
            if self._mirror.recorded.state(held.task) == TaskState.PENDING:
                self._explain(held)
                self.loop.wake()

    def gauge(self) -> None:
        """Count what there is now."""
        # By identity: hashing 50,000 members of an enum takes fifty milliseconds.
        phases = Counter(id(held.phase) for held in self._mirror.held.values())
        c = self._counters
        c.queued = phases[id(Phase.QUEUED)] + phases[id(Phase.ARRIVED)]
        c.aside, c.assumed = phases[id(Phase.ASIDE)], phases[id(Phase.ASSUMED)]
        c.nominated = phases[id(Phase.NOMINATED)]
        c.nodes, c.pods = len(self._mirror.nodes), len(self._mirror.held)
        c.events_dropped, c.reports_waiting = self._reporter.dropped, self._reporter.backlog
