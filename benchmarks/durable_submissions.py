"""Workflows of 20 tasks accepted per second, on disk, because a 202 has to mean something.

A real `cerebrum gcc` on SQLite, over loopback; eight connections submit for ten seconds. Then the
process is killed with SIGKILL, started again, and every acknowledged workflow has to be there with
all its tasks: one that is missing makes the result 0, and so does a p99 of 250 ms or more. Then the
same again with two simulated agents that run what is submitted, for information.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks._harness import Benchmark, Measured, console, progress

CONNECTIONS = 8
SECONDS = 10.0
TASKS = 20
P99_LIMIT_S = 0.25
START_S = 60.0


@dataclass
class Server:
    """A `cerebrum` process that says where it listens."""

    process: subprocess.Popen[bytes]
    url: str

    @classmethod
    def start(
        cls, folder: Path, name: str, *arguments: str, port: int = 0, patience_s: float = START_S
    ) -> Server:
        log = folder / f"{name}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cerebrum", *arguments,
                 "--port", str(port), "--log-format", "json"],
                cwd=folder, stdout=output, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and process.poll() is None:
            found = re.search(r'"url": "([^"]+)"', log.read_text())
            if found:
                return cls(process, found[1])
            time.sleep(0.05)
        process.kill()
        raise RuntimeError(log.read_text()[-2000:])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    def wait_leading(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(self.url + "/readyz").json().get("leader"):
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise RuntimeError("it does not lead")


def body(number: int) -> bytes:
    """A fork-join of 20 tasks: one, eighteen, one."""
    tasks = [{"name": f"t{i}", "cpu_milli": 500, "duration_s": 0.05} for i in range(TASKS)]
    edges = [{"before": "t0", "after": f"t{i}", "volume_mb": 1.0} for i in range(1, TASKS - 1)]
    edges += [
        {"before": f"t{i}", "after": f"t{TASKS - 1}", "volume_mb": 1.0} for i in range(1, TASKS - 1)
    ]
    return json.dumps({"name": f"w{number}", "tasks": tasks, "dependencies": edges}).encode()


async def submit(url: str, seconds: float) -> tuple[list[str], list[float]]:
    """Ids that were acknowledged, and how long each took, s."""
    ids: list[str] = []
    times: list[float] = []
    prepared = body(0)
    until = time.monotonic() + seconds

    async def one() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            while time.monotonic() < until:
                start = time.perf_counter()
                answer = await client.post(
                    "/api/v1/workflows", content=prepared,
                    headers={"content-type": "application/json"},
                )  # fmt: skip
                times.append(time.perf_counter() - start)
                if answer.status_code == 202:
                    ids.append(answer.json()["id"])

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return ids, times


def missing(url: str, ids: list[str]) -> int:
    """How many of them the controller does not have whole."""
    found: dict[str, int] = {}
    with httpx.Client(base_url=url, timeout=60) as client:
        query: dict[str, str | int] = {"limit": 1000}
        while True:
            page = client.get("/api/v1/workflows", params=query).json()
            found |= {item["id"]: item["tasks"] for item in page["items"]}
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        sampled = ids[:: max(1, len(ids) // 50)]
        whole = all(
            len(client.get(f"/api/v1/workflows/{id}/tasks").json()["items"]) == TASKS
            for id in sampled
        )
    return sum(found.get(id) != TASKS for id in ids) + (0 if whole else len(sampled))


def p99_s(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]


def measure(folder: Path, agents: int) -> tuple[float, float, int]:
    """Acknowledged a second, p99 in s, lost."""
    folder.mkdir()
    options = ("gcc", "--database", f"sqlite:///{folder}/gcc.db", "--leader-ttl", "5")
    gcc = Server.start(folder, "gcc", *options)
    running: list[Server] = []
    try:
        gcc.wait_leading()
        running = [
            Server.start(folder, f"lca{i}", "lca", "--cluster-id", f"c{i}", "--gcc-url", gcc.url,
                         "--nodes", "8x16000m", "--executor", "simulated",
                         "--state", str(folder / f"agent{i}"))
            for i in range(agents)
        ]  # fmt: skip
        asyncio.run(submit(gcc.url, 1.0))
        ids, times = asyncio.run(submit(gcc.url, SECONDS))
        gcc.kill()
        gcc = Server.start(folder, "gcc", *options)
        lost = missing(gcc.url, ids)
    finally:
        for server in (*running, gcc):
            server.kill()
    rate, p99 = len(ids) / SECONDS, p99_s(times)
    console.print(
        f"{agents} agents: {rate:.0f}/s, p99 {1000 * p99:.0f} ms, "
        f"{len(ids)} acknowledged, {lost} lost"
    )
    return rate, p99, lost


def run() -> Measured:
    progress(f"{CONNECTIONS} connections, {SECONDS:.0f} s, twice; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        rate, p99, lost = measure(Path(name) / "alone", 0)
        busy_rate, busy_p99, busy_lost = measure(Path(name) / "agents", 2)
    value = rate if lost + busy_lost == 0 and p99 < P99_LIMIT_S else 0.0
    return Measured(
        value,
        {"p99, ms": 1000 * p99, "lost": lost, "with two agents": busy_rate,
         "p99 with two agents, ms": 1000 * busy_p99},
    )  # fmt: skip


BENCHMARK = Benchmark(
    name="durable_submissions", unit="workflows/s", target=200, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
