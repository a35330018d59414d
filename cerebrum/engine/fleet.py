"""The nodes of an engine by row: who is where, what is free there, what constraints make of them.

A node that joins takes a new row or, where rows may be used again, the lowest one whose node was
removed. Rows are never moved, so what runs on a node and what was learnt about it stay right.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import state as at
from cerebrum.engine import transitions
from cerebrum.engine._peer_tables import PeerTables
from cerebrum.engine.filters import Masks
from cerebrum.engine.looks import Looks
from cerebrum.engine.records import Records
from cerebrum.model.cluster import Node

_BY_ROW = ("nodes", "rank", "present", "cordoned", "changed_at")


class Fleet:
    """Nodes by row. `nodes[row]` and `names[row]` say who is there, or was before it was removed.

    `rows` finds the nodes that are present; `reuse` lets rows of removed nodes be used again.
    """

    def __init__(
        self, table: at.Table, records: Records, nodes: Sequence[Node], reuse: bool
    ) -> None:
        self.nodes: list[Node] = []
        self.names: list[str] = []
        self.rows: dict[str, int] = {}
        self._table, self._records, self._reuse = table, records, reuse
        self._vacant: list[int] = []  # a heap of rows
        self._load(nodes)
        self.looks = Looks(self.nodes)
        self.masks = Masks(table, records.constraints, self.looks)
        self.masks.widen(len(nodes))
        self.peers = PeerTables(table)
        self.peers.see_nodes(self.nodes)

    def _load(self, nodes: Sequence[Node]) -> None:
        self._widen_rows(len(nodes))
        self.nodes += nodes
        self.names += [node.name for node in nodes]
        self.rows = {name: row for row, name in enumerate(self.names)}
        s = self._table.state
        s.counts[at.ROWS] = len(nodes)
        s.present[: len(nodes)] = 1
        for row, node in enumerate(nodes):
            self._records.write_node(s.nodes[row], node)
            s.cordoned[row] = not node.schedulable
        self._order = sorted((name, row) for row, name in enumerate(self.names))
        self._by_name = np.array([row for _, row in self._order], np.int64)
        self._rank_rows()

    def join(self, node: Node) -> int:
        """Make room for a node that is not here; its row. Raises `InputError`, changing nothing."""
        record = self._described(node)
        if self._vacant:
            row = heapq.heappop(self._vacant)
            self._forget_place(row)
            self.nodes[row], self.names[row] = node, node.name
        else:
            row = len(self.nodes)
            if row >= len(self._table.state.nodes):
                self._widen(max(16, 2 * row))
            self.nodes.append(node)
            self.names.append(node.name)
        self.rows[node.name] = row
        place = bisect.bisect(self._order, (node.name, row))
        self._order.insert(place, (node.name, row))
        self._by_name = np.insert(self._by_name, place, row)
        self._ranked = False
        s = self._table.state
        s.counts[at.ROWS] = len(self.nodes)
        s.present[row] = 1
        s.nodes[row] = record
        self._look_again(row, node)
        return row

    def update(self, row: int, node: Node) -> None:
        """Describe a node anew; what runs there is subtracted again, in order of its ids.

        GPUs that are gone stay in the masks of tasks and count again should they come back. Raises
        `InputError`, changing nothing.
        """
        self._table.state.nodes[row] = self._described(node)
        transitions.take_again(self._table.handle, row)
        before, self.nodes[row] = self.nodes[row], node
        if (before.labels, before.taints) != (node.labels, node.taints):
            self._look_again(row, node)
        self._table.state.cordoned[row] = not node.schedulable

    def remove(self, row: int) -> None:
        """The node is gone; nothing runs on it any more."""
        self._table.state.present[row] = 0
        del self.rows[self.names[row]]
        if self._reuse:
            heapq.heappush(self._vacant, row)

    def rank(self) -> NDArray[np.int64]:
        """Each row's place in name order."""
        if not self._ranked:
            self._rank_rows()
        return self._table.state.rank[: len(self.nodes)]

    def domains(self, key: str) -> NDArray[np.int32]:
        """A number for each value of a label, by row; -1: no such label."""
        return self.looks.label(key).numbers(len(self.nodes))

    def _described(self, node: Node) -> Any:
        """The record of an empty node."""
        record = np.zeros(1, self._table.state.nodes.dtype)
        self._records.write_node(record[0], node)
        return record[0]

    def _look_again(self, row: int, node: Node) -> None:
        self.looks.changed(row)
        self.masks.judge_node(row, node)
        self.peers.see_node(row)
        self._table.state.cordoned[row] = not node.schedulable

    def _forget_place(self, row: int) -> None:
        place = bisect.bisect_left(self._order, (self.names[row], row))
        del self._order[place]
        self._by_name = np.delete(self._by_name, place)

    def _rank_rows(self) -> None:
        rank = self._table.state.rank[: len(self.nodes)]
        rank[self._by_name] = np.arange(len(rank))
        self._table.state.counts[at.SORTED_RANK] = int(np.all(np.diff(rank) > 0))
        self._ranked = True

    def _widen(self, stride: int) -> None:
        self._widen_rows(stride)
        self.masks.widen(stride)

    def _widen_rows(self, size: int) -> None:
        for name in _BY_ROW:
            self._table.grow(name, size, exact=True)
        self._widen_ring(size)

    def _widen_ring(self, rows: int) -> None:
        """Lengthen the ring of changes; a change stands at its number modulo the length."""
        length, s = _ring(rows), self._table.state
        if len(s.changed) >= length:
            return
        longer, now = np.zeros(length, np.int32), int(s.counts[at.VERSION])
        kept = np.arange(max(0, now - len(s.changed)), now)
        if len(kept):
            longer[kept & (length - 1)] = s.changed[kept & (len(s.changed) - 1)]
        self._table.replace(changed=longer)


def _ring(nodes: int) -> int:
    """Length of the change ring: a power of two, long enough to beat rescoring every node."""
    return max(4096, 1 << (2 * max(1, nodes) - 1).bit_length())
