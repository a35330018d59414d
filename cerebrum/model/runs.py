"""Runs: one attempt of one task on one node, as an executor sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from cerebrum.model.program import Program
from cerebrum.model.resources import Resources


class RunPhase(StrEnum):
    """Where a run stands. The last four are final."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    START_FAILED = "start_failed"
    STOPPED = "stopped"  # asked for: preempted, cancelled, fenced

    @property
    def final(self) -> bool:
        """Whether nothing comes after it."""
        return self not in (RunPhase.STARTING, RunPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `run_id` names the attempt (see `run_id`): the same id is the same run.

    `duration_s` is the run time at speed 1, which is all there is to do without a program;
    `gpus` are GPU indices on the node; `stage_in_s` seconds that moving the inputs takes first.
    """

    run_id: str
    task: str
    node: str
    resources: Resources = field(default_factory=Resources)
    program: Program = field(default_factory=Program)
    duration_s: float = 0.0
    gpus: tuple[int, ...] = ()
    stage_in_s: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known of a run. Times are Unix seconds, NaN where it has not happened.

    `exit_code` of the process, negative for the signal that ended it; `reason` one line for people;
    `cpu_s` and `memory_peak_mib` what it used, NaN where unknown.
    """

    run_id: str
    phase: RunPhase
    task: str = ""
    node: str = ""
    started_unix_s: float = float("nan")
    ended_unix_s: float = float("nan")
    exit_code: int | None = None
    reason: str = ""
    cpu_s: float = float("nan")
    memory_peak_mib: float = float("nan")


def run_id(task: str, generation: int, attempt: int) -> str:
    """The name of an attempt: `cb-` and a hash, short enough for a pod.

    `task` is unique in the federation; `generation` counts the controller's assignments of it,
    `attempt` the agent's starts under that assignment.
    """
    text = f"{task}\0{generation}\0{attempt}".encode()
    return "cb-" + hashlib.sha256(text).hexdigest()[:24]
