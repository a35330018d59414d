"""A decision as events, and whether it may be carried out: what every executor shares."""

from __future__ import annotations

from cerebrum.engine.engine import Engine
from cerebrum.model.decisions import Action, Bind, Decision, Defer, Preempt, Reject, Wait
from cerebrum.model.errors import InfeasibleDecision
from cerebrum.model.events import Event, EventKind, TaskState

_STARTED = (TaskState.BOUND, TaskState.RUNNING, TaskState.SUCCEEDED)


def event_of(action: Action, now_s: float) -> Event:
    """The event an action causes at once. Raises `InfeasibleDecision` for what is no action."""
    match action:
        case Bind(task, row, gpus, ways):
            return Event(now_s, EventKind.BOUND, task, row, gpus, cache_ways=ways)
        case Preempt(task):
            return Event(now_s, EventKind.PREEMPTED, task)
        case Reject(task, reason):
            return Event(now_s, EventKind.REJECTED, task, reason=reason)
        case Wait(task, reason):
            return Event(now_s, EventKind.UNSCHEDULABLE, task, reason=reason)
        case Defer(task, until_s):
            if not until_s > now_s:
                raise InfeasibleDecision(f"{action} does not lie after now ({now_s})")
            return Event(now_s, EventKind.DEFERRED, task, value=until_s)
        case _:  # a user's policy may return anything
            raise InfeasibleDecision(f"not an action: {action!r}")


def check_gangs(engine: Engine, decision: Decision) -> None:
    """A gang starts as a whole: enough members bound by this decision or started already."""
    snapshot, jobs = engine.snapshot(), engine.roster.jobs.names
    bound = {action.task for action in decision.actions if isinstance(action, Bind)}
    for job in {int(snapshot.tasks.job_id[task]) for task in bound} - {-1}:
        need, members = snapshot.gang(job)
        begun = sum(int(m) in bound or snapshot.tasks.state[m] in _STARTED for m in members)
        if begun < need:
            raise InfeasibleDecision(
                f"gang {jobs[job]!r} needs {need} tasks at once, {begun} would run"
            )
