"""What constraints see of nodes, as columns: each label somebody asks about, the name, the taints.

A column holds a small number a node, and a constraint is judged once per number, so a new set of
constraints costs a few passes over an array however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Node, Taint
from cerebrum.model.constraints import Constraints, Requirement, Term

# Refusal.SELECTOR and Refusal.TAINT, shifted right by 8; and a volume out of reach, which counts
# as the former everywhere but in rules about other tasks.
SELECTOR_BIT, TAINT_BIT, VOLUME_BIT = 1, 2, 4
_NAME = "metadata.name"

Verdicts = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]
Value = TypeVar("Value", bound=Hashable)


class Column(Generic[Value]):
    """One value a row as a number in order of first sight; -1 for none."""

    def __init__(self, values: Sequence[Value | None]) -> None:
        self.ids: dict[Value, int] = {}
        self._numbers = np.full(max(16, len(values)), -1, np.int32)
        for row, value in enumerate(values):
            self.put(row, value)

    def put(self, row: int, value: Value | None) -> None:
        """The value of a row from now on."""
        if row >= len(self._numbers):
            old = self._numbers
            self._numbers = np.full(max(row + 1, 2 * len(old)), -1, np.int32)
            self._numbers[: len(old)] = old
        self._numbers[row] = -1 if value is None else self.ids.setdefault(value, len(self.ids))

    def numbers(self, rows: int) -> NDArray[np.int32]:
        """The numbers of the first rows; a view."""
        return self._numbers[:rows]


class Looks:
    """Columns of `nodes`, a list that its owner changes; `changed` keeps them up to date."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._labels: dict[str, Column[str]] = {}
        self._names: Column[str] = Column([node.name for node in nodes])
        self._taints: Column[tuple[Taint, ...]] = Column([node.taints for node in nodes])

    def changed(self, row: int) -> None:
        """The row has another description now."""
        node = self._nodes[row]
        self._names.put(row, node.name)
        self._taints.put(row, node.taints)
        for key, column in self._labels.items():
            column.put(row, node.labels.get(key))

    def label(self, key: str) -> Column[str]:
        """The column of a label."""
        column = self._labels.get(key)
        if column is None:
            values = [node.labels.get(key) for node in self._nodes]
            column = self._labels[key] = Column[str](values)
        return column

    def judge(self, constraints: Constraints) -> Verdicts:
        """Forbidden bits, preference and disliked taints: each [nodes]."""
        untolerated, disliked = self._tainted(constraints)
        forbidden = np.where(self._selected(constraints), 0, SELECTOR_BIT).astype(np.uint8)
        forbidden |= np.where(untolerated, TAINT_BIT, 0).astype(np.uint8)
        for group in constraints.volumes:
            reached = np.logical_or.reduce([self._matched(term) for term in group])
            forbidden |= np.where(reached, 0, VOLUME_BIT).astype(np.uint8)
        preference = np.zeros(len(self._nodes), np.int32)
        for weight, term in constraints.preferred:
            preference += np.where(self._matched(term), weight, 0).astype(np.int32)
        return forbidden, preference, disliked

    def _selected(self, constraints: Constraints) -> NDArray[np.bool_]:
        chosen = np.ones(len(self._nodes), bool)
        for key, value in constraints.selector:
            chosen &= self._met(Requirement(key, "In", (value,)), self.label(key))
        if constraints.required:
            terms = [self._matched(term) for term in constraints.required]
            chosen &= np.logical_or.reduce(terms)
        return chosen

    def _matched(self, term: Term) -> NDArray[np.bool_]:
        matched = np.full(len(self._nodes), bool(term.labels or term.fields))
        for requirement in term.labels:
            matched &= self._met(requirement, self.label(requirement.key))
        for requirement in term.fields:
            if requirement.key == _NAME:
                matched &= self._met(requirement, self._names)
            else:  # nodes have no other field
                matched &= requirement.matches({})
        return matched

    def _met(self, requirement: Requirement, column: Column[str]) -> NDArray[np.bool_]:
        """Judge each distinct value once; the last verdict is that of a node without a value."""
        key, operator = requirement.key, requirement.operator
        verdicts = np.full(len(column.ids) + 1, operator in ("NotIn", "Exists"))
        verdicts[-1] = requirement.matches({})
        if operator in ("In", "NotIn"):
            for value in requirement.values:
                if value in column.ids:
                    verdicts[column.ids[value]] = operator == "In"
        elif operator in ("Gt", "Lt"):
            for value, number in column.ids.items():
                verdicts[number] = requirement.matches({key: value})
        return verdicts[column.numbers(len(self._nodes))]

    def _tainted(self, constraints: Constraints) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Whether a taint keeps the task away, and how many it would rather avoid: each [nodes]."""
        seen = list(self._taints.ids)
        untolerated = [constraints.untolerated(taints) is not None for taints in seen]
        disliked = [constraints.disliked_taints(taints) for taints in seen]
        numbers = self._taints.numbers(len(self._nodes))
        return np.array(untolerated, bool)[numbers], np.array(disliked, np.int32)[numbers]
