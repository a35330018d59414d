"""What we would say to another scheduler that asks: which of these nodes, and how good is each.

The state behind kube-scheduler's extender protocol, without its HTTP: a pod of anybody is judged by
the engine's filters and the policy's scores as the cluster is now. Nothing is assumed by that; the
watch brings what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Mirror
from cerebrum.model.events import REFUSAL_TEXT, Refusal
from cerebrum.model.protocols import Explains
from cerebrum.model.tasks import Task, TaskTable

_FOR_GOOD = int(Refusal.SELECTOR | Refusal.TAINT | Refusal.GPU_MODEL | Refusal.UNSCHEDULABLE)
"""Refusals that ending other pods cannot cure."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Nodes that can take the pod, with 0..10 each; and the others, with why not.

    `hopeless` are those of `refused` that ending pods there would not help.
    """

    scores: dict[str, int]
    refused: dict[str, str]
    hopeless: frozenset[str]


class Advisor:
    """Judges pods over one mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._number = 0

    def judge(self, pod: PodFacts, nodes: Sequence[str], score: bool = True) -> Judgement:
        """What we think of a pod on these nodes; `score` False leaves all scores 0."""
        self._mirror.flush()
        engine = self._mirror.recorded.engine
        self._number += 1
        task = Task(f"asked#{self._number}", pod.task_class, priority=pod.priority,
                    labels=pod.labels)  # fmt: skip
        [number] = engine.admit(TaskTable.from_tasks([task]))
        try:
            return self._judged(int(number), nodes, score)
        finally:
            engine.retire([int(number)])

    def _judged(self, task: int, nodes: Sequence[str], score: bool) -> Judgement:
        snapshot = self._mirror.recorded.engine.snapshot()
        bits = snapshot.refusals(task)
        rows = {name: self._mirror.nodes.row(name) for name in nodes}
        refused = {
            name: "node is not known" if row is None else _why(int(bits[row]))
            for name, row in rows.items()
            if row is None or bits[row] != 0
        }
        hopeless = frozenset(
            name for name in refused if (row := rows[name]) is None or bits[row] & _FOR_GOOD
        )
        fit = {name: row for name, row in rows.items() if row is not None and name not in refused}
        policy = self._mirror.recorded.policy
        if not (score and fit and isinstance(policy, Explains)):
            return Judgement(dict.fromkeys(fit, 0), refused, hopeless)
        totals = np.full(len(bits), np.nan)
        for line in policy.explain(snapshot, task).rows:
            if not line.refusals:
                totals[line.row] = line.total
        return Judgement(_scaled(fit, totals), refused, hopeless)


def _why(bits: int) -> str:
    return ", ".join(text for flag, text in REFUSAL_TEXT.items() if bits & int(flag))


def _scaled(fit: dict[str, int], totals: NDArray[np.float64]) -> dict[str, int]:
    """Totals as 0..10, the best 10."""
    found = np.nan_to_num(totals[list(fit.values())], nan=-np.inf)
    finite = found[np.isfinite(found)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    width = (high - low) or 1.0
    return {
        name: round(10 * (float(total) - low) / width) if np.isfinite(total) and high > low else 0
        for name, total in zip(fit, found, strict=True)
    }
