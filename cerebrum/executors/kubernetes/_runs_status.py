"""What a pod says about its run. A pure function of the pod: asked twice, it says the same.

A pod that is being deleted is not over: its containers run until the kubelet says otherwise. It is
over when its phase is final; when it was deleted before any node had it; or when somebody deleted
it by force (grace 0), who thereby vouches for its end.
"""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

from cerebrum.executors.kubernetes._runs_objects import (
    END,
    NODE,
    STAGE,
    TASK,
    WATCHDOG,
    Mark,
    RunPod,
    Terminated,
)
from cerebrum.executors.kubernetes.times import unix_s
from cerebrum.model.runs import RunPhase, RunStatus

FENCED = "fenced"
DELETED = "its pod was deleted"
_SIGNALLED = 128  # what container runtimes add to the signal that ended a process
_SIGNALS = 64
_MARKED = {
    "stopped": RunPhase.STOPPED,
    "start_failed": RunPhase.START_FAILED,
    "failed": RunPhase.FAILED,
}


def status_of(pod: RunPod) -> RunStatus:
    """Where the run stands."""
    began_s = began_unix_s(pod)
    if not is_over(pod):
        phase = RunPhase.STARTING if math.isnan(began_s) else RunPhase.RUNNING
        return _status(pod, phase, began_s)
    phase, reason = _ending(pod, not math.isnan(began_s))
    ended = pod.container().terminated
    code = None if ended is None or phase is RunPhase.START_FAILED else _exit_code(ended)
    if phase is RunPhase.SUCCEEDED and code is None:
        code = 0
    return _status(pod, phase, began_s, max(_ended_unix_s(pod), _floor(began_s)), code, reason)


def vanished(pod: RunPod) -> RunStatus:
    """The end of a run whose pod is gone, though it was not over when it was last seen."""
    began_s = began_unix_s(pod)
    mark = mark_of(pod)
    phase, reason = _marked(mark, began_s) if mark else (_failed(began_s), DELETED)
    last_s = max(_ended_unix_s(pod), _floor(began_s))
    return _status(pod, phase, began_s, last_s, None, reason)


def is_over(pod: RunPod) -> bool:
    """Whether nothing of the run goes on, and nothing of it will begin."""
    if pod.status.phase in ("Succeeded", "Failed"):
        return True
    m = pod.metadata
    if m.deletionTimestamp is None:
        return False
    return not pod.spec.node_name or m.deletionGracePeriodSeconds == 0


def began_unix_s(pod: RunPod) -> float:
    """When the command began; NaN if it has not."""
    state = pod.container()
    if state.running is not None:
        return _unix(state.running.started_at or pod.status.start_time, pod)
    if state.terminated is not None:
        started = state.terminated.started_at
        # Runtimes give the epoch for a command that could not be started.
        if started is not None and started.timestamp() > 0:
            return started.timestamp()
        return _unix(started, pod) if started is None and _worked(state.terminated) else math.nan
    # Phases that were set by a script, without a word about containers.
    bare = pod.status.phase == "Running" and not pod.status.container_statuses
    if bare or pod.status.phase == "Succeeded":
        return _unix(pod.status.start_time, pod)
    return math.nan


def mark_of(pod: RunPod) -> Mark | None:
    """Why it has to end, if somebody asked for that."""
    try:
        return msgspec.json.decode(pod.note(END) or "null", type=Mark | None)
    except msgspec.MsgspecError:  # by hand, probably
        return Mark("stopped", pod.note(END)[:1000])


def why_not_started(pod: RunPod) -> str:
    """What keeps a run from beginning, in one line for people."""
    for name in (STAGE, WATCHDOG, "task"):
        waiting = pod.container(name).waiting
        if waiting is not None and waiting.reason not in ("", "PodInitializing"):
            return _line(waiting.reason, waiting.message)
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return _line(condition.reason, condition.message)
    if not pod.spec.node_name:
        return "no scheduler has given it a node"
    return f"node {pod.spec.node_name} has not started it"


def _ending(pod: RunPod, began: bool) -> tuple[RunPhase, str]:
    mark = mark_of(pod)
    if mark is not None:
        return _marked(mark, began_unix_s(pod))
    guard = pod.container(WATCHDOG).terminated
    if guard is not None and guard.message.strip() == FENCED:
        return RunPhase.STOPPED, FENCED
    if pod.status.phase == "Succeeded":
        return RunPhase.SUCCEEDED, ""
    if pod.status.phase == "Failed":
        return (RunPhase.FAILED if began else RunPhase.START_FAILED), _why_failed(pod)
    return (RunPhase.FAILED if began else RunPhase.START_FAILED), DELETED


def _marked(mark: Mark, began_s: float) -> tuple[RunPhase, str]:
    phase = _MARKED.get(mark.phase, RunPhase.STOPPED)
    if phase is RunPhase.STOPPED:
        return phase, mark.reason
    return _failed(began_s), mark.reason  # what began cannot fail to start, and the reverse


def _failed(began_s: float) -> RunPhase:
    return RunPhase.START_FAILED if math.isnan(began_s) else RunPhase.FAILED


def _why_failed(pod: RunPod) -> str:
    if pod.status.reason == "DeadlineExceeded":
        return "timed out"
    if pod.status.reason:  # Evicted, OutOfcpu, NodeLost, UnexpectedAdmissionError
        return _line(pod.status.reason, pod.status.message)
    for condition in pod.status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return _line(condition.reason, condition.message)
    ended = pod.container().terminated
    if ended is None:
        staged = pod.container(STAGE).terminated
        ended = staged if staged is not None and staged.exit_code else None
    if ended is None:
        return pod.status.message or "its pod failed"
    if ended.reason == "OOMKilled":
        return "out of memory (OOMKilled)"
    said = _line("" if ended.reason == "Error" else ended.reason, ended.message)
    return said or f"exit code {_exit_code(ended)}"


def _worked(ended: Terminated) -> bool:
    return ended.reason not in ("StartError", "ContainerCannotRun", "ContainerStatusUnknown")


def _exit_code(ended: Terminated) -> int:
    if ended.signal:
        return -ended.signal
    over = ended.exit_code - _SIGNALLED
    return -over if 1 <= over <= _SIGNALS else ended.exit_code


def _ended_unix_s(pod: RunPod) -> float:
    """From what does not change any more once a pod is over."""
    for name in ("task", STAGE):
        ended = pod.container(name).terminated
        if ended is not None and ended.finished_at is not None and ended.finished_at.timestamp():
            return ended.finished_at.timestamp()
    m = pod.metadata
    if pod.status.phase not in ("Succeeded", "Failed") and m.deletionTimestamp is not None:
        return unix_s(m.deletionTimestamp) or 0.0
    return _unix(pod.status.start_time, pod)


def _status(
    pod: RunPod,
    phase: RunPhase,
    began_s: float,
    ended_s: float = math.nan,
    exit_code: int | None = None,
    reason: str = "",
) -> RunStatus:
    node = pod.note(NODE) or pod.spec.node_name
    return RunStatus(
        pod.run_id, phase, pod.note(TASK), node, began_s, ended_s, exit_code, reason[:1000]
    )


def _unix(moment: datetime | None, pod: RunPod) -> float:
    if moment is not None:
        return moment.timestamp()
    return unix_s(pod.metadata.creationTimestamp) or 0.0


def _floor(began_s: float) -> float:
    return 0.0 if math.isnan(began_s) else began_s


def _line(reason: str, message: str) -> str:
    return " ".join(": ".join(part for part in (reason, message) if part).split())
