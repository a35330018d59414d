"""What every live executor must do, as checks anyone can run on their own.

    from cerebrum.executors.conformance import Subject, check_executor

    check_executor(Subject(make=lambda: MyExecutor(...), reopen=lambda old: MyExecutor(...)))

The checks use runs that only pass time, so they need no program. Each makes an executor of its own
and raises `ConformanceError` saying what went wrong. `CHECKS` holds them by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass

from cerebrum.model.errors import CerebrumError, InputError, NotFound
from cerebrum.model.protocols import Executor
from cerebrum.model.runs import Launch, RunPhase, RunStatus

PATIENCE_S = 60.0
"""How long a check waits for what must come; long, for a busy machine."""
_LONG_S = 600.0  # no check waits for the end of such a run
_STARTS = (RunPhase.RUNNING, RunPhase.START_FAILED, RunPhase.STOPPED)
_ENDS = (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.STOPPED)


class ConformanceError(CerebrumError):
    """An executor breaks the contract. The message says which part of it, and how."""


@dataclass(frozen=True)
class Subject:
    """An executor under test.

    `make` gives one on a fresh outside on which `node` exists; `reopen` gives another on the same
    outside after the first was closed (None: its runs do not outlive it); `starts` is False for an
    executor that only plans.
    """

    make: Callable[[], Executor]
    reopen: Callable[[Executor], Executor] | None = None
    starts: bool = True
    node: str = "n1"

    def launch(self, run_id: str, duration_s: float = 0.05, stage_in_s: float = 0.0) -> Launch:
        """A run that only passes time."""
        return Launch(
            run_id, f"task of {run_id}", self.node, duration_s=duration_s, stage_in_s=stage_in_s
        )


class Watch:
    """Follows the changes of an executor, and holds each to the contract as it comes."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.history: dict[str, list[RunStatus]] = {}
        self._adopted: dict[str, str] = {}

    async def adopt(self) -> None:
        """Take what there is as told. Changes that were on the way are then told once more."""
        for status in await self.executor.runs():
            if status.phase is not RunPhase.STARTING:
                self.history[status.run_id] = [status]
                self._adopted[status.run_id] = repr(status)

    def phases(self, run_id: str) -> list[RunPhase]:
        """What was reported of a run, in order."""
        return [status.phase for status in self.history.get(run_id, [])]

    async def until(self, run_id: str, wanted: Callable[[RunPhase], bool]) -> RunStatus:
        """The first status of a run whose phase is `wanted`."""
        while not any(wanted(phase) for phase in self.phases(run_id)):
            await self._more(run_id)
        return next(s for s in self.history[run_id] if wanted(s.phase))

    async def running(self, run_id: str) -> RunStatus:
        """Wait until a run runs."""
        return await self.until(run_id, lambda phase: phase is RunPhase.RUNNING)

    async def ended(self, run_id: str) -> RunStatus:
        """Wait for the end of a run."""
        return await self.until(run_id, lambda phase: phase.final)

    async def silent(self, seconds: float) -> None:
        """Make sure that nothing is reported for a while."""
        with contextlib.suppress(TimeoutError):
            changes = await asyncio.wait_for(self.executor.next_changes(), seconds)
            _must(not changes, f"{changes[:1]} is reported, though nothing should happen")

    async def _more(self, run_id: str) -> None:
        try:
            changes = await asyncio.wait_for(self.executor.next_changes(), PATIENCE_S)
        except TimeoutError:
            raise ConformanceError(
                f"run {run_id!r}: no change within {PATIENCE_S:g} s of {self.phases(run_id)}"
            ) from None
        for status in changes:
            seen = self.history.setdefault(status.run_id, [])
            if self._adopted.get(status.run_id) == repr(status):
                del self._adopted[status.run_id]
                continue
            if status.run_id in self._adopted and seen[-1].phase.final:
                continue
            _may_follow(seen, status)
            seen.append(status)


def check_executor(subject: Subject) -> None:
    """Run every check. Raises `ConformanceError` at the first that fails, naming it."""
    for name in CHECKS:
        run_check(name, subject)


def run_check(name: str, subject: Subject) -> None:
    """Run one check, on an event loop of its own."""
    try:
        asyncio.run(CHECKS[name](subject))
    except ConformanceError as problem:
        raise ConformanceError(f"{name}: {problem}") from problem


async def every_start_and_end_is_told_once(subject: Subject) -> None:
    """Fifty runs at once: one outcome of each start, one end of each that ran, in order."""
    ids = [f"r{i:02}" for i in range(50)]
    async with _opened(subject) as watch:
        await asyncio.gather(*(watch.executor.start(subject.launch(i)) for i in ids))
        for run_id in ids:
            end = await watch.ended(run_id)
            _must(end.phase in _expected(subject), f"{run_id!r} ended {end.phase}: {end.reason}")
            _must(len(watch.phases(run_id)) == (2 if subject.starts else 1), f"{run_id!r} skipped")
        _must(sorted(watch.history) == ids, f"runs appear that nobody asked for: {watch.history}")
        await watch.silent(0.1)


async def runs_agree_with_changes(subject: Subject) -> None:
    """`runs` holds what was reported last, with the launch's task and node and sensible times."""
    async with _opened(subject) as watch:
        await watch.executor.start(subject.launch("r1"))
        end = await watch.ended("r1")
        (known,) = await watch.executor.runs()
        _must(repr(known) == repr(end), f"`runs` says {known}, the last change was {end}")
        _must((end.task, end.node) == ("task of r1", subject.node), f"task and node of {end}")
        _must(math.isfinite(end.ended_unix_s), f"no end time in {end}")
        if subject.starts:
            _must(end.started_unix_s <= end.ended_unix_s, f"{end} ended before it started")


async def one_id_is_one_run(subject: Subject) -> None:
    """The same id, at once, while it runs and after its end: one run."""
    launch = subject.launch("r1", duration_s=0.3)
    async with _opened(subject) as watch:
        await asyncio.gather(*(watch.executor.start(launch) for _ in range(5)))
        await watch.executor.start(launch)
        await watch.ended("r1")
        await watch.executor.start(launch)
        await watch.silent(0.3)
        _must(len(await watch.executor.runs()) == 1, "one id, and several runs")


async def stop_before_start(subject: Subject) -> None:
    """To stop what was never started is nothing, and does not stop it later."""
    async with _opened(subject) as watch:
        await watch.executor.stop("r1", "too early")
        _must(not await watch.executor.runs(), "a stop made a run")
        await watch.executor.start(subject.launch("r1"))
        end = await watch.ended("r1")
        _must(end.phase in _expected(subject), f"a stop before the start still counts: {end}")


async def stop_during_start(subject: Subject) -> None:
    """A run that is stopped while its inputs move never runs."""
    if not subject.starts:
        return
    async with _opened(subject) as watch:
        await watch.executor.start(subject.launch("r1", stage_in_s=_LONG_S))
        (known,) = await watch.executor.runs()
        _must(known.phase is RunPhase.STARTING, f"staging, but {known.phase}")
        await watch.executor.stop("r1", "preempted")
        end = await watch.ended("r1")
        _must(watch.phases("r1") == [RunPhase.STOPPED], f"phases {watch.phases('r1')}")
        _must(end.reason == "preempted", f"reason {end.reason!r}, not 'preempted'")


async def stop_during_run(subject: Subject) -> None:
    """A running run that is stopped, twice, ends STOPPED once, with the first reason."""
    if not subject.starts:
        return
    async with _opened(subject) as watch:
        await watch.executor.start(subject.launch("r1", _LONG_S))
        await watch.running("r1")
        await watch.executor.stop("r1", "preempted", grace_s=1.0)
        await watch.executor.stop("r1", "again", grace_s=1.0)
        end = await watch.ended("r1")
        _must(end.phase is RunPhase.STOPPED, f"stopped, but ended {end.phase}")
        _must(end.reason == "preempted", f"reason {end.reason!r}, not 'preempted'")
        await watch.silent(0.2)


async def stop_after_end(subject: Subject) -> None:
    """An end stays what it was."""
    async with _opened(subject) as watch:
        await watch.executor.start(subject.launch("r1"))
        end = await watch.ended("r1")
        await watch.executor.stop("r1", "too late")
        await watch.silent(0.2)
        _must(repr((await watch.executor.runs())[0]) == repr(end), "a stop changed an end")


async def forget_only_what_ended(subject: Subject) -> None:
    """An ended run goes; a running one and an unknown one are left alone."""
    async with _opened(subject) as watch:
        await watch.executor.forget("nobody")
        await watch.executor.start(subject.launch("r1"))
        await watch.ended("r1")
        await watch.executor.forget("r1")
        _must(not await watch.executor.runs(), "a forgotten run is still there")
        if subject.starts:
            await watch.executor.start(subject.launch("r2", _LONG_S))
            await watch.running("r2")
            await watch.executor.forget("r2")
            _must(len(await watch.executor.runs()) == 1, "a running run was forgotten")
            await watch.executor.stop("r2", "done", grace_s=0.0)
            await watch.ended("r2")


async def a_fence_ends_a_run(subject: Subject) -> None:
    """Past the last deadline a run is STOPPED as "fenced"; one that was lifted does nothing."""
    if not subject.starts:
        return
    async with _opened(subject) as watch:
        for run_id in ("nearer", "lifted", "kept"):
            await watch.executor.start(subject.launch(run_id, _LONG_S))
            await watch.running(run_id)
        await watch.executor.fence(["lifted", "unknown"], 0.3)
        await watch.executor.fence(["nearer", "kept"], _LONG_S)
        await watch.executor.fence(["lifted"], None)
        await watch.executor.fence(["nearer"], 0.2)
        end = await watch.ended("nearer")
        _must(end.phase is RunPhase.STOPPED, f"past its fence, but {end.phase}")
        _must(end.reason == "fenced", f"reason {end.reason!r}, not 'fenced'")
        await watch.silent(0.5)
        for run_id in ("lifted", "kept"):
            await watch.executor.stop(run_id, "done", grace_s=0.0)
            await watch.ended(run_id)


async def a_fence_before_the_start_counts(subject: Subject) -> None:
    """A deadline that is past when its run would begin lets it not begin."""
    if not subject.starts:
        return
    async with _opened(subject) as watch:
        await watch.executor.fence(["r1"], -1.0)
        await watch.executor.start(subject.launch("r1", _LONG_S))
        end = await watch.ended("r1")
        _must(watch.phases("r1") == [RunPhase.STOPPED], f"phases {watch.phases('r1')}")
        _must(end.reason == "fenced", f"reason {end.reason!r}, not 'fenced'")


async def runs_outlive_their_executor(subject: Subject) -> None:
    """A second executor on the same outside finds what runs, what ended, and can end it."""
    if subject.reopen is None:
        return
    first = Watch(subject.make())
    await first.executor.start(subject.launch("long", _LONG_S))
    await first.executor.start(subject.launch("short"))
    began = await first.running("long")
    await first.executor.start(subject.launch("meanwhile", 0.2))
    await first.ended("short")
    await first.executor.close()
    await asyncio.sleep(0.4)
    second = Watch(subject.reopen(first.executor))
    known = {status.run_id: status for status in await second.executor.runs()}
    _must(sorted(known) == ["long", "meanwhile", "short"], f"after a restart: {sorted(known)}")
    _must(repr(known["long"]) == repr(began), f"{began} became {known['long']}")
    _must(known["short"].phase is RunPhase.SUCCEEDED, f"{known['short']}")
    await second.executor.start(subject.launch("long", _LONG_S))
    await second.executor.stop("long", "done", grace_s=1.0)
    end = await second.ended("long")
    _must(end.phase is RunPhase.STOPPED, f"an adopted run was stopped, but ended {end.phase}")
    await second.executor.close()


async def logs_of_what_there_is(subject: Subject) -> None:
    """Bytes of a known run, `NotFound` for others, `InputError` for a stream there is not."""
    async with _opened(subject) as watch:
        await watch.executor.start(subject.launch("r1"))
        await watch.ended("r1")
        for stream in ("stdout", "stderr"):
            written = await watch.executor.logs("r1", stream)
            _must(written == b"", f"{stream} of a run that writes nothing: {written!r}")
        for strange in ("nobody", "..", "../r1", ""):
            await _raises(NotFound, watch.executor.logs(strange))
        await _raises(InputError, watch.executor.logs("r1", "stdin"))


async def nonsense_is_refused(subject: Subject) -> None:
    """Numbers and names that cannot be meant raise `InputError`, and leave no run."""
    launch = subject.launch
    nonsense = [
        launch("r", duration_s=math.nan),
        launch("r", duration_s=-1.0),
        launch("r", stage_in_s=math.inf),
        Launch("r", "t", subject.node, speed=0.0),
        *(launch(name) for name in ("", "../r", ".hidden", "a/b", "r" * 101, "r\n", "r\0")),
    ]
    async with _opened(subject) as watch:
        for strange in nonsense:
            await _raises(InputError, watch.executor.start(strange))
        await _raises(InputError, watch.executor.stop("r", "why", grace_s=math.nan))
        await _raises(InputError, watch.executor.fence(["r"], math.nan))
        _must(not await watch.executor.runs(), "a refused launch left a run")


CHECKS: dict[str, Callable[[Subject], Coroutine[None, None, None]]] = {
    check.__name__: check
    for check in (
        every_start_and_end_is_told_once, runs_agree_with_changes, one_id_is_one_run,
        stop_before_start, stop_during_start, stop_during_run, stop_after_end,
        forget_only_what_ended, a_fence_ends_a_run, a_fence_before_the_start_counts,
        runs_outlive_their_executor, logs_of_what_there_is, nonsense_is_refused,
    )
}  # fmt: skip
"""The checks by name, in the order they run."""


@contextlib.asynccontextmanager
async def _opened(subject: Subject) -> AsyncGenerator[Watch]:
    executor = subject.make()
    try:
        yield Watch(executor)
    finally:
        for status in await executor.runs():
            await executor.stop(status.run_id, "check over", grace_s=0.0)
        await executor.close()


def _expected(subject: Subject) -> tuple[RunPhase, ...]:
    return (RunPhase.SUCCEEDED,) if subject.starts else (RunPhase.STOPPED, RunPhase.START_FAILED)


def _may_follow(seen: list[RunStatus], status: RunStatus) -> None:
    told = f"run {status.run_id!r}: {status.phase} after {[s.phase for s in seen]}"
    _must(status.phase in (_ENDS if seen else _STARTS), told)
    _must(not (seen and seen[-1].phase.final), told)


async def _raises(kind: type[Exception], call: Awaitable[object]) -> None:
    try:
        await call
    except kind:
        return
    raise ConformanceError(f"expected {kind.__name__}, but it was accepted")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConformanceError(otherwise)
