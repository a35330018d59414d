"""Real processes: `cerebrum gcc` and `cerebrum lca`, their clients, SIGTERM and SIGKILL."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.durable_submissions import Server
from cerebrum.model.errors import NotFound
from cerebrum.services import wire
from cerebrum.services.client import CerebrumClient, HttpController
from cerebrum.services.errors import Refused, Unreachable
from tests.services.api.worlds import HELLO, IDENTITY
from tests.waiting import wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def one(name: str, *arguments: str) -> Server:
        started.append(Server.start(tmp_path, name, *arguments))
        return started[-1]

    yield one
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.slow
def test_a_workflow_runs_and_its_output_comes_back(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    gcc = start("gcc", "gcc")
    gcc.wait_leading()
    lca = start("lca", "lca", "--cluster-id", "east", "--gcc-url", gcc.url, "--nodes", "1x2000m")
    spec = HELLO | {"tasks": [{"name": "a", "command": ["echo", "out of a"]},
                              {"name": "b", "command": ["false"], "max_attempts": 1}]}  # fmt: skip
    with CerebrumClient(gcc.url) as client:
        id = client.submit(spec, key="once")["id"]
        assert client.submit(spec, key="once")["id"] == id
        workflow = wait_until(lambda: _ended(client, id))
        assert (workflow["state"], workflow["succeeded"], workflow["failed"]) == ("failed", 1, 1)
        assert client.logs(f"{id}/a") == b"out of a\n"
        kinds = [event["kind"] for event in client.events(workflow=id)]
        assert kinds[0] == "submitted"
        assert kinds[-1] == "workflow_ended"
        watched = client.watch(0, workflow=id)
        assert next(watched)["kind"] == "submitted"
        watched.close()
        with pytest.raises(NotFound):
            client.workflow("w-none")
        with pytest.raises(Refused, match="cycle"):
            client.submit(
                HELLO | {"dependencies": [{"before": x, "after": y} for x, y in ("ab", "ba")]}
            )
    with CerebrumClient(lca.url) as agent:
        assert agent.version()["role"] == "agent"
    assert lca.stop() == 0
    assert gcc.stop() == 0


def _ended(client: CerebrumClient, id: str) -> dict[str, Any] | None:
    found = client.workflow(id)
    return found if found["ended_unix_s"] is not None else None


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill(start: Callable[..., Server]) -> None:
    gcc = start("gcc", "gcc")
    gcc.wait_leading()
    acknowledged: list[str] = []

    async def submitting() -> None:
        async with httpx.AsyncClient(base_url=gcc.url, timeout=30) as client:
            while True:
                answer = await client.post("/api/v1/workflows", json=HELLO)
                if answer.status_code == 202:
                    acknowledged.append(answer.json()["id"])
                if len(acknowledged) == 40:
                    gcc.process.kill()

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(submitting() for _ in range(4)), return_exceptions=True)

    ends = asyncio.run(all_of_them())
    assert all(isinstance(end, httpx.TransportError) for end in ends), ends
    gcc.process.wait()
    again = start("gcc", "gcc")
    with CerebrumClient(again.url) as client:
        there = {workflow["id"]: workflow["tasks"] for workflow in client.workflows()}
    assert [id for id in acknowledged if there.get(id) != 2] == []


@pytest.mark.slow
def test_a_long_poll_does_not_hold_up_the_end(start: Callable[..., Server]) -> None:
    gcc = start("gcc", "gcc")
    gcc.wait_leading()

    async def poll_while_it_stops() -> None:
        peer = HttpController([gcc.url])
        who: dict[str, Any] = {"cluster": "east", "identity": IDENTITY}
        registered = await peer.register(wire.Register(**who, nodes=[]))

        async def poll() -> None:
            while True:  # the first one may have something to say
                await peer.poll(wire.Poll(**who, epoch=registered.epoch, wait_s=60.0))

        polling = asyncio.create_task(poll())
        await asyncio.sleep(3)
        begun = time.monotonic()
        assert await asyncio.to_thread(gcc.stop) == 0
        assert time.monotonic() - begun < 30, "a minute's poll was cut short"
        with pytest.raises(Unreachable):
            await polling
        await peer.close()

    asyncio.run(poll_while_it_stops())


@pytest.mark.slow
def test_a_network_address_needs_a_token_and_tls_is_spoken(
    start: Callable[..., Server], tmp_path: Path, require: Callable[[bool, str], None]
) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "cerebrum", "gcc", "--host", "0.0.0.0", "--port", "0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "cerebrum token create" in refused.stderr
    created = subprocess.run(
        [sys.executable, "-m", "cerebrum", "token", "create", "op", "--scope", "operator"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        capture_output=True, check=False,
    )  # fmt: skip
    require(made.returncode == 0, "openssl cannot make a certificate")
    gcc = start(
        "gcc", "gcc", "--host", "0.0.0.0", "--tls-cert", str(cert), "--tls-key", str(key),
    )  # fmt: skip
    url = f"https://localhost:{gcc.url.rpartition(':')[2]}"
    with CerebrumClient(url, created.stdout.strip(), ca=cert) as client:
        wait_until(lambda: client.ready()["leader"])
        assert client.submit(HELLO)["tasks"] == 2
    with CerebrumClient(url, ca=cert) as client, pytest.raises(Refused, match="token"):
        list(client.workflows())
    with CerebrumClient(url) as client, pytest.raises(Unreachable, match="certificate"):
        client.version()


@pytest.mark.slow
def test_who_lost_the_leadership_ends_at_once(start: Callable[..., Server], tmp_path: Path) -> None:
    """Stopped beyond its time, it finds another epoch in the database and must not write."""
    import signal
    import sqlite3

    gcc = start("gcc", "gcc", "--leader-ttl", "1")
    gcc.wait_leading()
    os.kill(gcc.process.pid, signal.SIGSTOP)
    connection = sqlite3.connect(tmp_path / "cerebrum.db")
    connection.execute("UPDATE leader SET epoch = epoch + 1, holder = 'another'")
    connection.commit()
    connection.close()
    os.kill(gcc.process.pid, signal.SIGCONT)
    assert gcc.process.wait(60) == 1
