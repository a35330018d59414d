"""Run directories as the agent sees them: writing an intent, reading a status, forgetting."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cerebrum.executors import _local_records as records
from cerebrum.executors._launches import STREAMS
from cerebrum.executors._local_command import run_environment
from cerebrum.executors.boot import boot_id
from cerebrum.model.runs import Launch, RunPhase, RunStatus

_RECORDS = (records.PREPARED, records.STARTED, records.STOP, records.ENDED, records.LOCK)


def write_intent(
    folder: Path, launch: Launch, base: Mapping[str, str], output_limit_bytes: int
) -> None:
    """Make the run exist, durably. Raises OSError, and then it does not exist."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in (*_RECORDS, *STREAMS):  # of a forgotten run with this id
        (folder / name).unlink(missing_ok=True)
    try:
        intent = _intent(launch, base, output_limit_bytes)
        records.write_record(str(folder / records.LAUNCH), intent)
        records.sync_directory(str(folder.parent))
    except OSError:
        withdraw(folder)
        raise


def withdraw(folder: Path) -> None:
    """Take an intent back before anybody was asked to carry it out."""
    with contextlib.suppress(OSError):
        (folder / records.LAUNCH).unlink(missing_ok=True)
        folder.rmdir()


def forget(folder: Path) -> None:
    """Remove all but what the run wrote. The launch goes first: without it there is no run."""
    (folder / records.LAUNCH).unlink(missing_ok=True)
    for name in _RECORDS:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "work", ignore_errors=True)


def read_status(folder: Path) -> RunStatus | None:
    """What is known of the run in `folder`; None if there is none."""
    launch = records.read_record(str(folder / records.LAUNCH))
    if launch is None:
        return None
    status = RunStatus(folder.name, RunPhase.STARTING, launch["task"], launch["node"])
    return (changes_since(folder, status) or [status])[-1]


def changes_since(folder: Path, status: RunStatus) -> list[RunStatus]:
    """The phases that a run went through after `status`, in order."""
    changes: list[RunStatus] = []
    ended = records.read_record(str(folder / records.ENDED))
    if status.phase is RunPhase.STARTING:
        started = records.read_record(str(folder / records.STARTED))
        if started is not None:
            began_s = float(started["unix_s"])
            status = replace(status, phase=RunPhase.RUNNING, started_unix_s=began_s)
            changes.append(status)
    if ended is not None and not status.phase.final:
        changes.append(
            replace(
                status,
                phase=RunPhase(ended["phase"]),
                ended_unix_s=float(ended["unix_s"]),
                exit_code=ended["exit_code"],
                reason=str(ended["reason"]),
                cpu_s=_number(ended["cpu_s"]),
                memory_peak_mib=_number(ended["memory_peak_mib"]),
            )
        )
    return changes


def _intent(launch: Launch, base: Mapping[str, str], output_limit_bytes: int) -> dict[str, Any]:
    program = launch.program
    gpus = ",".join(map(str, launch.gpus))
    return {
        "run_id": launch.run_id,
        "task": launch.task,
        "node": launch.node,
        "command": list(program.command),
        "image": program.image,
        "env": run_environment(base, program.env, launch.run_id, launch.task, launch.node, gpus),
        "workdir": program.workdir,
        "timeout_s": program.timeout_s,
        "memory_mib": launch.resources.memory_mib,
        "duration_s": launch.duration_s,
        "speed": launch.speed,
        "stage_in_s": launch.stage_in_s,
        "output_limit_bytes": output_limit_bytes,
        "boot_id": boot_id(),
        "unix_s": time.time(),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
