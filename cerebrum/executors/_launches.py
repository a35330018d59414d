"""What every live executor refuses to even consider."""

from __future__ import annotations

import math
import re

from cerebrum.model.errors import InputError
from cerebrum.model.runs import Launch

# A run id names a directory, a pod or a job: it never leaves its place and is never hidden.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STREAMS = ("stdout", "stderr")
"""What a run writes to."""


def check_launch(launch: Launch) -> None:
    """Raise `InputError` naming the field: a launch that no executor could mean to start."""
    check_run_id(launch.run_id)
    if not launch.duration_s >= 0:
        raise InputError(f"expected seconds of at least 0, got {launch.duration_s}").at(
            field="duration_s"
        )
    if not (math.isfinite(launch.speed) and launch.speed > 0):
        raise InputError(f"expected a finite number above 0, got {launch.speed}").at(field="speed")
    if not (math.isfinite(launch.stage_in_s) and launch.stage_in_s >= 0):
        raise InputError(f"expected finite seconds of at least 0, got {launch.stage_in_s}").at(
            field="stage_in_s"
        )
    for text in (launch.task, launch.node):
        if "\0" in text:
            raise InputError("expected text without NUL").at(field="task")


def check_run_id(run_id: str) -> None:
    """Raise `InputError` unless `run_id` can name a directory or a pod."""
    if not _RUN_ID.fullmatch(run_id):
        raise InputError(f"expected 1 to 100 of A-Z a-z 0-9 . _ -, got {run_id!r}").at(
            field="run_id"
        )


def check_grace(grace_s: float) -> None:
    """Raise `InputError` unless a stop can wait that long."""
    if not (math.isfinite(grace_s) and grace_s >= 0):
        raise InputError(f"expected finite seconds of at least 0, got {grace_s}").at(
            field="grace_s"
        )


def check_stream(stream: str) -> None:
    """Raise `InputError` unless `stream` is one of `STREAMS`."""
    if stream not in STREAMS:
        raise InputError(f"expected stdout or stderr, got {stream!r}").at(field="stream")


def check_deadline(seconds: float | None) -> None:
    """Raise `InputError` unless a fence can stand there."""
    if seconds is not None and not math.isfinite(seconds):
        raise InputError(f"expected finite seconds or None, got {seconds}").at(field="seconds")
