"""Runs in the image (see check-image.sh): what is installed, and a workflow from end to end.

    python check_image.py STATE

STATE is the only folder that may be written to. A controller with a token file and an agent with
simulated nodes, both configured by variables as the chart does it, run a workflow to its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

NEEDED = (
    "cerebrum", "fastapi", "sqlalchemy", "psycopg", "aio_pika", "aiohttp", "uvloop", "msgspec",
)  # fmt: skip
UNWANTED = ("pytest", "ruff", "pyright", "schemathesis", "pip")
PATIENCE_S = 240.0
WORKFLOW = {
    "name": "check",
    "tasks": [{"name": name, "cpu_milli": 100, "duration_s": 0.1} for name in ("a", "b")],
    "dependencies": [{"before": "a", "after": "b"}],
}
Token = dict[str, str]


def check_content() -> None:
    """The right packages, and nothing that development needs."""
    for module in NEEDED:
        assert importlib.util.find_spec(module), f"{module} is missing in the image"
    for module in UNWANTED:
        assert not importlib.util.find_spec(module), f"{module} is a tool, and in the image"


def check_confinement(state: Path) -> None:
    """Where somebody confines us (not root, read-only): it holds."""
    if os.getuid() != 10001:
        return
    for folder in (Path(sys.prefix), Path("/"), Path("/etc")):
        try:
            (folder / "cerebrum-check").touch()
        except OSError:
            continue
        raise AssertionError(f"{folder} can be written to")
    (state / "writable").touch()


def start(state: Path, command: str, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """One server, told everything by variables."""
    # Kernels as plain Python: compiling them anew would be most of what this takes.
    shared = {
        "CEREBRUM_HOST": "0.0.0.0", "CEREBRUM_LOG_FORMAT": "json", "NUMBA_DISABLE_JIT": "1",
        "NUMBA_CACHE_DIR": str(state / "kernels"),
    }  # fmt: skip
    with (state / f"{command}.log").open("wb") as log:
        return subprocess.Popen(
            ["cerebrum", command], env={**os.environ, **shared, **settings}, stdout=log, stderr=log
        )


def check_servers(state: Path) -> None:
    """Raises `AssertionError` with the end of the logs when the workflow does not succeed."""
    ports = free_ports(2)
    operator, agent = secrets.token_hex(32), secrets.token_hex(32)
    tokens = [token("me", "operator", operator), {**token("c", "agent", agent), "cluster": "c"}]
    (state / "tokens.json").write_text(json.dumps(tokens))
    (state / "workflow.json").write_text(json.dumps(WORKFLOW))
    url = f"http://127.0.0.1:{ports[0]}"
    servers = [
        start(state, "gcc", {
            "CEREBRUM_PORT": str(ports[0]), "CEREBRUM_URL": url,
            "CEREBRUM_DATABASE": f"sqlite:///{state}/controller.db",
            "CEREBRUM_TOKENS_FILE": str(state / "tokens.json"),
        }),
        start(state, "lca", {
            "CEREBRUM_PORT": str(ports[1]), "CEREBRUM_GCC_URL": url, "CEREBRUM_CLUSTER_ID": "c",
            "CEREBRUM_TOKEN": agent, "CEREBRUM_API_TOKEN": secrets.token_hex(32),
            "CEREBRUM_EXECUTOR": "simulated", "CEREBRUM_NODES": '["1x1000m,1Gi"]',
            "CEREBRUM_STATE": str(state / "agent"), "CEREBRUM_FORECASTER": "none",
        }),
    ]  # fmt: skip
    try:
        submitted(state, url, operator)
    except AssertionError as problem:
        logs = "".join(log.read_text()[-2000:] for log in sorted(state.glob("*.log")))
        raise AssertionError(f"{problem}\n{logs}") from None
    finally:
        for server in servers:
            server.terminate()
        ends = [server.wait(60) for server in servers]
    assert ends == [0, 0], f"servers ended with {ends}"


def submitted(state: Path, url: str, secret: str) -> None:
    """Submit until somebody takes it, then wait for the end."""
    command = ["cerebrum", "submit", str(state / "workflow.json"), "--wait", "--server", url]
    env = {**os.environ, "CEREBRUM_TOKEN": secret}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(
            [*command, "--key", "once", "--timeout", str(PATIENCE_S)], env=env, check=False,
            capture_output=True, text=True, timeout=PATIENCE_S + 60,
        )  # fmt: skip
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(1)


def token(name: str, scope: str, secret: str) -> Token:
    """An entry of the token file."""
    return {"name": name, "scope": scope, "secret": secret}


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    check_content()
    check_confinement(folder)
    check_servers(folder)
    print(f"controller and agent ran a workflow as user {os.getuid()}")
