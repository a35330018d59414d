"""The machine as an order of a queue may see it: what is free, and when more will be.

A cluster counts as one pool: the processors of all nodes that take tasks together. An order only
chooses who is next, so a pool that promises more than one node can hold costs no feasibility.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """`free` and all `processors`, CPU cores; what runs, by requested end, the earliest first.

    `ends_s` seconds, float64[running]; `held` CPU cores, float64[running].
    """

    free: float
    processors: float
    ends_s: NDArray[np.float64]
    held: NDArray[np.float64]


def machine(snapshot: Snapshot) -> Machine:
    """The machine of a snapshot."""
    nodes, columns, running = snapshot.nodes, snapshot.tasks, snapshot.running
    usable, rows = snapshot.usable, columns.row[snapshot.running]
    begun = np.where(
        np.isnan(columns.started_s[running]), snapshot.time_s, columns.started_s[running]
    )
    ends = begun + columns.requested_s[running] / nodes["speed"][rows]
    held = snapshot.classes["cpu_milli"][columns.class_id[running]] / 1000.0
    order = np.argsort(ends, kind="stable")
    return Machine(
        float(nodes["cpu_free"][usable].sum()) / 1000.0,
        float(nodes["cpu_milli"][usable].sum()) / 1000.0,
        ends[order],
        held[order],
    )
