# pyright: basic, reportPrivateImportUsage=false
"""What one cluster of a batch needs beside the engine's state: an episode's arrays by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cerebrum.engine.compiled import JIT, addresses
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.layout import NODE


class Progress(NamedTuple):
    """Arrays by name. t tasks, c task classes, n node rows there is room for, k terms.

    `arrivals` task ids by submit time; `end_s`, `end_task`, `end_attempt` a heap of running tasks,
    entries of attempts that failed included; `change_s` times of node events; `declined` t: FREED
    when the task was last left waiting although it fits; `nowhere` c: FREED when the class last
    fitted nowhere; `signal_s`, `signal` the carbon intensity in g/kWh from each second on; `rows`
    (n + 1) x ROW_WIDTH: what the levels hold of a node, then work space; `levels` see `_levels`;
    `terms` k: what has happened since the last decision; `cursor` see below; `scratch` a node.
    """

    arrivals: np.ndarray
    end_s: np.ndarray
    end_task: np.ndarray
    end_attempt: np.ndarray
    change_s: np.ndarray
    declined: np.ndarray
    nowhere: np.ndarray
    signal_s: np.ndarray
    signal: np.ndarray
    rows: np.ndarray
    levels: np.ndarray
    terms: np.ndarray
    cursor: np.ndarray
    scratch: np.ndarray


DTYPES: dict[str, Any] = {
    "arrivals": np.int32, "end_s": np.float64, "end_task": np.int32, "end_attempt": np.int32,
    "change_s": np.float64, "declined": np.int64, "nowhere": np.int64, "signal_s": np.float64,
    "signal": np.float64, "rows": np.float64, "levels": np.float64, "terms": np.float64,
    "cursor": np.int64, "scratch": NODE,
}  # fmt: skip

# Places in `cursor`.
ARRIVAL = 0  # next of `arrivals`
ENDS = 1  # entries of the heap
CHANGE = 2  # next of `change_s`
PHASE = 3  # TO_MOVE, TO_HAPPEN or TO_DECIDE
POSITION = 4  # of the queue, to go on from
FREED_BEFORE = 5  # FREED when the whole queue was last looked at
TASK = 6  # the task to decide about, or that FINISHES
ACTED = 7  # 1 once somebody decided since the last answer
SEEN = 8  # VERSION up to which the levels are current
SIGNAL = 9  # place in `signal`
DECISIONS = 10  # asked so far
LEAVING = 11  # nodes that go once their last task ends
N_CURSOR = 16

TO_MOVE, TO_HAPPEN, TO_DECIDE = 0, 1, 2

unpack_progress = opener(table_type("Progress", DTYPES))


class ProgressTable:
    """Owns the arrays of a `Progress`; `handle` is what kernels take."""

    def __init__(self, **arrays: np.ndarray | int) -> None:
        """Each name with its array, or with a length for one of zeros."""
        self.progress = Progress(**{name: _made(name, arrays[name]) for name in Progress._fields})
        self._addresses = addresses(tuple(self.progress))
        self.handle: Any = self._addresses.ctypes.data if JIT else self.progress


def _made(name: str, given: np.ndarray | int) -> np.ndarray:
    dtype = np.dtype(DTYPES[name])
    if dtype.names and not JIT:  # attribute access on records, as in the engine's tables
        dtype = np.dtype((np.record, dtype))
    if isinstance(given, int):
        return np.zeros(given, dtype)
    return np.ascontiguousarray(given, dtype)
