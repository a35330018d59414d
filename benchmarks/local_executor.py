"""Short runs a second through local processes, because a workflow is thousands of short tasks.

Each run is durable before it starts, has a supervisor of its own, its output captured and its end
on disk, synced. Beside it, measured in the same run: the same command through `subprocess` with
nothing around it, and what an executor that does nothing, or watches a hundred runs, costs.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks._harness import Benchmark, Measured, progress
from cerebrum.executors.local import LocalProcesses
from cerebrum.model.program import Program
from cerebrum.model.runs import Launch

RUNS = 400
IDLE_S = 5.0
COMMAND = ("true",)


def launch(run_id: str, command: tuple[str, ...]) -> Launch:
    return Launch(run_id, run_id, "n", program=Program(command=command))


async def throughput(root: Path) -> float:
    executor = LocalProcesses(root)
    start_s, ended = time.perf_counter(), 0
    starts = asyncio.gather(*(executor.start(launch(f"r{i}", COMMAND)) for i in range(RUNS)))
    while ended < RUNS:
        ended += sum(status.phase.final for status in await executor.next_changes())
    took_s = time.perf_counter() - start_s
    await starts
    await executor.close()
    return RUNS / took_s


async def idle_percent(root: Path, runs: int) -> float:
    """CPU of this process in % of a core while so many runs sleep."""
    executor = LocalProcesses(root)
    await executor.runs()
    names = [f"r{i}" for i in range(runs)]
    await asyncio.gather(*(executor.start(launch(name, ("sleep", "600"))) for name in names))
    await asyncio.sleep(1.0)
    before_s = time.process_time()
    await asyncio.sleep(IDLE_S)
    used = (time.process_time() - before_s) / IDLE_S * 100
    for name in names:
        await executor.stop(name, "measured", grace_s=0.0)
    ended = 0
    while ended < runs:
        ended += sum(status.phase.final for status in await executor.next_changes())
    await executor.close()
    return used


def bare() -> float:
    start_s = time.perf_counter()
    for _ in range(RUNS):
        subprocess.run(COMMAND, check=True, capture_output=True)
    return RUNS / (time.perf_counter() - start_s)


def run() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        progress(f"{RUNS} runs of `{' '.join(COMMAND)}`, three times; best counts")
        best = max(asyncio.run(throughput(root / f"runs{i}")) for i in range(3))
        idle = {n: asyncio.run(idle_percent(root / f"idle{n}", n)) for n in (0, 100)}
        return Measured(
            best,
            peer={
                "subprocess.run, one after another": bare(),
                "% of a core, idle": idle[0],
                "% of a core, 100 runs": idle[100],
            },
        )


BENCHMARK = Benchmark(
    name="local_executor", unit="runs/s", target=50, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
