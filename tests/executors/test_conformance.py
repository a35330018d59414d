"""Every registered executor keeps the contract, check by check; the checks catch who does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cerebrum.executors.conformance import CHECKS, ConformanceError, Subject, run_check
from cerebrum.executors.dry_run import FreeNode
from cerebrum.executors.registry import EXECUTORS, get_executor
from cerebrum.executors.simulated_runs import SimulatedNodes, SimulatedRuns
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.protocols import Executor
from cerebrum.model.resources import Resources


class WallClock:
    """The machine's clock."""

    def unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def local(tmp_path: Path) -> Subject:
    def make() -> Executor:
        return get_executor("local", root=tmp_path / "runs")

    return Subject(make, reopen=lambda _: make())


def simulated(_: Path) -> Subject:
    def reopen(old: Executor) -> Executor:
        return get_executor("simulated", world=old.world)

    make = lambda: get_executor("simulated", world=SimulatedNodes(WallClock()))  # noqa: E731
    return Subject(make, reopen)


def dry_run(_: Path) -> Subject:
    room = {"n1": FreeNode.idle(Resources(cpu_milli=4000, memory_mib=1024))}
    return Subject(lambda: get_executor("dry_run", nodes=room), starts=False)


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "dry_run": dry_run,
    "local": local,
    "simulated": simulated,
}


def test_every_executor_is_held_to_the_contract_somewhere() -> None:
    """`kubernetes` needs an API server: tests/executors/kubernetes/test_runs.py."""
    assert {*SUBJECTS, "kubernetes"} == set(EXECUTORS)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_an_executor_keeps_the_contract(name: str, check: str, tmp_path: Path) -> None:
    run_check(check, SUBJECTS[name](tmp_path))


class Twice(SimulatedRuns):
    """Tells every change twice."""

    async def next_changes(self):
        return [status for status in await super().next_changes() for _ in range(2)]


class Hasty(SimulatedRuns):
    """Leaves out that a run runs."""

    async def next_changes(self):
        return [status for status in await super().next_changes() if status.phase != "running"]


class Forgetful(SimulatedRuns):
    """Forgets what still runs."""

    async def forget(self, run_id):
        self.world._runs.pop(run_id, None)


class Deaf(SimulatedRuns):
    """Never fences."""

    async def fence(self, run_ids, seconds):
        if seconds is not None and seconds < 0:
            await super().fence(run_ids, seconds)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (Twice, "every_start_and_end_is_told_once", "running after"),
        (Hasty, "every_start_and_end_is_told_once", "succeeded after"),
        (Forgetful, "forget_only_what_ended", "a running run was forgotten"),
        (Deaf, "nonsense_is_refused", "expected InputError"),
    ],
)
def test_the_checks_catch_who_breaks_the_contract(kind: type, check: str, message: str) -> None:
    with pytest.raises(ConformanceError, match=f"{check}: .*{message}"):
        run_check(check, Subject(lambda: kind(SimulatedNodes(WallClock()))))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        get_executor("locl")


def test_options_are_checked_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="local: no option 'rot': did you mean 'root'"):
        get_executor("local", rot=tmp_path)
    with pytest.raises(ConfigError, match="local: needs the option 'root'"):
        get_executor("local")
