"""Headroom: place by what is forecast to stay idle, not by what others have reserved.

For nodes whose machines also serve others (reservations that are seldom used). The engine is given
the whole node; what the others will use comes as data, `snapshot.forecasts`:

    others_cpu_upper  float64[nodes, steps]: upper bound of their CPU use, as a share of the node,
                      exceeded with the risk its maker states (`cerebrum.forecast.intervals`)
    others_cpu        the same, expected; used where there is no bound

A task goes only where, over all the steps it asked to run, the bound, what was placed and its own
request fit into the node together; among those nodes where most room is left, so nodes about to be
busy are avoided. `forecasts["step_s"]`, float64[nodes, 1], is the length of a step (300 s if not
told). Without any forecast nobody else is assumed and this is least-allocated on CPU. Placing
against a predicted peak instead of reservations is Bashir et al., "Take it to the limit: peak
prediction-driven resource overcommitment in datacenters" (EuroSys 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.vectorised import Vectorised

DEFAULT_STEP_S = 300.0


class Headroom:
    """`spare` is a share of each node that is always left alone."""

    def __init__(self, spare: float = 0.0) -> None:
        if not 0 <= spare < 1:
            raise ConfigError(f"expected 0 <= spare < 1, got {spare}").at(field="spare")
        self.spare = spare

    def __call__(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """float64[nodes]: share of the node left at its worst moment; -inf where it is below 0."""
        capacity = np.maximum(snapshot.nodes["cpu_milli"].astype(np.float64), 1.0)
        placed = capacity - snapshot.nodes["cpu_free"]
        request = float(snapshot.classes["cpu_milli"][snapshot.tasks.class_id[task]])
        room = 1.0 - self.spare - others(snapshot, task) - (placed + request) / capacity
        return np.where(room >= -1e-9, room, -np.inf)


def others(snapshot: Snapshot, task: int) -> NDArray[np.float64]:
    """float64[nodes]: the largest share others are forecast to use while `task` would run."""
    forecasts = snapshot.forecasts
    table = forecasts.get("others_cpu_upper", forecasts.get("others_cpu"))
    count = len(snapshot.nodes)
    if table is None or table.shape[0] != count or table.shape[1] == 0:
        return np.zeros(count)
    told = forecasts.get("step_s")
    step_s = DEFAULT_STEP_S if told is None else float(told[0, 0])
    run_s = float(snapshot.tasks.requested_s[task])
    steps = table.shape[1]
    if np.isfinite(run_s):
        steps = min(steps, max(1, int(np.ceil(run_s / step_s))))
    return np.clip(np.nan_to_num(table[:, :steps].max(axis=1), nan=1.0, posinf=1.0), 0.0, 1.0)


def make(spare: float = 0.0, queue: str = "skip") -> Vectorised:
    """The policy; `queue` as for every policy: skip, block or reject what fits nowhere."""
    return Vectorised("headroom", Headroom(spare), ties="name", queue=queue)
