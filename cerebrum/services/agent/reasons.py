"""Why a policy put a task on its node, in one line for people."""

from __future__ import annotations

from collections.abc import Callable

from cerebrum.model.decisions import Bind
from cerebrum.model.protocols import Explains, Explanation, Policy
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned.rollout import Rollout

SCORED_NODES = 4096
"""Nodes looked at for explanations in one pass over the queue; beyond it binds go unexplained."""


class Reasons:
    """Explains binds of one pass, as long as that costs little."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._left = policy, SCORED_NODES

    def of(self, snapshot: Callable[[], Snapshot], action: Bind) -> str:
        """The reason, asked before the bind is applied; the policy's name when it cannot say.

        A policy that fails to explain itself has decided all the same.
        """
        policy = self._policy
        if isinstance(policy, Rollout):
            why = self._of(policy.in_charge, snapshot, action)
            return f"{why}; {policy.advice}" if policy.advice else why
        return self._of(policy, snapshot, action)

    def _of(self, policy: Policy, snapshot: Callable[[], Snapshot], action: Bind) -> str:
        name = policy.name
        if not isinstance(policy, Explains):
            return name
        now = snapshot()
        self._left -= len(now.nodes)
        if self._left < 0:
            return name
        try:
            return f"{name}: {sentence(policy.explain(now, action.task), action.row)}"
        except Exception:  # a user's policy may raise anything
            return name


def sentence(table: Explanation, row: int) -> str:
    """E.g. `best of 3 feasible nodes (of 5), score 0.82, next 0.74`."""
    totals = {one.row: one.total for one in table.rows if not one.refusals}
    if row not in totals:
        return "room was made for it"
    of = f"of {len(totals)} feasible nodes (of {len(table.rows)})"
    if len(totals) == 1:
        return f"the only feasible node (of {len(table.rows)})"
    equal = sum(total == totals[row] for total in totals.values())
    if equal == len(totals):
        return f"{table.tie_rule} {of}, all equal"
    below = max((total for total in totals.values() if total < totals[row]), default=None)
    text = f"best {of}, score {totals[row]:.4g}"
    text += "" if below is None else f", next {below:.4g}"
    return text if equal == 1 else f"{text}; {table.tie_rule} of {equal} with that score"
