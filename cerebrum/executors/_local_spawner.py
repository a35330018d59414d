"""The agent's end of the zygote: starts it when it is needed, and again when it was killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

from cerebrum.model.errors import CerebrumError

_PACKAGE = Path(__file__).resolve().parents[2]  # where `import cerebrum` finds us
_CODE = (
    "import sys; sys.path.append({path!r}); "
    "from cerebrum.executors._local_zygote import serve; serve()"
)
_LOG_LIMIT = 2**20


class Spawner:
    """Asks for supervisors. `log` takes what they complain about. Safe to use from threads."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._zygote: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def spawn(self, folder: Path) -> None:
        """Have a supervisor started for the run in `folder`. Raises `CerebrumError`.

        That it was asked for is all that is known: who needs to know more looks at the run's lock.
        """
        with self._turn:
            try:
                self._tell(folder)
            except BrokenPipeError:  # somebody killed it
                self._end()
                self._tell_or_fail(folder)

    def _tell_or_fail(self, folder: Path) -> None:
        try:
            self._tell(folder)
        except BrokenPipeError as problem:
            raise CerebrumError(f"supervisors do not start: see {self._log}") from problem

    def close(self) -> None:
        """Let the zygote end; the supervisors go on."""
        with self._turn:
            self._end()

    def _tell(self, folder: Path) -> None:
        zygote = self._zygote or self._begin()
        assert zygote.stdin is not None
        zygote.stdin.write(os.fsencode(folder) + b"\0")
        zygote.stdin.flush()

    def _begin(self) -> subprocess.Popen[bytes]:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.unlink()
        try:
            with self._log.open("ab") as log:
                self._zygote = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-E", "-c", _CODE.format(path=str(_PACKAGE))],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                    start_new_session=True,  # Ctrl-C in the agent's terminal is not for the runs
                )
        except OSError as problem:
            raise CerebrumError(f"cannot start a supervisor: {problem.strerror}") from problem
        return self._zygote

    def _end(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is None:
            return
        assert zygote.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            zygote.stdin.close()
        zygote.wait()
