"""The local executor: runs are processes on this machine, and outlive the agent.

Each run has a directory and a supervisor (`_local_supervisor.py`). The agent writes an intent,
durably, and has a supervisor forked; from then on the directory is the truth, and the agent only
reads it: a killed agent that comes back adopts what runs and learns what ended. Supervisors write a
run's id into a FIFO when it changed; every two seconds the agent looks for supervisors that died,
and has another one clear up after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cerebrum.executors import _local_folders as folders
from cerebrum.executors import _local_records as records
from cerebrum.executors._launches import (
    check_deadline,
    check_grace,
    check_launch,
    check_run_id,
    check_stream,
)
from cerebrum.executors._local_command import base_environment
from cerebrum.executors._local_logs import LogRetention, prune
from cerebrum.executors._local_spawner import Spawner
from cerebrum.executors.boot import boot_id, boottime_s
from cerebrum.model.errors import CerebrumError, InputError, NotFound
from cerebrum.model.runs import Launch, RunPhase, RunStatus

_WATCH_S = 2.0  # pokes bring the news at once; this is for supervisors that died
_ASK_AGAIN_S = 2.0  # a supervisor that was asked for needs a moment on a busy machine
_PRUNE_EVERY = 200  # forgotten runs
_STALE_FENCE_S = 3600.0  # of a run that never started
_LOGS_LIMIT = 2**26


@dataclass(eq=False, slots=True)
class _Known:
    """A run that was not forgotten."""

    status: RunStatus
    folder: Path
    asked_s: float = float("-inf")  # when a supervisor was last asked for, on the loop's clock


class LocalProcesses:
    """Runs as processes under `root`, which one executor owns at a time.

    `output_limit_bytes` per stream and run; `retention` of the logs of forgotten runs;
    `environment` is what runs get beside their own (None: PATH, HOME and the like of ours). Raises
    `CerebrumError` when `root` cannot be written or is in use.
    """

    name = "local"

    def __init__(
        self,
        root: str | Path,
        output_limit_bytes: int = 2**24,
        retention: LogRetention | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if output_limit_bytes < 1024:
            raise InputError(f"expected at least 1024, got {output_limit_bytes}").at(
                field="output_limit_bytes"
            )
        self.root = Path(root).resolve()
        self._limit = output_limit_bytes
        self._retention = retention or LogRetention()
        self._base = base_environment(os.environ) if environment is None else dict(environment)
        try:
            self._owner, self._pokes = _own(self.root)
            self._fences = _read_fences(self.root)
            self._runs = _adopt(self.root)
            prune(self.root, self._retention)
        except OSError as problem:
            raise CerebrumError(f"{self.root}: cannot keep runs here: {problem}") from problem
        self._spawner = Spawner(self.root / ".supervisors.log")
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._unread: list[RunStatus] = []
        self._news = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._forgotten = 0

    # -- the protocol -------------------------------------------------------------------------

    async def start(self, launch: Launch) -> None:
        """See `Executor.start`. Raises `InputError` for numbers that make no sense, and
        `CerebrumError` when the intent cannot be stored: then there is no run.
        """
        check_launch(launch)
        self._open()
        task = self._starting.get(launch.run_id)
        if task is None:
            if launch.run_id in self._runs:
                return
            task = asyncio.create_task(self._start(launch))
            self._starting[launch.run_id] = task
            task.add_done_callback(lambda done: self._begun(launch.run_id, done))
        await asyncio.shield(task)  # half a start would be neither there nor not

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        """See `Executor.stop`. A second stop can only hasten the first."""
        check_grace(grace_s)
        self._open()
        await self._settled(run_id)
        run = self._runs.get(run_id)
        if run is None or run.status.phase.final:
            return
        path = str(run.folder / records.STOP)
        first = records.read_record(path) or {"reason": reason, "grace_s": grace_s}
        stop = {"reason": first["reason"], "grace_s": min(grace_s, first["grace_s"])}
        try:
            records.write_record(path, stop, durable=False)
        except OSError as problem:
            raise CerebrumError(f"{run.folder}: cannot store a stop: {problem}") from problem
        records.nudge(str(run.folder))

    async def runs(self) -> Sequence[RunStatus]:
        """See `Executor.runs`: read from disk, now."""
        self._open()
        for run in self._runs.values():
            self._refresh(run)
        return [run.status for run in self._runs.values()]

    async def next_changes(self) -> Sequence[RunStatus]:
        """See `Executor.next_changes`. Changes from before we were made are in `runs` only."""
        self._open()
        await self._news.wait()
        self._news.clear()
        changes, self._unread = self._unread, []
        return changes

    async def forget(self, run_id: str) -> None:
        """See `Executor.forget`. A run that goes on is not forgotten."""
        run = self._runs.get(run_id)
        if run is None or not run.status.phase.final:
            return
        del self._runs[run_id]
        self._fences.pop(run_id, None)
        try:
            await asyncio.to_thread(folders.forget, run.folder)
        except OSError as problem:
            raise CerebrumError(f"{run.folder}: cannot forget: {problem}") from problem
        self._forgotten += 1
        if self._forgotten % _PRUNE_EVERY == 0:
            await asyncio.to_thread(prune, self.root, self._retention)

    async def fence(self, run_ids: Sequence[str], seconds: float | None) -> None:
        """See `Executor.fence`. A fence may stand before its run starts.

        One small file holds all deadlines; only supervisors whose deadline came nearer are woken.
        Raises `CerebrumError` when it cannot be written: the old deadlines then stand.
        """
        check_deadline(seconds)
        now_s = boottime_s()
        before = self._fences
        after = {run_id: deadline for run_id, deadline in before.items()
                 if run_id in self._runs or deadline > now_s - _STALE_FENCE_S}  # fmt: skip
        nearer: list[str] = []
        for run_id in run_ids:
            if seconds is None:
                after.pop(run_id, None)
                continue
            after[run_id] = now_s + seconds
            if after[run_id] < before.get(run_id, float("inf")):
                nearer.append(run_id)
        if after == before:
            return
        try:
            _write_fences(self.root, after)
        except OSError as problem:
            raise CerebrumError(f"{self.root}: cannot store fences: {problem}") from problem
        self._fences = after
        for run_id in nearer:
            run = self._runs.get(run_id)
            if run_id in self._starting or (run is not None and not run.status.phase.final):
                records.nudge(str(self.root / run_id))

    async def logs(
        self, run_id: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """See `Executor.logs`; also of forgotten runs, while their logs are kept."""
        check_stream(stream)
        if offset < 0 or limit < 0:
            raise InputError(f"expected at least 0, got {min(offset, limit)}").at(field="offset")
        try:
            check_run_id(run_id)
            return await asyncio.to_thread(_read, self.root / run_id / stream, offset, limit)
        except FileNotFoundError:
            if run_id in self._runs:
                return b""
            raise NotFound(f"no run {run_id!r}, or its logs are gone") from None
        except InputError as problem:
            raise NotFound(f"no run {run_id!r}: {problem}") from problem

    async def close(self) -> None:
        """See `Executor.close`. Another executor may own the root afterwards."""
        if self._owner < 0:
            return
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        if self._watcher is not None:
            asyncio.get_running_loop().remove_reader(self._pokes)
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await asyncio.to_thread(self._spawner.close)
        os.close(self._pokes)
        os.close(self._owner)
        self._owner = -1

    # -- behind it ----------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin to listen, on the loop of whoever calls first."""
        if self._owner < 0:
            raise CerebrumError(f"{self.root}: this executor is closed")
        if self._watcher is None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._pokes, self._poked)
            self._watcher = loop.create_task(self._watch())

    async def _start(self, launch: Launch) -> None:
        asked_s = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(self._begin, launch)
        except OSError as problem:
            raise CerebrumError(
                f"{self.root / launch.run_id}: cannot store the run: {problem}"
            ) from problem
        status = RunStatus(launch.run_id, RunPhase.STARTING, launch.task, launch.node)
        run = _Known(status, self.root / launch.run_id, asked_s)
        self._runs[launch.run_id] = run
        self._refresh(run)  # it may have been too quick for us

    def _begin(self, launch: Launch) -> None:
        """In a thread: the intent, then somebody to carry it out."""
        folder = self.root / launch.run_id
        folders.write_intent(folder, launch, self._base, self._limit)
        try:
            self._spawner.spawn(folder)
        except CerebrumError:
            folders.withdraw(folder)
            raise

    def _begun(self, run_id: str, task: asyncio.Task[None]) -> None:
        del self._starting[run_id]
        if not task.cancelled():
            task.exception()  # whoever waited for it has it; nobody may have waited

    async def _settled(self, run_id: str) -> None:
        """Wait for a start under way, however it ends."""
        task = self._starting.get(run_id)
        if task is not None:
            await asyncio.wait([task])

    def _poked(self) -> None:
        """Supervisors say which runs changed."""
        with contextlib.suppress(BlockingIOError):
            for line in set(os.read(self._pokes, 2**16).splitlines()):
                run = self._runs.get(line.decode(errors="replace"))
                if run is not None:  # half a name, cut by the end of the buffer, is no run
                    self._refresh(run)

    def _refresh(self, run: _Known) -> None:
        """Read what became of a run since we last looked."""
        if run.status.phase.final:
            return
        changes = folders.changes_since(run.folder, run.status)
        if changes:
            run.status = changes[-1]
            self._unread += changes
            self._news.set()

    async def _watch(self) -> None:
        """See to runs whose supervisor died, or never came to be."""
        while True:
            for run in list(self._runs.values()):
                with contextlib.suppress(CerebrumError, OSError):  # the next round tries again
                    await self._watch_over(run)
            await asyncio.sleep(_WATCH_S)

    async def _watch_over(self, run: _Known) -> None:
        self._refresh(run)
        if run.status.phase.final or records.has_supervisor(str(run.folder)):
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - run.asked_s >= _ASK_AGAIN_S:
            run.asked_s = now_s
            await asyncio.to_thread(self._spawner.spawn, run.folder)


def _own(root: Path) -> tuple[int, int]:
    """Descriptors of the root's ownership and of its FIFO. Raises OSError, `CerebrumError`."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = os.open(root / ".owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fifo = root / records.POKES
        if not fifo.exists():
            os.mkfifo(fifo, 0o600)
        # Read and write, so that it neither blocks nor ends while no supervisor has it open.
        return owner, os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError as problem:
        os.close(owner)
        raise CerebrumError(f"{root}: in use by another agent") from problem
    except OSError:
        os.close(owner)
        raise


def _adopt(root: Path) -> dict[str, _Known]:
    """Every run there is, in the order of their names."""
    runs: dict[str, _Known] = {}
    for folder in sorted(root.iterdir()):
        status = None if folder.name.startswith(".") else folders.read_status(folder)
        if status is not None:
            runs[folder.name] = _Known(status, folder)
    return runs


def _read_fences(root: Path) -> dict[str, float]:
    """The deadlines on this boot's clock; those of another boot are past."""
    found = records.read_record(str(root / records.FENCES))
    if found is None:
        return {}
    same = found["boot_id"] == boot_id()
    return {run_id: float(s) if same else -1.0 for run_id, s in found["deadlines"].items()}


def _write_fences(root: Path, deadlines: Mapping[str, float]) -> None:
    """Not durable: after a power failure all runs are over, and every fence is past."""
    fences = {"boot_id": boot_id(), "deadlines": dict(deadlines)}
    records.write_record(str(root / records.FENCES), fences, durable=False)


def _read(path: Path, offset: int, limit: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(min(limit, _LOGS_LIMIT))
