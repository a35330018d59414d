"""The machines of a cluster: simulated nodes whose every run is witnessed at its true time."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from dataclasses import replace
from typing import Any

import numpy as np

from cerebrum.executors.simulated_runs import Faults, SimulatedNodes, SimulatedRuns
from cerebrum.model.cluster import Node
from cerebrum.model.runs import Launch, RunPhase, RunStatus
from tests.faults.clock import MachineClock
from tests.faults.history import History
from tests.faults.loop import Incarnation, VirtualLoop

_NOBODY = Context()  # what belongs to no process outlives them all


class _WorldClock:
    """The world counts deadlines on its machine's clock, but is told the true time."""

    def __init__(self, machine: MachineClock, loop: VirtualLoop) -> None:
        self._machine, self._loop = machine, loop

    def unix_s(self) -> float:
        return self._loop.time()

    def monotonic_s(self) -> float:
        return self._machine.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        """Used by hands that wait for the world's next moment."""
        await asyncio.sleep(seconds / self._machine.rate)


class World(SimulatedNodes):
    """`SimulatedNodes` that writes down what runs when, and moves on without being looked at."""

    def __init__(
        self,
        cluster: str,
        nodes: tuple[Node, ...],
        machine: MachineClock,
        loop: VirtualLoop,
        history: History,
        seed: int,
        faults: Faults,
    ) -> None:
        self.cluster = cluster
        self._loop, self._history, self._machine = loop, history, machine
        self._alarm: Any = None
        self.nodes = [node.name for node in nodes]
        clock = _WorldClock(machine, loop)
        super().__init__(clock, np.random.default_rng(seed), faults, start_s=0.05)
        for node in nodes:
            r = node.capacity
            self._write("node", node=node.name, cpu_milli=r.cpu_milli, memory_mib=r.memory_mib,
                        gpu_count=r.gpu_count)  # fmt: skip

    def busy(self) -> int:
        """How many runs go on."""
        return sum(run.status.phase is RunPhase.RUNNING for run in self._runs.values())

    def lose_everything(self) -> None:
        """The machine is switched off: what runs is over, what was only asked for never was.

        What had ended is still known, as executors promise: local processes have it on disk.
        """
        self.advance()
        for run_id, run in list(self._runs.items()):
            if run.status.phase is RunPhase.RUNNING:
                self._write("run_ended", task=run.launch.task, node=run.launch.node,
                            run_id=run_id, phase="lost")  # fmt: skip
                run.status = replace(
                    run.status, phase=RunPhase.FAILED, exit_code=None, reason="lost with its node",
                    ended_unix_s=self._machine.unix_s(),
                )  # fmt: skip
            elif run.status.phase is RunPhase.STARTING:
                del self._runs[run_id]
        self._fences.clear()
        self._moments.clear()

    def calm(self) -> None:
        """From now on nothing fails by itself."""
        self.faults = Faults()

    def _tell(self, run: Any, status: RunStatus) -> None:
        was: RunStatus = run.status
        super()._tell(run, status)
        launch: Launch = run.launch
        about: dict[str, Any] = {"task": launch.task, "node": launch.node, "run_id": launch.run_id}
        if status.phase is RunPhase.RUNNING:
            r = launch.resources
            self._write("run_started", **about, cpu_milli=r.cpu_milli, memory_mib=r.memory_mib,
                        gpus=list(launch.gpus))  # fmt: skip
        elif was.phase is RunPhase.RUNNING:
            self._write("run_ended", **about, phase=str(status.phase), reason=status.reason)
        else:
            self._write("start_refused", **about, phase=str(status.phase), reason=status.reason)

    def _at(self, when: float, what: str, run_id: str) -> None:
        super()._at(when, what, run_id)
        self._set_alarm()

    def _set_alarm(self) -> None:
        delay_s = self.next_in_s() / self._machine.rate
        if self._alarm is not None:
            self._alarm.cancel()
        if delay_s < math.inf:
            self._alarm = self._loop.call_later(delay_s, self._ring, context=_NOBODY)

    def _ring(self) -> None:
        self._alarm = None
        self.advance()
        self._set_alarm()

    def _write(self, kind: str, **data: Any) -> None:
        self._history.add(self._loop.time(), "world", kind, cluster=self.cluster, **data)


class SimExecutor(SimulatedRuns):
    """`Executor` of one life of an agent: the dead move nothing."""

    def __init__(self, world: World, life: Incarnation, guard: Any) -> None:
        super().__init__(world)
        self._life, self._guard = life, guard

    async def start(self, launch: Launch) -> None:
        await self._guard("before start")
        await super().start(launch)
        await self._guard("after start")

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        await self._guard("before stop")
        await super().stop(run_id, reason, grace_s)

    async def forget(self, run_id: str) -> None:
        await self._guard("before forget")
        await super().forget(run_id)
        await self._guard("after forget")
