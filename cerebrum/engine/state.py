# pyright: basic, reportPrivateImportUsage=false
"""The engine's whole state: one table of arrays, one row per node, task class, task or job.

`State` is what kernels see. `Table` owns the arrays, grows them, and hands kernels their addresses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cerebrum.engine.compiled import JIT, addresses
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.events import EVENT
from cerebrum.model.layout import NODE, TASK


class State(NamedTuple):
    """Arrays by name. n nodes, c task classes, k constraint sets, t tasks, j jobs.

    Arrays may be longer than what is in use, which `counts` says. `present` n: 1 there, 0 removed;
    `cordoned` n. `forbidden` k x n, row-major with stride `counts[STRIDE]`: Refusal bits >> 8 of
    label and taint filters; `preference`, `disliked` alike.
    `t_*` one entry a task, `j_*` one a job; members of job j are
    `members[j_first[j] : j_first[j] + j_size[j]]`. `changed` ring of changed rows, `changed_at` the
    version of a row's latest change. `log` the event log. `counts` see the constants below.
    `t_labels` a task's label set. `p_*` are the rules about other tasks, explained in `peers`.
    """

    nodes: np.ndarray
    rank: np.ndarray
    present: np.ndarray
    cordoned: np.ndarray
    changed_at: np.ndarray
    classes: np.ndarray
    forbidden: np.ndarray
    preference: np.ndarray
    disliked: np.ndarray
    typical: np.ndarray
    t_class: np.ndarray
    t_state: np.ndarray
    t_row: np.ndarray
    t_gpus: np.ndarray
    t_ways: np.ndarray
    t_priority: np.ndarray
    t_job: np.ndarray
    t_attempts: np.ndarray
    t_refused: np.ndarray
    t_submit: np.ndarray
    t_duration: np.ndarray
    t_started: np.ndarray
    t_not_before: np.ndarray
    j_gang: np.ndarray
    j_first: np.ndarray
    j_size: np.ndarray
    members: np.ndarray
    pending: np.ndarray
    changed: np.ndarray
    log: np.ndarray
    counts: np.ndarray
    clock: np.ndarray
    t_labels: np.ndarray
    p_counts: np.ndarray
    p_rules: np.ndarray
    p_first: np.ndarray
    p_size: np.ndarray
    p_demand: np.ndarray
    p_matched: np.ndarray
    p_about: np.ndarray
    p_clashing: np.ndarray
    p_links: np.ndarray
    p_domain: np.ndarray
    p_domains: np.ndarray
    p_term_key: np.ndarray
    p_selected: np.ndarray
    p_holders: np.ndarray
    p_held: np.ndarray
    p_ports: np.ndarray
    p_names: np.ndarray
    p_active: np.ndarray
    p_tally: np.ndarray
    p_lows: np.ndarray
    p_barred: np.ndarray


DTYPES: dict[str, Any] = {
    "nodes": NODE, "rank": np.int64, "present": np.uint8, "cordoned": np.uint8,
    "changed_at": np.int64, "classes": TASK, "forbidden": np.uint8, "preference": np.int32,
    "disliked": np.int32, "typical": TASK, "t_class": np.int32, "t_state": np.int8,
    "t_row": np.int32, "t_gpus": np.int32, "t_ways": np.int8, "t_priority": np.int32,
    "t_job": np.int32, "t_attempts": np.int32, "t_refused": np.uint8, "t_submit": np.float64,
    "t_duration": np.float64, "t_started": np.float64, "t_not_before": np.float64,
    "j_gang": np.int32, "j_first": np.int32, "j_size": np.int32, "members": np.int32,
    "pending": np.int32, "changed": np.int32, "log": EVENT, "counts": np.int64,
    "clock": np.float64, "t_labels": np.int32, "p_counts": np.int64, "p_rules": np.int32,
    "p_first": np.int32, "p_size": np.int32, "p_demand": np.uint8, "p_matched": np.int32,
    "p_about": np.int32, "p_clashing": np.int32, "p_links": np.int32, "p_domain": np.int32,
    "p_domains": np.int32, "p_term_key": np.int32, "p_selected": np.int32,
    "p_holders": np.int32, "p_held": np.int32, "p_ports": np.int32, "p_names": np.int32,
    "p_active": np.uint8, "p_tally": np.int32, "p_lows": np.int64, "p_barred": np.int32,
}  # fmt: skip

# Places in `counts`.
ROWS = 0  # node rows in use
PENDING = 1  # entries of `pending`, including those that left the queue
GONE = 2  # entries of `pending` that left the queue
VERSION = 3  # changes of node rows so far
FREED = 4  # changes that can make room: releases, nodes that join or change
LOGGED = 5  # rows of `log` written
RUNNING = 6  # bound or running tasks
TERMINAL = 7  # tasks in a terminal state
MAX_ATTEMPTS = 8
DECISIONS = 9  # decisions taken; numbers the random draws
SORTED_RANK = 10  # 1 while rank ascends with the row, so the first best row is the lowest rank
TYPICAL = 11  # 1 if fragmentation is kept
LABELLED = 12  # 1 if any constraint set has preferences or disliked taints
LOWEST = 13  # lowest place in the queue a task was put at since `run` last looked at all of it
TURN = 14  # binds so far: whose turn it is under the tie rule `next`
STRIDE = 15  # node rows there is room for: the stride of forbidden, preference, disliked, memos
TASKS = 16  # task ids in use, including those that no task holds now
CLASSES = 17  # task classes in use
N_COUNTS = 24

NOW = 0  # place in `clock`

unpack_state = opener(table_type("State", DTYPES))


class Table:
    """Owns the arrays of a `State`; `handle` is what kernels take."""

    def __init__(self, **sizes: int) -> None:
        self.state = State(**{name: _zeros(name, sizes.get(name, 0)) for name in State._fields})
        self._refresh()

    def replace(self, **arrays: np.ndarray) -> None:
        """Put other arrays in; dtypes are enforced."""
        checked = {name: np.ascontiguousarray(a, _dtype(name)) for name, a in arrays.items()}
        self.state = self.state._replace(**checked)
        self._refresh()

    def grow(self, name: str, size: int, fill: float = 0, exact: bool = False) -> None:
        """Have room for `size` entries (doubling unless `exact`), keeping what is there."""
        old = getattr(self.state, name)
        if len(old) >= size:
            return
        new = _zeros(name, size if exact else max(size, 2 * len(old), 16))
        if fill:
            new[:] = fill
        new[: len(old)] = old
        self.replace(**{name: new})

    def _refresh(self) -> None:
        self._addresses = addresses(tuple(self.state))
        self.handle = self._addresses.ctypes.data if JIT else self.state


def _dtype(name: str) -> Any:
    dtype = np.dtype(DTYPES[name])
    # Attribute access on records needs np.record once Numba no longer provides it.
    return np.dtype((np.record, dtype)) if dtype.names and not JIT else dtype


def _zeros(name: str, size: int) -> np.ndarray:
    return np.zeros(size, _dtype(name))
