"""A workflow file of 100,000 tasks read, validated and decomposed, in a process of its own.

Seconds from opening the file to having the parts; kernels come from the cache on disk, which an
earlier process filled. Importing Python packages is not counted, peak memory counts everything.
The benchmark fails beyond 1 GB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import ROOT, Benchmark, Measured, console, progress
from cerebrum.traces.workflows import generate, write_workflow

TASKS = 100_000
MOST_GB = 1.0
RUNS = 3

CHILD = """
import resource, sys, time
from benchmarks._federations import LINKS_MB_S, federation, views
from cerebrum.policies.decomposition import get_decomposer
from cerebrum.traces.workflows import generate, read_workflow
where = federation(3, 8, LINKS_MB_S["1 Gb/s"], 1)
decomposer = get_decomposer("cerebrum")
decomposer.decompose(generate("layered", tasks=20, width=4, seed=1), views(where), where.network)
start, cpu = time.perf_counter(), time.process_time()
workflow = read_workflow(sys.argv[1])
read = time.perf_counter() - start
cut = decomposer.decompose(workflow, views(where), where.network)
total = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
cpu = time.process_time() - cpu
print(total, read, cpu, peak, len(workflow), len(workflow.before), cut.parts)
"""


def child(path: Path) -> tuple[float, ...]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ},
    )  # fmt: skip
    return tuple(float(word) for word in done.stdout.split())


def run() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.json"
        write_workflow(generate("layered", tasks=TASKS, width=1000, seed=1), path)
        progress(f"{TASKS:,} tasks, {path.stat().st_size / 1e6:.0f} MB of WfFormat")
        child(path)  # fills the kernel cache
        best = min(child(path) for _ in range(RUNS))  # other work on the machine only ever adds
    total, read, cpu, peak, tasks, edges, parts = best
    console.print(
        f"{tasks:,.0f} tasks, {edges:,.0f} dependencies: read {read:.2f} s, decomposed into "
        f"{parts:,.0f} parts {total - read:.2f} s, {cpu:.2f} CPU s, peak {peak:.2f} GB"
    )
    if peak > MOST_GB:
        raise AssertionError(f"peak memory {peak:.2f} GB, over {MOST_GB} GB")
    return Measured(
        total,
        {"read and validated, s": read, "decomposed, s": total - read, "CPU s": cpu, "GB": peak},
    )


BENCHMARK = Benchmark(name="large_workflow", unit="s", target=2.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
