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


def requested_ends(snapshot: Snapshot) -> NDArray[np.float64]:
    """float64[running], s: when what runs has had the time it asked for; what was not seen to start
    starts now."""
    columns, running = snapshot.tasks, snapshot.running
    began = columns.started_s[running]
    began = np.where(np.isnan(began), snapshot.time_s, began)
    return began + columns.requested_s[running] / snapshot.nodes["speed"][columns.row[running]]


def machine(snapshot: Snapshot) -> Machine:
    """The machine of a snapshot."""
    nodes, usable = snapshot.nodes, snapshot.usable
    ends = requested_ends(snapshot)
    held = snapshot.classes["cpu_milli"][snapshot.tasks.class_id[snapshot.running]] / 1000.0
    order = np.argsort(ends, kind="stable")
    return Machine(
        float(nodes["cpu_free"][usable].sum()) / 1000.0,
        float(nodes["cpu_milli"][usable].sum()) / 1000.0,
        ends[order],
        held[order],
    )
