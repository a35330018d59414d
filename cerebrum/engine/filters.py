"""Labels and taints, compiled to masks: one row per distinct set of constraints, one column a node.

Nodes that look the same to a constraint set (same labels it asks about, same taints) are judged
once, so 100,000 nodes cost a handful of evaluations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Node
from cerebrum.model.constraints import Constraints

SELECTOR_BIT, TAINT_BIT = 1, 2  # Refusal.SELECTOR and Refusal.TAINT, shifted right by 8


@dataclass
class ConstraintTable:
    """The distinct constraint sets of a scenario, by id in order of first sight."""

    sets: list[Constraints] = field(default_factory=list[Constraints])
    _ids: dict[Constraints, int] = field(default_factory=dict[Constraints, int])

    def intern(self, constraints: Constraints) -> int:
        """The id of a constraint set."""
        found = self._ids.get(constraints)
        if found is None:
            found = self._ids[constraints] = len(self.sets)
            self.sets.append(constraints)
        return found

    @property
    def labelled(self) -> bool:
        """Whether any set prefers nodes, so that labels matter to scores."""
        return any(constraints.preferred for constraints in self.sets)

    def judge(
        self, nodes: Sequence[Node]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
        """Forbidden bits, preference and disliked taints: each [sets x nodes]."""
        shape = (len(self.sets), len(nodes))
        forbidden = np.zeros(shape, np.uint8)
        preference = np.zeros(shape, np.int32)
        disliked = np.zeros(shape, np.int32)
        for k, constraints in enumerate(self.sets):
            keys = _keys(constraints)
            judged: dict[object, tuple[int, int, int]] = {}
            for row, node in enumerate(nodes):
                look = _look(node, keys)
                verdict = judged.get(look)
                if verdict is None:
                    verdict = judged[look] = judge_one(constraints, node)
                if verdict != (0, 0, 0):
                    forbidden[k, row], preference[k, row], disliked[k, row] = verdict
        return forbidden, preference, disliked


def judge_one(constraints: Constraints, node: Node) -> tuple[int, int, int]:
    """Forbidden bits, preference and disliked taints of one node."""
    bits = 0 if constraints.selects(node.name, node.labels) else SELECTOR_BIT
    if constraints.untolerated(node.taints) is not None:
        bits |= TAINT_BIT
    preference = constraints.preference(node.name, node.labels)
    return bits, preference, constraints.disliked_taints(node.taints)


def _keys(constraints: Constraints) -> tuple[str, ...] | None:
    """The label keys a set asks about; None if it asks for node names."""
    terms = [*constraints.required, *(term for _, term in constraints.preferred)]
    if any(term.fields for term in terms):
        return None
    keys = {key for key, _ in constraints.selector}
    keys.update(_label_keys(terms))
    return tuple(sorted(keys))


def _label_keys(terms: Iterable[object]) -> Iterable[str]:
    for term in terms:
        for requirement in getattr(term, "labels", ()):
            yield requirement.key


def _look(node: Node, keys: tuple[str, ...] | None) -> object:
    if keys is None:
        return node.name
    return tuple(node.labels.get(key) for key in keys), node.taints
