"""The loop: ask the policy, carry out, ask again; in slices, so that the watch is heard meanwhile.

Between a decision and its entry in the mirror nothing can happen: both are one step of the event
loop. Binding goes on beside it, so decisions are optimistic, as kube-scheduler's are. A pod that
fits nowhere stays in the engine's queue and is looked at again when something was freed: that costs
nothing and says nothing. Back-off is for pods whose bind failed.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import Protocol

import structlog

from cerebrum.executors.kubernetes.counters import Counters
from cerebrum.executors.kubernetes.mirror import Held, Mirror
from cerebrum.model.decisions import Bind, Decision, Defer, Preempt, Reject, Wait
from cerebrum.model.errors import InfeasibleDecision, InvalidEvent
from cerebrum.model.events import EventKind, TaskState

_log = structlog.get_logger(__name__)
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 10.0
_IN_VAIN = 100_000  # decisions in a row that bound nothing: the policy goes round in circles
_PAUSE_S = 1.0
_REJECTED_S = 60.0  # a pod that a policy gives up is shown to it again after this long


class Effects(Protocol):
    """What is done about a decision; nothing of it waits."""

    def ready(self) -> bool:
        """Whether to decide now."""
        ...

    def bind(self, actions: Sequence[Bind]) -> None:
        """Give a pod, or all of a gang, its node."""
        ...

    def refused(self, held: Held, reason: int) -> None:
        """A pod fits nowhere; `reason` Refusal bits, as the policy said."""
        ...

    def preempt(self, victims: Sequence[Held], bind: Bind | None) -> None:
        """The policy ends pods, for the bind that follows."""
        ...


@dataclass(slots=True)
class Loop:
    """Decides for one mirror. `time_s` never goes back; `slice_s` is the longest it goes on."""

    mirror: Mirror
    effects: Effects
    counters: Counters
    time_s: Callable[[], float]
    slice_s: float = 0.003
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _timers: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    _in_vain: int = 0
    _not_before_s: float = -math.inf

    def wake(self) -> None:
        """Something changed that may matter."""
        self._woken.set()

    def later(self, held: Held, backoff_s: float) -> None:
        """Look at a deferred pod again after that long."""
        heapq.heappush(self._timers, (self.mirror.recorded.now_s + backoff_s, held.pod.uid))
        self.wake()

    def pause(self) -> None:
        """Decide nothing for a second."""
        self._not_before_s = self.time_s() + _PAUSE_S
        self.wake()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._sleep()
            self._woken.clear()
            while self.slice():
                await asyncio.sleep(0)

    async def _sleep(self) -> None:
        wait_s = None
        paused_s = self._not_before_s - self.time_s()
        if paused_s > 0:
            await asyncio.sleep(paused_s)
        if self._timers:
            wait_s = max(0.0, self._timers[0][0] - self.mirror.recorded.now_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    def slice(self) -> bool:
        """Decide for a few milliseconds; whether there is more to decide."""
        end_s = perf_counter() + self.slice_s
        while perf_counter() < end_s:
            if not self.effects.ready() or self.time_s() < self._not_before_s:
                return False
            try:
                self.mirror.flush()
                self._fire_timers()
                if not self._step():
                    return False
            except (InvalidEvent, InfeasibleDecision) as infeasible:
                self._trouble(str(infeasible))
            except Exception as bug:  # a user's policy may raise anything; the cluster goes on
                self._trouble(f"{type(bug).__name__}: {bug}\n{traceback.format_exc(limit=-5)}")
        return True

    def _step(self) -> bool:
        start_s, start_cpu_s = perf_counter(), thread_time()
        decision = self.mirror.recorded.decide()
        self.counters.decision_cpu_s.add(thread_time() - start_cpu_s)
        self.counters.decision_s.add(perf_counter() - start_s)
        if not decision:
            return False
        self._in_vain += 1
        self._carry_out(decision)
        if self._in_vain > _IN_VAIN:
            self._trouble("it never stops deciding")
        return True

    def _trouble(self, what: str) -> None:
        self.counters.policy_errors += 1
        self._in_vain = 0
        self.pause()
        _log.error("policy_failed", policy=self.mirror.recorded.policy.name, problem=what)

    def _carry_out(self, decision: Decision) -> None:
        by_task = self.mirror.by_task
        victims = [by_task[a.task] for a in decision.actions if isinstance(a, Preempt)]
        binds = [action for action in decision.actions if isinstance(action, Bind)]
        self.counters.attempts += len(decision.actions)
        if victims:  # what else was decided waits for the room that is being made
            self.effects.preempt(victims, binds[0] if binds else None)
            return
        if binds:
            self.effects.bind(binds)
            self._in_vain = 0
        for action in decision.actions:
            match action:
                case Wait(task, reason):
                    self.mirror.recorded.tell(EventKind.UNSCHEDULABLE, task, reason=reason)
                    self.effects.refused(by_task[task], reason)
                case Reject(task, reason):
                    self.set_aside(by_task[task], _REJECTED_S)
                    self.effects.refused(by_task[task], reason)
                case Defer(task, until_s):
                    self.set_aside(by_task[task], until_s - self.mirror.recorded.now_s)
                case Bind() | Preempt():
                    pass

    def set_aside(self, held: Held, seconds: float) -> None:
        """Do not show a waiting pod to the policy for so long."""
        self.mirror.defer(held, seconds)
        self.later(held, seconds)

    def _fire_timers(self) -> None:
        """The engine's clock moves by events only: an alarm is one."""
        recorded = self.mirror.recorded
        while self._timers and self._timers[0][0] <= recorded.now_s:
            _, uid = heapq.heappop(self._timers)
            held = self.mirror.held.get(uid)
            if held and held.task >= 0 and recorded.state(held.task) == TaskState.PENDING:
                recorded.tell(EventKind.TIMER_FIRED, held.task)
