# pyright: basic, reportPrivateImportUsage=false
"""Every way to place one task now, as a network sees it: a row of features for each.

A way is a node and, for a part of a GPU, one of its GPUs; GPUs of a node with equal room are alike
and count once, as they do in the engine. Nodes that cannot take the task have no row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import BEST_FIT, choose_gpus, take
from cerebrum.engine.scoring import node_refusals
from cerebrum.engine.state import ROWS, unpack_state
from cerebrum.model.layout import NODE
from cerebrum.model.resources import MAX_GPUS
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned.node_features import SCHEMA, features, fgd_score, kind_of

N = len(SCHEMA)


class Placements(NamedTuple):
    """n ways to place a task: `x` float64[n, features], `fgd` float64[n] FGD's number of each,
    `rows` and `gpus` int64[n] (masks). `kind` is the task's place in `node_features.KINDS`.
    """

    x: NDArray[np.float64]
    fgd: NDArray[np.float64]
    rows: NDArray[np.int64]
    gpus: NDArray[np.int64]
    kind: int

    def index_of(self, row: int, gpus: int) -> int:
        """The way that a bind takes; -1 if it is none of these."""
        found = np.flatnonzero((self.rows == row) & (self.gpus == gpus))
        return int(found[0]) if len(found) else -1


def placements(snapshot: Snapshot, task: int, prices: NDArray[np.float64]) -> Placements:
    """All ways to place a waiting task, in order of rows; none if it fits nowhere."""
    most = len(snapshot.nodes) * MAX_GPUS
    x, fgd = np.empty((most, N)), np.empty(most)
    rows, gpus = np.empty(most, np.int64), np.empty(most, np.int64)
    class_id = int(snapshot.tasks.class_id[task])
    scratch = np.zeros(1, np.dtype((np.record, NODE)))
    found = _list(snapshot.state.handle, class_id, prices, scratch, x, fgd, rows, gpus)
    n, kind = int(found[0]), int(found[1])
    return Placements(x[:n], fgd[:n], rows[:n], gpus[:n], kind)


@kernel
def _list(handle, class_id, prices, scratch, x, fgd, rows, gpus):
    s = unpack_state(handle)
    task = s.classes[class_id]
    n = 0
    for row in range(s.counts[ROWS]):
        if node_refusals(s, task, row) != 0:
            continue
        before = s.nodes[row]
        if task.gpu_kind != 0:
            mask = choose_gpus(before, task, BEST_FIT, 0)
            fgd[n] = _describe(s, before, scratch, task, mask, prices, x[n])
            rows[n], gpus[n] = row, mask
            n += 1
            continue
        for g in range(before.gpu_count):
            if before.gpu_free[g] < task.gpu_milli or _seen(before, g):
                continue
            fgd[n] = _describe(s, before, scratch, task, 1 << g, prices, x[n])
            rows[n], gpus[n] = row, 1 << g
            n += 1
    return n, kind_of(task)


@kernel
def _seen(node, g):
    """Whether a GPU before `g` has the same room."""
    for earlier in range(g):  # noqa: SIM110
        if node.gpu_free[earlier] == node.gpu_free[g]:
            return True
    return False


@kernel
def _describe(s, before, scratch, task, mask, prices, out):
    """Fill `out` with what one way looks like; FGD's number for it."""
    scratch[0] = before
    after = scratch[0]
    take(after, task, mask, task.cache_ways)
    fgd, fragmented = fgd_score(before, after, s.typical)
    x = features(before, after, task, s.typical, fragmented, prices)
    for i in range(N):
        out[i] = x[i]
    return fgd
