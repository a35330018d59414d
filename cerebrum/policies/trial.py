"""A policy tried on a small world: the shortest loop that drives one on the engine.

For conformance checks only: it uses nothing but the engine and checks more than an executor must.
"""

from __future__ import annotations

import heapq
from typing import Self

from cerebrum.engine.actions import check_gangs, event_of
from cerebrum.engine.engine import Engine
from cerebrum.model.decisions import Action, Bind, Decision, Defer
from cerebrum.model.errors import CerebrumError, InfeasibleDecision, InvalidEvent
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
            self._carry_out(decision)
        raise ConformanceError(f"still deciding after {_MOST_DECISIONS} decisions at one time")

    def _carry_out(self, decision: Decision) -> None:
        tried: object = decision
        try:
            check_gangs(self.engine, decision)
            for tried in decision.actions:
                self.engine.apply(event_of(tried, self.engine.now_s))
        except (InfeasibleDecision, InvalidEvent) as problem:
            raise ConformanceError(f"{tried} cannot be carried out: {problem}") from problem
        for action in decision.actions:
            self._follow(action)

    def _follow(self, action: Action) -> None:
        """What comes of it: a bind starts at once and ends, a deferral wakes up."""
        now = self.engine.now_s
        if isinstance(action, Defer):
            timer = (action.until_s, int(EventKind.TIMER_FIRED), action.task, 0)
            heapq.heappush(self._next, timer)
        if isinstance(action, Bind):
            task = action.task
            self.engine.apply(Event(now, EventKind.STARTED, task))
            end = now + self.tasks[task].duration_s / self.engine.nodes[action.row].speed
            if end < float("inf"):
                attempt = int(self.engine.snapshot().tasks.attempts[task])
                heapq.heappush(self._next, (end, int(EventKind.FINISHED), task, attempt))
