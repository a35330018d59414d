"""Rules about other tasks, compiled to the arrays that `peers` explains.

Everything can come later: tasks with new labels or rules, nodes, other labels of a node. What is
new is counted over the running tasks once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import peers as at
from cerebrum.engine._peer_matching import LabelIndex, Matching, Selectors
from cerebrum.engine.state import STRIDE, Table
from cerebrum.model.cluster import Node
from cerebrum.model.peers import HostPort, PeerRules, PeerTerm, TaskLabels
from cerebrum.model.tasks import TaskClass

_Rule = tuple[int, int, int, int, int, int]
_NO_KEY = -1


def stride_of(table: Table) -> int:
    """The stride of arrays that have a column a node, as `peers.width` has it."""
    return int(table.state.counts[STRIDE])


class PeerTables:
    """Writes the `p_*` arrays of a table; remembers the number each label, rule and port got."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._labels = LabelIndex()
        self._groups, self._terms = Matching(), Matching()
        self._group_ids: dict[Selectors, int] = {}
        self._term_ids: dict[PeerTerm, int] = {}
        self._keys: dict[str, int] = {}
        self._values: list[dict[str, int]] = []
        self._ports: dict[HostPort, int] = {}
        self._names: dict[str, int] = {}
        self._rules = self._links = self._most_rules = 0
        self._classes = 0
        self._nodes: Sequence[Node] = ()
        self._stride = 0
        table.grow("p_counts", at.N_PEER_COUNTS)
        table.state.p_counts[at.BARRED_AT] = -1

    # -- tasks ------------------------------------------------------------------------------

    def add_labels(self, sets: Sequence[TaskLabels]) -> NDArray[np.int32]:
        """Sets of labels that tasks come with: int32[sets], the number of each."""
        numbers = np.empty(len(sets), np.int32)
        for i, labels in enumerate(sets):
            numbers[i], new = self._labels.intern(labels)
            if new:
                self._table.grow("p_matched", len(self._labels.sets), fill=-1)
                self._table.grow("p_about", len(self._labels.sets), fill=-1)
                for group in self._groups.groups_of(labels):
                    self._link("p_matched", int(numbers[i]), group)
                for term in self._terms.groups_of(labels):
                    self._link("p_about", int(numbers[i]), term)
        return numbers

    def add_classes(self, classes: Sequence[TaskClass]) -> None:
        """Rules of task classes, which get the next numbers. No task of them runs yet."""
        known = len(self._group_ids)
        for task_class in classes:
            self.set_class(self._classes, task_class.peers, count=False)
        if len(self._group_ids) > known:
            self._count_groups(known)

    def set_class(self, class_id: int, rules: PeerRules, count: bool = True) -> None:
        """Rules of the class with this number. `count`: count running tasks into new groups."""
        known = len(self._group_ids)
        compiled = list(self._compile(rules)) if rules.demanding else []
        for name in ("p_first", "p_size", "p_demand"):
            self._table.grow(name, class_id + 1)
        self._table.grow("p_rules", (self._rules + len(compiled)) * at.WIDTH)
        s = self._table.state
        s.p_first[class_id], s.p_size[class_id] = self._rules, len(compiled)
        hopeful = bool(rules.near or rules.spread)
        s.p_demand[class_id] = 2 if hopeful else int(rules.demanding)
        if compiled:
            first = self._rules * at.WIDTH
            flat = np.array(compiled, np.int32).ravel()
            s.p_rules[first : first + len(flat)] = flat
            s.p_counts[at.RULED] = 1
        self._rules += len(compiled)
        self._classes = max(self._classes, class_id + 1)
        self._most_rules = max(self._most_rules, len(compiled))
        self._make_work_space()
        if count and len(self._group_ids) > known:
            self._count_groups(known)

    def _compile(self, rules: PeerRules) -> Iterator[_Rule]:
        if rules.near:
            group = self._group(tuple(dict.fromkeys(term.selector for term in rules.near)))
            for key in dict.fromkeys(term.topology_key for term in rules.near):
                yield at.NEAR, group, self._key(key), 0, 0, 0
        for term in rules.apart:
            key = self._key(term.topology_key)
            yield at.APART, self._group((term.selector,)), key, 0, 0, 0
        for spread in rules.spread:
            group, key = self._group((spread.selector,)), self._key(spread.topology_key)
            honor = at.HONOR_AFFINITY if spread.honor_affinity else 0
            honor |= at.HONOR_TAINTS if spread.honor_taints else 0
            yield at.SPREAD, group, key, spread.max_skew, spread.min_domains, honor
        for port in sorted(set(rules.ports)):
            yield at.PORT, self._port(port), _NO_KEY, 0, 0, 0
        for name in sorted(set(rules.exclusive)):
            number = self._names.setdefault(name, len(self._names))
            self._table.grow("p_names", len(self._names))
            yield at.ONLY, number, _NO_KEY, 0, 0, 0
        for term in dict.fromkeys(rules.apart):
            yield at.HOLDS, self._term(term), _NO_KEY, 0, 0, 0

    def _group(self, selectors: Selectors) -> int:
        number = self._group_ids.get(selectors)
        if number is None:
            number = self._group_ids[selectors] = len(self._group_ids)
            self._table.grow("p_selected", len(self._group_ids) * self._stride)
            for labels in self._groups.add_group(selectors, self._labels):
                self._link("p_matched", labels, number)
        return number

    def _term(self, term: PeerTerm) -> int:
        number = self._term_ids.get(term)
        if number is None:
            number = self._term_ids[term] = len(self._term_ids)
            for name in ("p_held", "p_term_key"):
                self._table.grow(name, len(self._term_ids))
            self._table.grow("p_holders", len(self._term_ids) * self._stride)
            self._table.state.p_term_key[number] = self._key(term.topology_key)
            for labels in self._terms.add_group((term.selector,), self._labels):
                self._link("p_about", labels, number)
        return number

    def _port(self, port: HostPort) -> int:
        number = self._ports.get(port)
        if number is None:
            number = self._ports[port] = len(self._ports)
            self._table.grow("p_clashing", len(self._ports), fill=-1)
            self._table.grow("p_ports", len(self._ports) * self._stride)
            for other, theirs in self._ports.items():
                if port.clashes(other):
                    self._link("p_clashing", number, theirs)
                    if theirs != number:
                        self._link("p_clashing", theirs, number)
        return number

    def _link(self, chains: str, at_: int, value: int) -> None:
        """Put a value at the head of a chain."""
        self._table.grow("p_links", 2 * (self._links + 1))
        s = self._table.state
        heads: NDArray[Any] = getattr(s, chains)
        s.p_links[2 * self._links], s.p_links[2 * self._links + 1] = value, heads[at_]
        heads[at_] = self._links
        self._links += 1

    def _count_groups(self, first: int) -> None:
        running = np.flatnonzero(self._table.state.t_row >= 0)
        at.count_groups(self._table.handle, running, first)

    # -- nodes ------------------------------------------------------------------------------

    def see_nodes(self, nodes: Sequence[Node]) -> None:
        """All nodes, by row: at the start, and when the stride of node columns changed."""
        before, self._stride, self._nodes = self._stride, stride_of(self._table), nodes
        lines = {
            "p_selected": len(self._group_ids),
            "p_holders": len(self._term_ids),
            "p_ports": len(self._ports),
            "p_domain": len(self._keys),
        }
        if before != self._stride:
            self._table.replace(
                **{
                    name: _widened(getattr(self._table.state, name), count, before, self._stride)
                    for name, count in lines.items()
                }
            )
        for key in range(len(self._keys)):
            self._read_key(key)
        self._make_work_space()

    def see_node(self, row: int) -> None:
        """A node that is new, or whose labels or taints are, in the list given to `see_nodes`."""
        if self._stride != stride_of(self._table):
            self.see_nodes(self._nodes)
            return
        labels, s = self._nodes[row].labels, self._table.state
        for key, number in self._keys.items():
            value, values = labels.get(key), self._values[number]
            domain = -1 if value is None else values.setdefault(value, len(values))
            s.p_domain[number * self._stride + row] = domain
            if len(values) > 2 * len(self._nodes) + 64:  # values of nodes long gone
                self._read_key(number)
            s.p_domains[number] = len(values)
        s.p_counts[at.CHANGES] += 1
        self._make_work_space()

    def _key(self, key: str) -> int:
        number = self._keys.get(key)
        if number is None:
            number = self._keys[key] = len(self._keys)
            self._values.append({})
            self._table.grow("p_domains", len(self._keys))
            self._table.grow("p_domain", len(self._keys) * self._stride)
            self._table.grow("p_active", len(self._keys))
            self._table.state.p_counts[at.N_KEYS] = len(self._keys)
            self._read_key(number)
        return number

    def _read_key(self, number: int) -> None:
        """The domain of every node under a key, numbered anew."""
        key, s = list(self._keys)[number], self._table.state
        values = self._values[number]
        values.clear()
        line = s.p_domain[number * self._stride : (number + 1) * self._stride]
        line[:] = -1
        for row, node in enumerate(self._nodes):
            value = node.labels.get(key)
            if value is not None:
                line[row] = values.setdefault(value, len(values))
        s.p_domains[number] = len(values)
        s.p_counts[at.CHANGES] += 1

    def _make_work_space(self) -> None:
        """Room for what a decision adds up. Its stride may change: nothing in it is kept."""
        if not self._keys and not self._rules:
            return
        breadth = max([1, *map(len, self._values)])
        s = self._table.state
        s.p_counts[at.BREADTH] = max(breadth, int(s.p_counts[at.BREADTH]))
        lines = len(self._keys) + self._most_rules
        self._table.grow("p_tally", lines * int(s.p_counts[at.BREADTH]))
        self._table.grow("p_lows", self._most_rules * at.N_LOWS)
        self._table.grow("p_barred", self._stride)
        self._table.state.p_counts[at.BARRED_AT] = -1


def _widened(array: NDArray[Any], lines: int, before: int, after: int) -> NDArray[Any]:
    """Lines of `before` entries as lines of `after`, the new ones zero."""
    wide = np.zeros((lines, after), array.dtype)
    wide[:, :before] = array[: lines * before].reshape(lines, before)
    return wide.ravel()
