"""Labels and taints, compiled to masks: one row per distinct set of constraints, one column a node.

`Masks` keeps them up to date: a new set is judged on all nodes at once (`looks`), a node that comes
or changes by all sets. Rows of the masks have room for nodes to come: `counts[STRIDE]` columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine.looks import SELECTOR_BIT, TAINT_BIT, VOLUME_BIT, Looks
from cerebrum.model.cluster import Node
from cerebrum.model.constraints import Constraints

_LABELS = ("preference", "disliked")


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


class Masks:
    """The table's `forbidden`, `preference` and `disliked`: sets x `counts[STRIDE]`, row-major.

    The last two stay empty until a set prefers nodes or a taint is disliked.
    """

    def __init__(self, table: at.Table, constraints: ConstraintTable, looks: Looks) -> None:
        self._table, self._constraints, self._looks = table, constraints, looks
        self._judged = self._room = 0  # sets

    def judge_new_sets(self, rows: int) -> None:
        """Judge the sets that came since the last call on the first `rows` nodes."""
        sets = self._constraints.sets
        if len(sets) > self._room:
            self._reshape(max(len(sets), 2 * self._room), self._stride)
        for k in range(self._judged, len(sets)):
            forbidden, preference, disliked = self._looks.judge(sets[k])
            self._of("forbidden")[k, :rows] = forbidden
            if preference.any() or disliked.any() or sets[k].preferred:
                self._look_at_labels()
            if self._labelled:
                self._of("preference")[k, :rows] = preference
                self._of("disliked")[k, :rows] = disliked
        self._judged = len(sets)

    def judge_node(self, row: int, node: Node) -> None:
        """Judge a node that came or looks otherwise now by every set judged so far."""
        sets = self._constraints.sets[: self._judged]
        if not sets:
            return
        verdicts = np.array([judge_one(constraints, node) for constraints in sets], np.int32)
        self._of("forbidden")[: len(sets), row] = verdicts[:, 0]
        if verdicts[:, 1:].any():
            self._look_at_labels()
        if self._labelled:
            self._of("preference")[: len(sets), row] = verdicts[:, 1]
            self._of("disliked")[: len(sets), row] = verdicts[:, 2]

    def widen(self, stride: int) -> None:
        """Make room for that many nodes."""
        self._reshape(self._room, stride)

    @property
    def _stride(self) -> int:
        return int(self._table.state.counts[at.STRIDE])

    @property
    def _labelled(self) -> bool:
        return bool(self._table.state.counts[at.LABELLED])

    def _of(self, name: str) -> NDArray[np.int32]:
        return getattr(self._table.state, name).reshape(self._room, self._stride)

    def _look_at_labels(self) -> None:
        """From now on wishes about labels and taints count; until now there were none."""
        if not self._labelled:
            none = np.zeros(self._room * self._stride)
            self._table.replace(**dict.fromkeys(_LABELS, none))
            self._table.state.counts[at.LABELLED] = 1

    def _reshape(self, room: int, stride: int) -> None:
        wider: dict[str, NDArray[np.int32]] = {}
        for name in ("forbidden", *(_LABELS if self._labelled else ())):
            old = self._of(name)
            new = np.zeros((room, stride), old.dtype)
            new[: old.shape[0], : old.shape[1]] = old
            wider[name] = new.ravel()
        self._table.replace(**wider)
        self._table.state.counts[at.STRIDE] = stride
        self._room = room


def judge_one(constraints: Constraints, node: Node) -> tuple[int, int, int]:
    """Forbidden bits, preference and disliked taints of one node."""
    bits = 0 if constraints.selects(node.name, node.labels) else SELECTOR_BIT
    if constraints.untolerated(node.taints) is not None:
        bits |= TAINT_BIT
    if not constraints.reaches(node.name, node.labels):
        bits |= VOLUME_BIT
    preference = constraints.preference(node.name, node.labels)
    return bits, preference, constraints.disliked_taints(node.taints)
