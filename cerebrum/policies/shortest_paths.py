# pyright: basic, reportPrivateImportUsage=false
"""Min-cost matching by successive shortest paths, with the ties of ECSched's author.

Hu et al. (Euro-Par'18), huyang1022/ECSched: first-in first-out relaxation from the source, a node
queued at most once at a time; arcs in the order machines ascending, sink, containers; an arc
improves only by more than 1e-8; of equal paths the first found stays. Optima are many, and which
one is taken moves the published means by 1 to 2 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel

EPSILON = 1e-8


def match(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row, -1 for none. Infinite costs are no arcs."""
    column_of = np.full(cost.shape[0], -1, np.int64)
    row_on = np.full(cost.shape[1], -1, np.int64)
    _match(np.ascontiguousarray(cost), column_of, row_on)
    return column_of


@kernel
def _match(cost, column_of, row_on):
    """Nodes: 0 source, then rows, then columns, then the sink."""
    rows, columns = cost.shape
    sink = 1 + rows + columns
    distance = np.empty(sink + 1)
    parent = np.empty(sink + 1, np.int64)
    queue = np.empty(sink + 2, np.int64)
    queued = np.empty(sink + 1, np.bool_)
    while _relax(cost, column_of, row_on, distance, parent, queue, queued):
        node = sink
        while node != 0:
            before = parent[node]
            if 1 <= before < 1 + rows <= node < sink:
                column_of[before - 1], row_on[node - 1 - rows] = node - 1 - rows, before - 1
            node = before


@kernel
def _relax(cost, column_of, row_on, distance, parent, queue, queued):
    """Shortest distances over the residual arcs; False when the sink cannot be reached."""
    rows, columns = cost.shape
    first, sink = 1 + rows, 1 + rows + columns
    distance[:], parent[:], queued[:] = np.inf, -1, False
    distance[0], queue[0], head, count = 0.0, 0, 0, 1
    while count > 0:
        node = queue[head]
        head = (head + 1) % len(queue)
        count -= 1
        queued[node] = False
        low, high = _heads(node, first, sink)
        for to in range(low, high):
            length = _length(cost, column_of, row_on, node, to, first, sink)
            if distance[node] + length < distance[to] - EPSILON:
                distance[to], parent[to] = distance[node] + length, node
                if not queued[to]:
                    queued[to] = True
                    queue[(head + count) % len(queue)] = to
                    count += 1
    return distance[sink] < np.inf


@kernel
def _heads(node, first, sink):
    """The range of nodes an arc out of `node` may lead to."""
    if node == 0:
        return 1, first
    if node < first or node == sink:
        return first, sink
    return 1, sink + 1


@kernel
def _length(cost, column_of, row_on, node, to, first, sink):
    """Cost of a residual arc; infinite if there is none."""
    if node == 0:
        return 0.0 if column_of[to - 1] < 0 else np.inf
    if node == sink:
        return 0.0 if row_on[to - first] >= 0 else np.inf
    if node < first:
        taken = column_of[node - 1] == to - first
        return np.inf if taken else cost[node - 1, to - first]
    row = row_on[node - first]
    if row < 0:
        return 0.0 if to == sink else np.inf
    return -cost[row, node - first] if to == 1 + row else np.inf
