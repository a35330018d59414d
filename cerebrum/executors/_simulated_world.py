"""The world of simulated runs: which there are, what becomes of them, and what goes wrong.

The world has no task and no thread of its own. What happens next is a heap of moments on its clock;
whoever looks first lets everything happen whose moment has come. So the same seed and the same
calls at the same times give the same history, under a real clock or a virtual one.

A run is STARTING for `start_s + stage_in_s`, then RUNNING for `duration_s / speed`, times a factor
if it is a straggler. The draws of a run depend on the seed and the run's id alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from cerebrum.model.errors import InputError
from cerebrum.model.runs import Launch, RunPhase, RunStatus

_TOLERANCE_S = 1e-6  # `now + (then - now)` may miss `then` by a rounding error, and never arrive
_MAX_UNREAD = 100_000  # changes kept for a hand that does not look; then it must see `runs` again


class Clock(Protocol):
    """What the world needs of time."""

    def unix_s(self) -> float:
        """Seconds since 1970, for people."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the monotonic clock."""
        ...


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong: probabilities per attempt, in 0..1.

    `failures` end an attempt at a uniform share of its run time with exit code 1;
    `start_failures` never run; `stragglers` run `straggler_factor` times as long.
    """

    failures: float = 0.0
    start_failures: float = 0.0
    stragglers: float = 0.0
    straggler_factor: float = 5.0

    def __post_init__(self) -> None:
        for name in ("failures", "start_failures", "stragglers"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected 0..1, got {getattr(self, name)}").at(field=name)
        if not (math.isfinite(self.straggler_factor) and self.straggler_factor >= 1):
            raise InputError(f"expected at least 1, got {self.straggler_factor}").at(
                field="straggler_factor"
            )


@dataclass(slots=True)
class _Run:
    """One run in the world. `ends` is how it ends if nobody interferes."""

    launch: Launch
    status: RunStatus
    ends: tuple[RunPhase, int, str] = (RunPhase.SUCCEEDED, 0, "")


@dataclass(eq=False, slots=True)
class Hand:
    """What one executor has not been told yet. `lost`: it must see `runs` again."""

    unread: list[RunStatus] = field(default_factory=list[RunStatus])
    lost: bool = False
    waker: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let a waiting `next_changes` look again."""
        if self.waker is not None and not self.waker.done():
            self.waker.set_result(None)


class SimulatedNodes:
    """The world of simulated runs: what a cluster of nodes is for a real executor.

    `rng` seeds the draws (None: seed 0); `start_s` seconds from a start to the run's beginning, on
    top of what staging takes.
    """

    def __init__(
        self,
        clock: Clock,
        rng: np.random.Generator | None = None,
        faults: Faults | None = None,
        start_s: float = 0.0,
    ) -> None:
        if not (math.isfinite(start_s) and start_s >= 0):
            raise InputError(f"expected finite seconds, got {start_s}").at(field="start_s")
        self.clock = clock
        self.faults = faults or Faults()
        self._key = 0 if rng is None else int(rng.integers(2**62))
        self._start_s = start_s
        self._runs: dict[str, _Run] = {}
        self._fences: dict[str, float] = {}  # run id -> monotonic seconds
        self._lost: set[str] = set()  # nodes
        self._moments: list[tuple[float, int, str, str]] = []  # when, tie, what, run id
        self._ties = 0
        self._hands: list[Hand] = []

    # -- what an executor asks for ------------------------------------------------------------

    def start(self, launch: Launch) -> None:
        """Begin a run; nothing if its id is known."""
        self.advance()
        if launch.run_id in self._runs:
            return
        status = RunStatus(launch.run_id, RunPhase.STARTING, launch.task, launch.node)
        run = self._runs[launch.run_id] = _Run(launch, status)
        if launch.node in self._lost:
            self._end(run, RunPhase.START_FAILED, None, "node lost", self._now)
            return
        self._at(self._now + self._start_s + launch.stage_in_s, "begin", launch.run_id)
        self._wake()

    def stop(self, run_id: str, reason: str) -> None:
        """End a run now; nothing if it is unknown or over."""
        self.advance()
        if run_id in self._runs:
            self._end(self._runs[run_id], RunPhase.STOPPED, -15, reason, self._now)

    def fence(self, run_id: str, seconds: float | None) -> None:
        """Replace the deadline of a run, started or not."""
        self.advance()
        if seconds is None:
            self._fences.pop(run_id, None)
            return
        self._fences[run_id] = self._now + seconds
        self._at(self._now + seconds, "fence", run_id)
        self._wake()

    def forget(self, run_id: str) -> None:
        """Drop an ended run; nothing if it is unknown or still going."""
        self.advance()
        if run_id in self._runs and self._runs[run_id].status.phase.final:
            del self._runs[run_id]
            self._fences.pop(run_id, None)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def statuses(self) -> list[RunStatus]:
        """Every run, in the order of their starts."""
        self.advance()
        return [run.status for run in self._runs.values()]

    # -- what a test or a fault simulation does to it -----------------------------------------

    def lose_node(self, node: str) -> None:
        """Every run on `node` is FAILED with the reason "node lost"; new ones cannot start."""
        self.advance()
        self._lost.add(node)
        for run in list(self._runs.values()):
            if run.launch.node == node:
                self._end(run, RunPhase.FAILED, None, "node lost", self._now)

    def restore_node(self, node: str) -> None:
        """`node` can start runs again."""
        self.advance()
        self._lost.discard(node)

    # -- time ---------------------------------------------------------------------------------

    def advance(self) -> None:
        """Let everything happen whose moment has come, in order; ties in the order of asking."""
        self._now = self.clock.monotonic_s()
        while self._moments and self._moments[0][0] <= self._now + _TOLERANCE_S:
            when, _, what, run_id = heapq.heappop(self._moments)
            self._happen(when, what, run_id)

    def next_in_s(self) -> float:
        """Seconds until something happens by itself: 0 for now, inf for never."""
        if not self._moments:
            return math.inf
        return max(0.0, self._moments[0][0] - self.clock.monotonic_s())

    def attach(self) -> Hand:
        """A place where changes from now on are kept until they are read."""
        self.advance()
        hand = Hand()
        self._hands.append(hand)
        return hand

    def detach(self, hand: Hand) -> None:
        """Keep no more changes there."""
        if hand in self._hands:
            self._hands.remove(hand)

    def _at(self, when: float, what: str, run_id: str) -> None:
        if when < math.inf:
            heapq.heappush(self._moments, (when, self._ties, what, run_id))
            self._ties += 1

    def _happen(self, when: float, what: str, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None or run.status.phase.final:
            return
        if what == "begin" and run.status.phase is RunPhase.STARTING:
            self._begin(run, when)
        elif what == "end" and run.status.phase is RunPhase.RUNNING:
            self._end(run, *run.ends, when)
        elif what == "fence" and self._fences.get(run_id) == when:
            self._end(run, RunPhase.STOPPED, -9, "fenced", when)

    def _begin(self, run: _Run, when: float) -> None:
        launch, status = run.launch, run.status
        refusal, fail_at, slow = self._draws(launch.run_id)
        if self._fences.get(launch.run_id, math.inf) <= when:
            self._end(run, RunPhase.STOPPED, None, "fenced", when)
        elif refusal:
            self._end(run, RunPhase.START_FAILED, None, "simulated start failure", when)
        else:
            began = replace(status, phase=RunPhase.RUNNING, started_unix_s=self._unix_s(when))
            self._tell(run, began)
            length_s = launch.duration_s / launch.speed * slow
            run.ends, length_s = _ending(launch, length_s, fail_at)
            self._at(when + length_s, "end", launch.run_id)

    def _end(
        self, run: _Run, phase: RunPhase, exit_code: int | None, reason: str, when: float
    ) -> None:
        status = run.status
        if status.phase.final:
            return
        if status.phase is RunPhase.STARTING:
            exit_code = None
            if phase is RunPhase.FAILED:
                phase = RunPhase.START_FAILED
        ended = replace(
            status, phase=phase, exit_code=exit_code, reason=reason,
            ended_unix_s=self._unix_s(when),
        )  # fmt: skip
        self._tell(run, ended)

    def _draws(self, run_id: str) -> tuple[bool, float, float]:
        """Whether the start fails, the share of the run time at which it fails, its slowness."""
        digest = hashlib.sha256(f"{self._key}\0{run_id}".encode()).digest()
        start, fail, share, slow = (
            int.from_bytes(digest[i : i + 8], "big") / 2**64 for i in (0, 8, 16, 24)
        )
        faults = self.faults
        return (
            start < faults.start_failures,
            share if fail < faults.failures else math.inf,
            faults.straggler_factor if slow < faults.stragglers else 1.0,
        )

    def _unix_s(self, when: float) -> float:
        return self.clock.unix_s() - (self._now - when)

    def _tell(self, run: _Run, status: RunStatus) -> None:
        run.status = status
        for hand in self._hands:
            if len(hand.unread) >= _MAX_UNREAD:
                hand.unread.clear()
                hand.lost = True
            hand.unread.append(status)
            hand.wake()

    def _wake(self) -> None:
        for hand in self._hands:
            hand.wake()


def _ending(
    launch: Launch, length_s: float, fail_at: float
) -> tuple[tuple[RunPhase, int, str], float]:
    """How a run of `length_s` ends if nobody interferes, and after how many seconds."""
    timeout_s = launch.program.timeout_s
    ends = (RunPhase.SUCCEEDED, 0, "")
    if fail_at < 1:
        ends, length_s = (RunPhase.FAILED, 1, "simulated failure"), length_s * fail_at
    if length_s > timeout_s:
        ends, length_s = (RunPhase.FAILED, -9, f"timed out after {timeout_s:g} s"), timeout_s
    return ends, length_s
