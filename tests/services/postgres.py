"""A PostgreSQL server of our own, in a temporary folder.

Use: `from tests.services.postgres import postgres` in a conftest or test file, then the fixture
`postgres` gives a `Server` for the session; `new_database()` is the address of an empty database.
The server refuses to run as root: then it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ACCOUNT = "nobody"


class Server:
    """A server process; `restart` is what an operator does, `kill` what the machine does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self._count = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "cerebrum", "-N")

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                _program("postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
                "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                "-c", "max_connections=50",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_unprivileged(),
        )  # fmt: skip
        for _ in range(300):
            ready = subprocess.run(
                [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)],
                capture_output=True, check=False,
            )  # fmt: skip
            if ready.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self, *, immediately: bool = False) -> None:
        """End it: fast, or as in a crash."""
        if self._process is not None:
            how = "immediate" if immediately else "fast"
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", how, "-w", "stop")
            self._process.wait(30)
            self._process = None

    def restart(self, *, immediately: bool = False) -> None:
        """Down and up again."""
        self.stop(immediately=immediately)
        self.start()

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"test_{os.getpid()}_{next(self._count)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "cerebrum", name)
        return f"postgresql://cerebrum@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments], capture_output=True, check=False, **_unprivileged()
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")


@pytest.fixture(scope="session")
def postgres(require: Callable[[bool, str], None]) -> Iterator[Server]:
    """A running server; skips without PostgreSQL's programs."""
    require(_find("initdb") is not None, "PostgreSQL's initdb is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cerebrum-pg-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(_ACCOUNT)
        os.chown(folder, account.pw_uid, account.pw_gid)
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop(immediately=True)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(_ACCOUNT)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def _find(program: str) -> str | None:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(installed[-1]) if installed else shutil.which(program)


def _program(program: str) -> str:
    found = _find(program)
    assert found is not None, program
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
