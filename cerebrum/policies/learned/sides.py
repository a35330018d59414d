"""What the two sides of a rollout are told apart and recorded by: keys, subjects, choices."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cerebrum.model.decisions import Bind, Decision, Wait
from cerebrum.model.protocols import Explains, Explanation, Policy, ScoreRow
from cerebrum.model.snapshot import Snapshot

BASELINE, CANDIDATE = "baseline", "candidate"


@dataclass(frozen=True, slots=True)
class Beside:
    """One decision for which the candidate was asked, or that exploration may have changed.

    `task` and `key` names; `decider` whose decision it is; `baseline`, `candidate` the nodes they
    chose ("": none, or not asked); `node` the one it became; `trip` the reason a guard gave;
    `regret` the judge's score of the baseline's node less that of the candidate's (NaN: not
    measured); `propensity` how probable `node` was given the key's side, over `nodes` to choose
    from; `candidate_propensity` how probable the candidate in charge would make it (NaN: unknown).
    """

    time_s: float
    task: str
    key: str
    mode: str
    decider: str
    baseline: str = ""
    candidate: str = ""
    node: str = ""
    trip: str = ""
    regret: float = math.nan
    propensity: float = 1.0
    candidate_propensity: float = math.nan
    nodes: int = 0


def key_of(snapshot: Snapshot, task: int) -> str:
    """What a task belongs to: the part of its name before the first `/` (the workflow in an agent,
    the namespace of a pod), else its job's first member, else itself."""
    name = plain(snapshot.task_names[task])
    head, slash, _ = name.partition("/")
    if slash:
        return head
    job = int(snapshot.tasks.job_id[task])
    if job < 0:
        return name
    return plain(snapshot.task_names[int(snapshot.gang(job)[1][0])])


def plain(name: str) -> str:
    """Without the number that services add to make a name unique."""
    head, mark, number = name.rpartition("#")
    return head if mark and number.isdigit() else name


@dataclass(frozen=True, slots=True)
class Drawn:
    """A node drawn among `of` that a task fits on; -1: its turn to be explored has not come."""

    row: int
    of: int


class Once:
    """The baseline's decision on a snapshot, made when somebody first asks."""

    def __init__(self, policy: Policy, snapshot: Snapshot) -> None:
        self._policy, self._snapshot = policy, snapshot
        self.made: Decision | None = None

    def __call__(self) -> Decision:
        """The decision, the same each time."""
        if self.made is None:
            self.made = self._policy.decide(self._snapshot)
        return self.made


def subject_of(decision: Decision, snapshot: Snapshot) -> int:
    """The task a decision is about first; the head of the queue for an empty one; -1: none."""
    for action in decision.actions:
        if isinstance(action, Bind):
            return action.task
    if decision.actions:
        return decision.actions[0].task
    return int(snapshot.pending[0]) if len(snapshot.pending) else -1


def row_of(decision: Decision | None, task: int) -> int:
    """Where a decision binds the task; -1: nowhere."""
    actions = () if decision is None else decision.actions
    return next((a.row for a in actions if isinstance(a, Bind) and a.task == task), -1)


def single(decision: Decision) -> Bind | None:
    """The only bind, if that is all that was decided."""
    actions = decision.actions
    return actions[0] if len(actions) == 1 and isinstance(actions[0], Bind) else None


def starts(decision: Decision) -> bool:
    """Whether a task begins with it."""
    return any(isinstance(action, Bind) for action in decision.actions)


def only_waits(decision: Decision) -> bool:
    """Whether all it does is to tell tasks that they wait."""
    return all(isinstance(action, Wait) for action in decision.actions)


def explained(policy: Policy, snapshot: Snapshot, task: int) -> Explanation:
    """The policy's own table, or only the filters' where it gives none."""
    if isinstance(policy, Explains):
        return policy.explain(snapshot, task)
    refusals = snapshot.refusals(task)
    rows = tuple(
        ScoreRow(row, int(bits), total=-math.inf if bits else 0.0)
        for row, bits in enumerate(refusals)
        if bits >= 0
    )
    fits = sum(not one.refusals for one in rows)
    note = f"policy {policy.name!r} does not explain its scores: filters only"
    return Explanation(task, (), rows, -1, fits, "unknown", note)


def joined(*notes: str) -> str:
    """One note of several."""
    return "; ".join(note for note in notes if note)
