"""Servers without compiled kernels: they compile for minutes, and can be told to stop meanwhile."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from benchmarks.durable_submissions import Server
from tests.waiting import wait_until

SERVERS = {
    "gcc": (),
    "lca": ("--cluster-id", "a", "--gcc-url", "", "--nodes", "1x1000m", "--executor", "simulated"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_ends_a_server_that_still_compiles(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took as long as compiling did, 90 s and more: by then whoever waited has sent SIGKILL."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    server = Server.start(tmp_path, name, name, *SERVERS[name])
    try:
        wait_until(lambda: httpx.get(server.url + "/healthz").is_success, "it answers")
        assert server.stop() == 0  # within 30 s
    finally:
        server.kill()
