"""A policy tried on a small world: the shortest loop that drives one on the engine.

For conformance checks only: it uses nothing but the engine and checks more than an executor must.
"""

from __future__ import annotations

import heapq
from typing import Self

from cerebrum.engine.engine import Engine
from cerebrum.model.decisions import Action, Bind, Decision, Defer, Preempt, Reject, Wait
from cerebrum.model.errors import CerebrumError, InvalidEvent
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario

_MOST_DECISIONS = 1000  # at one time, in a world of 60 tasks


class ConformanceError(CerebrumError):
    """A policy breaks the contract. The message says what it did; correct the policy."""


class Trial:
    """One run; `decisions` holds when something was decided, and the actions."""

    def __init__(self, scenario: Scenario, policy: Policy, key: int = 7) -> None:
        self.engine, self.policy = Engine(scenario, key), policy
        self.tasks = scenario.tasks
        self.decisions: list[tuple[float, tuple[Action, ...]]] = []
        self._next: list[tuple[float, int, int, int]] = [
            (task.submit_s, int(EventKind.SUBMITTED), i, 0) for i, task in enumerate(self.tasks)
        ]
        heapq.heapify(self._next)

    def run(self) -> Self:
        """To the end, or until nothing more happens."""
        while self._next:
            now = self._next[0][0]
            while self._next and self._next[0][0] == now:
                _, kind, task, attempt = heapq.heappop(self._next)
                stale = attempt != self.engine.snapshot().tasks.attempts[task]
                if kind != EventKind.FINISHED or not stale:
                    self.engine.apply(Event(now, EventKind(kind), task))
            self._decide()
        return self

    def states(self) -> list[TaskState]:
        """How each task stands."""
        return [TaskState(int(state)) for state in self.engine.snapshot().tasks.state]

    def binds(self) -> list[Bind]:
        """Every bind of the run."""
        return [a for _, actions in self.decisions for a in actions if isinstance(a, Bind)]

    def _decide(self) -> None:
        for _ in range(_MOST_DECISIONS):
            snapshot = self.engine.snapshot()
            if not len(snapshot.pending):
                return
            decision = self.policy.decide(snapshot)
            if not isinstance(decision, Decision):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConformanceError(f"decide gives {decision!r}, not a Decision")
            if not decision:
                return
            self.decisions.append((self.engine.now_s, decision.actions))
            self._check_gangs(decision)
            for action in decision.actions:
                try:
                    self._perform(action)
                except InvalidEvent as problem:
                    message = f"{action} cannot be carried out: {problem}"
                    raise ConformanceError(message) from problem
        raise ConformanceError(f"still deciding after {_MOST_DECISIONS} decisions at one time")

    def _perform(self, action: Action) -> None:
        now, apply = self.engine.now_s, self.engine.apply
        match action:
            case Bind(task, row, gpus, ways):
                apply(Event(now, EventKind.BOUND, task, row, gpus, cache_ways=ways))
                apply(Event(now, EventKind.STARTED, task))
                end = now + self.tasks[task].duration_s / self.engine.nodes[row].speed
                if end < float("inf"):
                    attempt = int(self.engine.snapshot().tasks.attempts[task])
                    heapq.heappush(self._next, (end, int(EventKind.FINISHED), task, attempt))
            case Preempt(task):
                apply(Event(now, EventKind.PREEMPTED, task))
            case Reject(task, reason):
                apply(Event(now, EventKind.REJECTED, task, reason=reason))
            case Wait(task, reason):
                apply(Event(now, EventKind.UNSCHEDULABLE, task, reason=reason))
            case Defer(task, until_s):
                if not until_s > now:
                    raise ConformanceError(f"{action} does not lie after now ({now})")
                apply(Event(now, EventKind.DEFERRED, task, value=until_s))
                heapq.heappush(self._next, (until_s, int(EventKind.TIMER_FIRED), task, 0))

    def _check_gangs(self, decision: Decision) -> None:
        snapshot = self.engine.snapshot()
        bound = [action.task for action in decision.actions if isinstance(action, Bind)]
        for job in {int(snapshot.tasks.job_id[task]) for task in bound} - {-1}:
            need, members = snapshot.gang(job)
            begun = sum(snapshot.tasks.state[m] in (3, 4, 5) or int(m) in bound for m in members)
            if begun < need:
                raise ConformanceError(f"{begun} of a gang of {need} would run")
