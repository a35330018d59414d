"""p99 of `POST /schedule` with 1,000 nodes over loopback, because a scheduler waits for the answer.

A real process, one kept connection, one question after another, each with other nodes. The bidder
has drawn weights of the shipped size: how long it takes does not depend on what was learnt. More
than 200 MB resident counts as failed. The prototype this form comes from (DARO) makes a torch
network a node and asks them one by one; it is not run here, since its weights do not load.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks._harness import Benchmark, Measured, console, progress
from cerebrum.policies.learned import artefact as artefacts
from tests.policies.learned import bidders

WARM_UP, QUESTIONS, NODES = 200, 2000, 1000
LIMIT_MB = 200.0
JSON = {"content-type": "application/json"}


def question(rng: np.random.Generator, nodes: int) -> bytes:
    """Nodes of up to 64 cores and 256 GB, partly in use."""
    cpu, memory = rng.uniform(0, 64, nodes).round(3), rng.uniform(0, 256, nodes).round(3)
    states = [
        {"node_id": f"node-{i}", "cpu_available": c, "memory_available": m}
        for i, (c, m) in enumerate(zip(cpu.tolist(), memory.tolist(), strict=True))
    ]
    return json.dumps({"cpu_request": 4.0, "memory_request": 8.0, "node_states": states}).encode()


def latencies_ms(
    connection: http.client.HTTPConnection, bodies: list[bytes], count: int
) -> list[float]:
    """From the first byte sent to the last byte read."""
    found: list[float] = []
    for i in range(count):
        begun = time.perf_counter()
        connection.request("POST", "/schedule", bodies[i % len(bodies)], JSON)
        answer = connection.getresponse()
        answer.read()
        found.append(1e3 * (time.perf_counter() - begun))
        assert answer.status == 200
    return found


def cpu_ms(process: psutil.Process) -> float:
    used = process.cpu_times()
    return 1e3 * (used.user + used.system)


def run() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "bidder.safetensors"
        artefacts.write(model, bidders.drawn(width=64))
        command = [sys.executable, "-m", "cerebrum", "models", "serve", "-m", str(model),
                   "--port", "0", "--log-format", "json"]  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CEREBRUM_")}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=kept) as server:
            try:
                assert server.stderr is not None
                url = str(json.loads(server.stderr.readline())["url"])
                connection = http.client.HTTPConnection(url.removeprefix("http://"))
                return measure(connection, psutil.Process(server.pid))
            finally:
                server.terminate()


def measure(connection: http.client.HTTPConnection, server: psutil.Process) -> Measured:
    rng = np.random.default_rng(1)
    bodies = [question(rng, NODES) for _ in range(20)]
    progress(f"{QUESTIONS:,} questions of {NODES:,} nodes, {len(bodies[0]) / 1024:.0f} KiB each")
    latencies_ms(connection, bodies, WARM_UP)
    before = cpu_ms(server)
    found = latencies_ms(connection, bodies, QUESTIONS)
    each = (cpu_ms(server) - before) / QUESTIONS
    large = latencies_ms(connection, [question(rng, 10_000)], 100)
    resident_mb = server.memory_info().rss / 1e6
    p50, p99 = np.percentile(found, [50, 99]).tolist()
    console.print(f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {resident_mb:.0f} MB resident")
    peer = {
        "p50, ms": p50, "CPU of the server a question, ms": each,
        "p50 of 10,000 nodes, ms": float(np.median(large)), "resident, MB": resident_mb,
    }  # fmt: skip
    return Measured(p99 if resident_mb < LIMIT_MB else 1e9, peer)


BENCHMARK = Benchmark(name="serve_schedule", unit="ms", target=10.0, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
