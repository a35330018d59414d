# pyright: basic, reportPrivateImportUsage=false
"""Rules about other tasks for Python: which nodes they leave a task, now or after planned binds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import (
    OF_PEERS,
    OF_PORTS,
    RULED,
    bar,
    bar_task,
    count_task,
    is_ruled,
    peered,
)
from cerebrum.engine.scoring import node_refusals
from cerebrum.engine.state import ROWS, Table, unpack_state
from cerebrum.model.events import Refusal

_CHANGED = ("p_counts", "p_selected", "p_holders", "p_held", "p_ports", "p_names")
_WORK = ("p_active", "p_tally", "p_lows", "p_barred")


@kernel
def _refusals(handle, task, out):
    s = unpack_state(handle)
    by_peers = peered(s, task)
    if by_peers:
        bar(s, task)
    for row in range(len(out)):
        out[row] = node_refusals(s, s.classes[s.t_class[task]], row)
        if by_peers and out[row] >= 0:
            out[row] |= s.p_barred[row]


def refusals_of(table: Table, task: int) -> NDArray[np.int32]:
    """Every `Refusal` bit of every node for a task as things are: int32[rows], -1 where gone.

    Rules about other tasks are told exactly (POD_AFFINITY .. EXCLUSIVE).
    """
    out = np.zeros(int(table.state.counts[ROWS]), np.int32)
    _refusals(table.handle, int(task), out)
    return out


def admitted(table: Table, task: int) -> NDArray[np.bool_]:
    """Nodes that rules about other tasks leave to a task: bool[rows]."""
    return _barred(table, task) == 0


def _barred(table: Table, task: int) -> NDArray[np.int32]:
    n = int(table.state.counts[ROWS])
    if not table.state.p_counts[RULED]:
        return np.zeros(n, np.int32)
    bar_task(table.handle, int(task))
    return table.state.p_barred[:n]


class ImaginedPeers:
    """The same rules as if tasks had been bound or had ended. The engine's state is not touched."""

    def __init__(self, table: Table) -> None:
        self._table, self._own = table, False
        self.any = bool(table.state.p_counts[RULED])

    def concerns(self, task: int) -> bool:
        """Whether a rule, its own or another task's, can ever keep the task from a node."""
        return self.any and bool(is_ruled(self._table.handle, int(task)))

    def admitted(self, task: int) -> NDArray[np.bool_]:
        """Nodes that the rules leave to the task: bool[rows]."""
        return admitted(self._table, task)

    def coarse(self, task: int) -> NDArray[np.int32]:
        """PEERS and PORT bits of each node, as the log says it: int32[rows]."""
        bits = _barred(self._table, task)
        peers = np.int32(Refusal.PEERS) * ((bits & OF_PEERS) != 0)
        return (peers + np.int32(Refusal.PORT) * ((bits & OF_PORTS) != 0)).astype(np.int32)

    def count(self, task: int, row: int, step: int) -> None:
        """Imagine that the task came to a node (1) or left it (-1)."""
        if not self.any:
            return
        if not self._own:
            self._table, self._own = _copy(self._table), True
        count_task(self._table.handle, int(task), int(row), step)


def _copy(table: Table) -> Table:
    """The table with its own counts of peers; everything else is shared."""
    state, own = table.state, Table()
    arrays = {name: getattr(state, name) for name in state._fields}
    own.replace(**(arrays | {name: arrays[name].copy() for name in (*_CHANGED, *_WORK)}))
    return own
