"""One seed from start to end: troubles, then peace, then the judge."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import text

from tests.faults import troubles
from tests.faults.checker import check
from tests.faults.federation import Federation
from tests.faults.history import History
from tests.faults.loop import Deadlock, VirtualLoop
from tests.faults.plan import FAULTS_END_S, Plan, draw
from tests.faults.reading import Violation
from tests.faults.scenarios import bent

gc.freeze()  # what was imported stays: collecting among it costs a tenth of a history
gc.set_threshold(20_000, 20, 100)

PATIENCE_S = 1500.0
"""Virtual seconds after the last trouble within which everything has to come to its end."""
_OPEN = text("SELECT COUNT(*) FROM workflows WHERE state IN ('pending', 'running')")


@dataclass(slots=True)
class Played:
    """What came of a seed."""

    seed: int
    plan: Plan
    history: History
    violations: list[Violation]
    cpu_s: float
    virtual_s: float
    digest: str


def play(seed: int) -> Played:
    """Play a seed and judge it. The same seed gives the same history."""
    began_s = time.process_time()
    plan, history = bent(draw(seed), seed), History()
    loop = VirtualLoop(Random(f"{seed}/shuffle") if plan.shuffle else None)
    asyncio.set_event_loop(None)
    federation = Federation(seed, plan, loop, history)
    try:
        loop.run_until_complete(_direct(federation))
    except Deadlock as stuck:
        history.add(loop.time(), "faults", "internal_error", problem=str(stuck))
    virtual_s = loop.time()
    for process in federation.processes():
        process.life.alive = False
    for complaint in loop.bury():
        federation.controllers["gcc-0"].complain(complaint)
    for disk in federation.disks:
        disk.close()
    loop.close()
    found = check(history)
    cpu_s = time.process_time() - began_s
    return Played(seed, plan, history, found, cpu_s, virtual_s, history.digest())


async def _direct(federation: Federation) -> None:
    loop, history = federation.loop, federation.history
    federation.start()
    undo = troubles.schedule(federation, federation.plan.troubles)
    await asyncio.sleep(FAULTS_END_S)
    _heal(federation, undo)
    until_s = loop.time() + PATIENCE_S
    again_s = loop.time() + 150.0
    while loop.time() < until_s and not _quiet(federation):
        await asyncio.sleep(5.0)
        if loop.time() >= again_s:
            again_s = until_s
            federation.uncordon_all()
    # What would still go wrong now has its chance; an agent whose disk was full looks again within
    # 15 s, and only then hears what became of its runs.
    await asyncio.sleep(40.0)
    federation.read_meters()
    history.add(loop.time(), "faults", "the_end")


def _heal(federation: Federation, undo: list[Any]) -> None:
    for once in list(undo):
        once()
    federation.network.heal()
    for process in federation.processes():
        process.crash_share = 0.0
        process.disk_faults.stall_share = process.disk_faults.fail_share = 0.0
        if not process.name.endswith("x"):
            process.start()
    for machine in federation.agents.values():
        machine.world.calm()
    federation.history.add(federation.loop.time(), "faults", "healed")


def _quiet(federation: Federation) -> bool:
    """Whether every client has its answer and nothing is open (looked up on disk)."""
    if federation.clients_busy():
        return False
    return not federation.disk.read(lambda connection: connection.scalar(_OPEN))
