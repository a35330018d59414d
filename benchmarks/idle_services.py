"""Memory of an idle controller and an idle agent, because both run on machines with other work.

Real processes, connected to each other, left alone for twenty seconds. The value is the larger
resident set; the CPU share, over the same time, is held to 2 % of a core (else the result counts
as failed).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks.durable_submissions import Server

WARM_UP_S = 10.0
SECONDS = 30.0
CPU_LIMIT = 0.02


def watch(server: Server) -> psutil.Process:
    return psutil.Process(server.process.pid)


def cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def run() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gcc = Server.start(folder, "gcc", "gcc", "--database", f"sqlite:///{folder}/gcc.db")
        servers = {"gcc": gcc}
        try:
            gcc.wait_leading()
            servers["lca"] = Server.start(
                folder, "lca", "lca", "--cluster-id", "east", "--gcc-url", gcc.url,
                "--state", str(folder / "agent"),
            )  # fmt: skip
            progress(f"{WARM_UP_S:.0f} s to settle, {SECONDS:.0f} s to watch")
            time.sleep(WARM_UP_S)
            seen = {name: watch(server) for name, server in servers.items()}
            before = {name: cpu_s(process) for name, process in seen.items()}
            time.sleep(SECONDS)
            share = {name: (cpu_s(seen[name]) - before[name]) / SECONDS for name in seen}
            mib = {name: process.memory_info().rss / 2**20 for name, process in seen.items()}
        finally:
            for server in servers.values():
                server.kill()
    for name in mib:
        console.print(f"{name}: {mib[name]:.0f} MiB, {100 * share[name]:.2f} % of a core")
    holds = all(part < CPU_LIMIT for part in share.values())
    peer = {f"{name}, MiB": mib[name] for name in mib}
    peer |= {f"{name}, share of a core": share[name] for name in share}
    return Measured(max(mib.values()) if holds else 1e9, peer)


BENCHMARK = Benchmark(name="idle_services", unit="MiB", target=250, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
