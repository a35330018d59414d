"""Simulated runs on a virtual clock: exact times, drawn faults, nothing left to chance."""

from __future__ import annotations

import asyncio
import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.executors.simulated_runs import Faults, SimulatedNodes, SimulatedRuns
from cerebrum.model.errors import InputError
from cerebrum.model.program import Program
from cerebrum.model.runs import Launch, RunPhase


class VirtualClock:
    """Time that only passes when everybody sleeps: `run_virtual` moves it."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_s = start_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def unix_s(self) -> float:
        return 1.7e9 + self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now_s + seconds, self._count, future))
        await future

    async def run(self, story):
        """Run a coroutine to its end; whenever it waits, go to the next sleeper."""
        task = asyncio.ensure_future(story)
        while not task.done():
            for _ in range(20):  # let everything settle that needs no time
                await asyncio.sleep(0)
            if task.done():
                break
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            assert self._sleepers, "everybody waits, and for nothing"
            self.now_s, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)
        return task.result()


def play(story, faults: Faults | None = None, seed: int = 0, start_s: float = 0.0):
    """Run `story(clock, world, executor)` in virtual time; what it returns."""

    async def main():
        clock = VirtualClock()
        world = SimulatedNodes(clock, np.random.default_rng(seed), faults, start_s)
        return await clock.run(story(clock, world, SimulatedRuns(world)))

    return asyncio.run(main())


async def history(clock, executor, ends: int) -> list[tuple[float, str, str, str]]:
    """(seconds since 1000, run, phase, reason) until so many runs have ended."""
    told = []
    while sum(RunPhase(row[2]).final for row in told) < ends:
        told += [
            (round(clock.now_s - 1000, 9), s.run_id, s.phase.value, s.reason)
            for s in await executor.next_changes()
        ]
    return told


def test_a_run_takes_its_staging_and_its_duration_over_the_speed() -> None:
    async def story(clock, world, executor):
        await executor.start(Launch("a", "a", "n", duration_s=10.0, stage_in_s=3.0, speed=2.0))
        await executor.start(Launch("b", "b", "n", duration_s=1.0))
        return await history(clock, executor, 2)

    assert play(story, start_s=0.5) == [
        (0.5, "b", "running", ""),
        (1.5, "b", "succeeded", ""),
        (3.5, "a", "running", ""),
        (8.5, "a", "succeeded", ""),
    ]


def test_times_of_a_status_are_exact() -> None:
    async def story(clock, world, executor):
        await executor.start(Launch("a", "a", "n", duration_s=0.1, stage_in_s=0.2))
        await clock.sleep(50.0)  # nobody looks when it happens
        (status,) = await executor.runs()
        return status.started_unix_s - 1.7e9, status.ended_unix_s - 1.7e9

    assert play(story) == pytest.approx((1000.2, 1000.3), abs=1e-6)


def test_a_timeout_ends_a_run_at_its_limit() -> None:
    async def story(clock, world, executor):
        await executor.start(Launch("a", "a", "n", program=Program(timeout_s=4), duration_s=9.0))
        return await history(clock, executor, 1)

    assert play(story)[-1] == (4.0, "a", "failed", "timed out after 4 s")


def test_a_lost_node_takes_its_runs_and_refuses_new_ones_until_it_is_back() -> None:
    async def story(clock, world, executor):
        for name, node in (("a", "n1"), ("b", "n2"), ("c", "n1")):
            await executor.start(Launch(name, name, node, duration_s=10.0))
        await executor.start(Launch("staging", "d", "n1", stage_in_s=5.0))
        await clock.sleep(2.0)
        world.lose_node("n1")
        await executor.start(Launch("late", "late", "n1", duration_s=1.0))
        await clock.sleep(1.0)
        world.restore_node("n1")
        await executor.start(Launch("again", "again", "n1", duration_s=1.0))
        return {row[1]: row[2:] for row in await history(clock, executor, 6)}

    assert play(story) == {
        "a": ("failed", "node lost"),
        "c": ("failed", "node lost"),
        "staging": ("start_failed", "node lost"),
        "late": ("start_failed", "node lost"),
        "again": ("succeeded", ""),
        "b": ("succeeded", ""),
    }


def test_the_world_fences_while_no_executor_lives_and_another_one_adopts() -> None:
    async def story(clock, world, executor):
        for name in ("fenced", "free"):
            await executor.start(Launch(name, name, "n", duration_s=100.0))
        await executor.fence(["fenced"], 5.0)
        await clock.sleep(3.0)
        await executor.fence(["fenced"], 5.0)  # until 8, then
        await executor.close()
        await clock.sleep(20.0)
        second = SimulatedRuns(world)
        known = {s.run_id: s for s in await second.runs()}
        ended_s = known["fenced"].ended_unix_s - 1.7e9 - 1000
        return known["fenced"].reason, ended_s, known["free"].phase, await history(clock, second, 1)

    reason, ended_s, phase, later = play(story)
    assert (reason, phase) == ("fenced", RunPhase.RUNNING)
    assert ended_s == pytest.approx(8.0, abs=1e-6)
    assert later == [(100.0, "free", "succeeded", "")]


def drawn(faults: Faults, seed: int, order: list[int]):
    async def story(clock, world, executor):
        for i in order:
            await executor.start(Launch(f"r{i}", "t", "n", duration_s=10.0))
        return sorted(row for row in await history(clock, executor, len(order)) if row[2])

    return play(story, faults, seed)


def test_faults_come_as_often_as_asked() -> None:
    rows = drawn(Faults(0.3, 0.1, 0.2, 4.0), 7, list(range(400)))
    ends = [row for row in rows if RunPhase(row[2]).final]
    share = {phase: sum(row[2] == phase for row in ends) / 400 for phase in RunPhase}
    slow = sum(row[2] == "succeeded" and row[0] == 40.0 for row in ends) / 400
    assert share["start_failed"] == pytest.approx(0.1, abs=0.05)
    assert share["failed"] == pytest.approx(0.9 * 0.3, abs=0.07)
    assert slow == pytest.approx(0.9 * 0.7 * 0.2, abs=0.06)
    failed_at = [row[0] for row in ends if row[2] == "failed"]
    assert min(failed_at) < 2.0
    assert max(failed_at) < 40.0


@given(st.integers(0, 2**32), st.permutations(range(12)))
def test_the_draws_of_a_run_depend_on_the_seed_and_its_name_alone(seed, order) -> None:
    faults = Faults(0.4, 0.2, 0.3)
    assert drawn(faults, seed, order) == drawn(faults, seed, sorted(order))


def test_an_executor_that_never_looked_is_told_to_see_the_runs_again(monkeypatch) -> None:
    monkeypatch.setattr("cerebrum.executors._simulated_world._MAX_UNREAD", 3)

    async def story(clock, world, executor):
        for i in range(5):
            await executor.start(Launch(f"r{i}", "t", "n"))
        await clock.sleep(1.0)
        return list(await executor.next_changes()), len(await executor.runs())

    assert play(story) == ([], 5)


@pytest.mark.parametrize(
    "bad", [{"failures": 1.5}, {"stragglers": math.nan}, {"straggler_factor": 0}]
)
def test_faults_that_make_no_sense_are_refused(bad) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Faults(**bad)
