# pyright: basic
"""What a part of a GPU is worth: prices from a linear program over ways to fill a GPU.

Tasks that share GPUs are a cutting-stock problem (Gilmore and Gomory, Operations Research 9, 1961):
fewest GPUs such that every task has its part. The program's dual values say what one more task of
a size costs, in GPUs; the dearest set of tasks that fits into what is left of a GPU is what that
rest is worth. A cut that lowers the worth of a GPU by more than the price of the part wastes room
that other tasks will need.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.tasks import TaskTable
from cerebrum.policies.learned.node_features import PRICE_STEP_MILLI, PRICES

_MOST_PATTERNS = 2000
_EPSILON = 1e-9

Vector = NDArray[np.float64]


def demand(tasks: TaskTable) -> dict[int, int]:
    """How many tasks ask for one GPU or a part of it, by thousandths."""
    one = tasks.request("gpu_count") == 1
    sizes, counts = np.unique(tasks.request("gpu_milli")[one], return_counts=True)
    return {int(size): int(count) for size, count in zip(sizes, counts, strict=True)}


def price_list(asked: Mapping[int, float]) -> Vector:
    """float64[PRICES]: the worth of k x PRICE_STEP_MILLI of one GPU, in GPUs; 1 for a whole one.

    `asked`: how many tasks there are by the thousandths of one GPU they want. Sizes count as the
    next step up, as no GPU has less room than that to give. Raises `ConfigError` for no tasks.
    """
    steps: dict[int, float] = {}
    for milli, count in asked.items():
        if not (0 < milli <= 1000 and 0 < count < float("inf")):
            raise ConfigError(f"expected 1..1000 thousandths and a count, got {milli}: {count}")
        size = -(-milli // PRICE_STEP_MILLI)
        steps[size] = steps.get(size, 0.0) + count
    if not steps:
        raise ConfigError("expected tasks that ask for one GPU or a part of it, got none")
    sizes = np.array(sorted(steps))
    counts = np.array([steps[int(size)] for size in sizes])
    # A pattern says how many tasks of each size share a GPU; first one size alone.
    patterns = [
        np.eye(len(sizes), dtype=np.int64)[i] * ((PRICES - 1) // s) for i, s in enumerate(sizes)
    ]
    while True:
        worth, pattern = _dearest(sizes, _duals(patterns, counts))
        if worth[-1] <= 1.0 + _EPSILON or len(patterns) >= _MOST_PATTERNS:
            return np.minimum(worth, 1.0)
        patterns.append(pattern)


def _duals(patterns: list[NDArray[np.int64]], counts: Vector) -> Vector:
    """The price of a task of each size when GPUs are filled by these patterns."""
    from ortools.linear_solver import pywraplp

    solver = pywraplp.Solver.CreateSolver("GLOP")
    used = [solver.NumVar(0.0, solver.infinity(), "") for _ in patterns]
    rows = [
        solver.Add(sum(int(p[i]) * x for p, x in zip(patterns, used, strict=True) if p[i]) >= count)
        for i, count in enumerate(counts.tolist())
    ]
    solver.Minimize(sum(used))
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        raise ConfigError("the packing program has no solution")
    return np.maximum(0.0, np.array([row.dual_value() for row in rows]))


def _dearest(sizes: NDArray[np.int64], prices: Vector) -> tuple[Vector, NDArray[np.int64]]:
    """The worth of every amount of room, and the pattern that is dearest for a whole GPU."""
    worth, chosen = np.zeros(PRICES), np.full(PRICES, -1)
    for room in range(1, PRICES):
        worth[room] = worth[room - 1]
        for i, size in enumerate(sizes.tolist()):
            if size <= room and worth[room - size] + prices[i] > worth[room] + _EPSILON:
                worth[room], chosen[room] = worth[room - size] + prices[i], i
    pattern, room = np.zeros(len(sizes), np.int64), PRICES - 1
    while room > 0:
        if chosen[room] < 0:
            room -= 1
        else:
            pattern[chosen[room]] += 1
            room -= int(sizes[chosen[room]])
    return worth, pattern
