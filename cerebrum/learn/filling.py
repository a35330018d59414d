"""Placement episodes that can be run again and again: one engine, put back to its start each time.

An episode is a scenario whose tasks arrive and never leave (FGD's arrival protocol); a policy that
cannot place a task drops it. What counts is how much of the GPUs is allocated as load goes up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import decide as kernels
from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental
from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import Scenario

LOADS = tuple(range(80, 131))
"""Arrived GPU request in % of capacity, at which allocation is taken."""


class Filling:
    """One scenario to place. Building it costs 30 ms on openb, running it the decisions only."""

    def __init__(self, scenario: Scenario, loads: tuple[int, ...] = LOADS) -> None:
        if scenario.node_events or np.isfinite(scenario.tasks.duration_s).any():
            raise ConfigError("an episode is of tasks that never end, on nodes that stay")
        self._engine = Engine(scenario)
        self._start = [array.copy() for array in self._engine.table.state]
        tasks = scenario.tasks
        self._arrivals = np.argsort(tasks.submit_s, kind="stable").astype(np.int32)
        self._asked = tasks.request("gpu_milli_total").astype(np.float64)[self._arrivals]
        self._percent = scenario.cluster.gpu_capacity * 10.0
        self._bins = _bins(np.cumsum(self._asked) / self._percent, loads)

    def run(self, policy: Incremental) -> NDArray[np.float64]:
        """float64[loads]: GPU allocation in % of capacity at each load, as `metrics.by_load`."""
        engine, n = self._engine, len(self._arrivals)
        for array, start in zip(engine.table.state, self._start, strict=True):
            array[:] = start
        memo = policy.memo_handle(engine.snapshot())
        cursor, work = np.zeros(8, np.int64), np.zeros(kernels.N_FOUND + 3, np.int64)
        kernels.run(
            engine.table.handle, memo, self._arrivals, np.zeros(n + 1), np.zeros(n + 1, np.int32),
            cursor, 2**62, work,
        )  # fmt: skip
        if cursor[kernels.STATUS] != kernels.ENDED:
            raise ConfigError("an episode is of tasks that are placed or rejected at once")
        placed = engine.table.state.t_row[self._arrivals] >= 0
        allocated = np.round(np.cumsum(self._asked * placed) / self._percent, 2)
        return np.array([allocated[first:end].mean() for first, end in self._bins])


def _bins(arrived: NDArray[np.float64], loads: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and end index of the arrivals that round to each load, neighbours where none does."""
    at = np.rint(arrived)
    found: list[tuple[int, int]] = []
    for load in loads:
        first, end = np.searchsorted(at, [load, load + 1])
        if first == end:
            first, end = np.searchsorted(at, [load - 1, load + 2])
        if first == end:
            raise ConfigError(f"expected arrivals up to {max(loads)} % of the GPUs, none at {load}")
        found.append((int(first), int(end)))
    return found
