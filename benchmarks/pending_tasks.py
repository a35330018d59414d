"""Work for a freed place while 100,000 tasks are pending: a full queue must not slow clusters.

5,000 workflows of 20 tasks are submitted to a controller on SQLite; five clusters are full. Then
agents end tasks, and each end frees a place: the number is the 99th percentile of the time from the
report of an end to the answer that offers the next tasks, planning going on all the while.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks._harness import Benchmark, Measured, progress
from cerebrum.services import wire
from cerebrum.services.clock import MachineClock
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.store import Database

WORKFLOWS, TASKS, CLUSTERS, ROUNDS = 5_000, 20, 5, 60
WINDOW, AHEAD = 200, 400


def workflow() -> wire.WorkflowSpec:
    """Four levels of five tasks."""
    names = [[f"t{level}-{i}" for i in range(5)] for level in range(4)]
    tasks = [
        wire.TaskSpec(name=name, cpu_milli=1000, memory_mib=512, duration_s=60.0)
        for name in itertools.chain(*names)
    ]
    edges = [
        wire.DependencySpec(before=before, after=after, volume_mb=10.0)
        for upper, lower in itertools.pairwise(names)
        for before, after in zip(upper, lower, strict=True)
    ]
    return wire.WorkflowSpec(name="twenty", tasks=tasks, dependencies=edges)


class Cluster:
    """An agent that holds what it gets, and ends tasks when told to."""

    def __init__(self, controller: Controller, name: str) -> None:
        self.controller, self.seq = controller, 0
        self.me: dict[str, Any] = {"cluster": name, "identity": name.ljust(16, "-"), "epoch": 0}
        self.held: list[tuple[str, int]] = []

    async def register(self) -> None:
        nodes = [wire.NodeSpec(name=f"n{i}", cpu_milli=16_000, memory_mib=65_536) for i in range(8)]
        await self.controller.register(wire.Register(nodes=nodes, **self.me))
        await self.controller.sync(wire.Sync(held={}, tasks={}, **self.me))

    async def poll(self, wait_s: float = 0.0) -> int:
        """Take what is offered; how many tasks."""
        answer = await self.controller.poll(wire.Poll(wait_s=wait_s, **self.me))
        stored = [(offer.assignment, offer.generation) for offer in answer.offers]
        if stored:
            await self.controller.ack(wire.Ack(stored=stored, **self.me))
        new = [(task.uid, offer.generation) for offer in answer.offers for task in offer.tasks]
        self.held.extend(new)
        return len(new)

    async def end(self, count: int) -> None:
        """The tasks held longest succeed."""
        ending, self.held = self.held[:count], self.held[count:]
        reports: list[wire.TaskReport] = []
        for uid, generation in ending:
            self.seq += 1
            reports.append(
                wire.TaskReport(seq=self.seq, uid=uid, generation=generation, change="succeeded")
            )
        await self.controller.report(wire.Report(reports=reports, **self.me))


async def measure(folder: str) -> Measured:
    settings = ControllerSettings(window_tasks=WINDOW, ahead_tasks=AHEAD)
    async with Database(f"sqlite:///{folder}/controller.db") as store:
        rng = np.random.default_rng(1)
        controller = Controller(store, MachineClock(), settings, rng, "benchmark")
        running = asyncio.ensure_future(controller.run())
        while not controller.leader.is_leader:
            await asyncio.sleep(0.05)
        clusters = [Cluster(controller, f"c{i}") for i in range(CLUSTERS)]
        for cluster in clusters:
            await cluster.register()
        submitted_s = await _submit_all(controller)
        for _ in range(200):
            if not sum([await cluster.poll() for cluster in clusters]):
                if controller.undecided and controller.undecided < WORKFLOWS:
                    break
                await asyncio.sleep(0.1)
        held = sum(len(cluster.held) for cluster in clusters)
        progress(f"{controller.undecided} workflows undecided, {held} tasks held")
        before = controller.undecided
        latencies_s, idle_s = await _rounds(clusters)
        decided = before - controller.undecided
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        progress(
            f"{len(latencies_s)} rounds, {decided} workflows decided meanwhile; "
            f"p50 {np.percentile(latencies_s, 50) * 1000:.1f} ms; peak {peak_mib:.0f} MiB"
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if decided <= 0:
            raise RuntimeError("no decision was made while tasks were pending")
    return Measured(
        float(np.percentile(latencies_s, 99) * 1000),
        peer={
            "median": float(np.percentile(latencies_s, 50) * 1000),
            "poll with nothing to say, p99": float(np.percentile(idle_s, 99) * 1000),
            "submission of 20 tasks, mean of 32 at a time": submitted_s / WORKFLOWS * 1000,
        },
    )


async def _submit_all(controller: Controller) -> float:
    spec, numbers = workflow(), iter(range(WORKFLOWS))

    async def client() -> None:
        for number in numbers:
            await controller.submit(spec, tenant="t", key=str(number), body_hash="h")

    began_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(32)))
    took_s = time.perf_counter() - began_s
    progress(f"{WORKFLOWS * TASKS:,} tasks submitted in {took_s:.1f} s")
    return took_s


async def _rounds(clusters: list[Cluster]) -> tuple[list[float], list[float]]:
    """Seconds from the report of ends to the next offers, and of polls in between."""
    latencies_s: list[float] = []
    idle_s: list[float] = []
    for _ in range(ROUNDS):
        for cluster in clusters:
            began_s = time.perf_counter()
            await cluster.end(5)
            while not await cluster.poll(wait_s=1.0):
                if time.perf_counter() - began_s > 30:
                    raise RuntimeError("a free place got no task")
            latencies_s.append(time.perf_counter() - began_s)
            began_s = time.perf_counter()
            await cluster.poll()
            idle_s.append(time.perf_counter() - began_s)
    return latencies_s, idle_s


def run() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(folder))


BENCHMARK = Benchmark(name="pending_tasks", unit="ms", target=250.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
