"""Which selectors are about which sets of labels, kept up to date as either arrives.

Most selectors ask for one exact label (`app In [web]`): an index by label pair spares them all
others, so a new kind of task costs what it can match, not everything seen before.
"""

from __future__ import annotations

from collections import defaultdict

from cerebrum.model.peers import PeerSelector, TaskLabels

Selectors = tuple[PeerSelector, ...]
"""All of them must be about a task."""
_Pair = tuple[str, str]


class Matching:
    """Groups of tasks by number, and the sets of labels that belong to them."""

    def __init__(self) -> None:
        self._groups: list[Selectors] = []
        self._wanting: dict[_Pair, list[int]] = defaultdict(list)
        self._open: list[int] = []  # groups that ask for no exact label

    def add_group(self, selectors: Selectors, index: LabelIndex) -> list[int]:
        """A new group, numbered on; the label sets seen before that belong to it."""
        number = len(self._groups)
        self._groups.append(selectors)
        pairs = _anchor(selectors)
        if pairs is None:
            self._open.append(number)
        for pair in pairs or ():
            self._wanting[pair].append(number)
        return [i for i in index.having(pairs) if _about(selectors, index.sets[i])]

    def groups_of(self, labels: TaskLabels) -> list[int]:
        """The groups that a set of labels belongs to, ascending."""
        found = set(self._open)
        for pair in labels.labels:
            found.update(self._wanting.get(pair, ()))
        return [number for number in sorted(found) if _about(self._groups[number], labels)]


class LabelIndex:
    """Every set of labels seen, by number, and by each label pair in it."""

    def __init__(self) -> None:
        self.sets: list[TaskLabels] = []
        self._numbers: dict[TaskLabels, int] = {}
        self._with: dict[_Pair, list[int]] = defaultdict(list)

    def intern(self, labels: TaskLabels) -> tuple[int, bool]:
        """The number of a set, and whether it is new."""
        number = self._numbers.setdefault(labels, len(self.sets))
        new = number == len(self.sets)
        if new:
            self.sets.append(labels)
            for pair in labels.labels:
                self._with[pair].append(number)
        return number, new

    def having(self, pairs: tuple[_Pair, ...] | None) -> list[int]:
        """Sets with one of the pairs, ascending; all of them for None."""
        if pairs is None:
            return list(range(len(self.sets)))
        return sorted({number for pair in pairs for number in self._with.get(pair, ())})


def _about(selectors: Selectors, labels: TaskLabels) -> bool:
    return all(selector.matches(labels) for selector in selectors)


def _anchor(selectors: Selectors) -> tuple[_Pair, ...] | None:
    """Label pairs of which a task must have one to match; None if nothing exact is asked."""
    for selector in selectors:
        for requirement in selector.requirements:
            if requirement.operator == "In":
                return tuple((requirement.key, value) for value in set(requirement.values))
    return None
