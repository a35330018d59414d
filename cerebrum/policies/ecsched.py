"""ECSched: containers to machines by min-cost flow (Hu et al., Euro-Par'18; FGCS'20).

Each round takes the first `batch` tasks of the queue. Source -> task -> node it fits on -> sink,
one unit on every arc, so a node gets at most one task a round and needs no repair. The largest flow
is taken, and among those the cheapest. With d what the task asks and a what the node has free:

    ecsched-ml   cost = -sum of d_k / a_k                multi-resource load: the fullest nodes
    ecsched-dp   cost = -sum of a_k d_k / S_k^2          dot product; S_k the largest node

over CPU, memory and, where tasks ask for them, GPUs. Defaults are those of the published figures:
one round of 100 a second (`docs/reference/ecsched-protocol.md`). `round_s=0` goes on until nothing
fits.

`solver`: `ortools` (SimpleMinCostFlow, costs times 10^9 rounded), or `paths`, the author's search,
which decides ties as he did. Gangs are placed before the flow, as a whole, first fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import Bind
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.batch import BatchPolicy, gangs_first
from cerebrum.policies.room import Room
from cerebrum.policies.units import Unit

SCALE = 10**9  # integer cost units per unit of cost
COSTS = ("ml", "dp")
SOLVERS = ("ortools", "paths")
_NONE_LEFT = 1e-9


class ECSched(BatchPolicy):
    """Min-cost flow, round by round."""

    def __init__(
        self,
        cost: str,
        batch: int = 100,
        rounds: int = 1,
        round_s: float = 1.0,
        solver: str = "ortools",
    ) -> None:
        super().__init__(batch, round_s)
        if cost not in COSTS:
            raise UnknownName("cost", cost, COSTS)
        if solver not in SOLVERS:
            raise UnknownName("solver", solver, SOLVERS)
        if not rounds >= 1:
            raise ConfigError(f"expected at least 1, got {rounds!r}").at(field="rounds")
        self.name = f"ecsched-{cost}"
        self._cost, self._rounds, self._solver = cost, rounds, solver

    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """Rounds of flow, each after the starts of the last."""
        binds, tasks = gangs_first(room, waiting)
        for _ in range(self._rounds):
            found = self._round(room, tasks)
            if not found:
                break
            binds += found
            bound = {bind.task for bind in found}
            tasks = [task for task in tasks if task not in bound]
        return binds

    def _round(self, room: Room, tasks: list[int]) -> list[Bind]:
        cost = costs(room, tasks, self._cost)
        usable = np.flatnonzero(np.isfinite(cost).any(axis=1))
        if not len(usable):
            return []
        matched = _solve(cost[usable], self._solver)
        return [
            room.bind(tasks[int(usable[i])], int(matched[i])) for i in np.flatnonzero(matched >= 0)
        ]


def costs(room: Room, tasks: list[int], kind: str) -> NDArray[np.float64]:
    """Cost of each (task, node) pair, never positive; infinite where it does not fit."""
    asked, free, largest = resources(room, tasks)
    total = np.zeros((len(tasks), len(room.nodes)))
    for d, a, s in zip(asked, free, largest, strict=True):
        if kind == "dp":
            total -= a[None, :] * d[:, None] / s / s
        else:
            total -= d[:, None] / np.maximum(a, _NONE_LEFT)[None, :]
    fitting: dict[int, NDArray[np.bool_]] = {}
    for i, task in enumerate(tasks):
        class_id = room.class_of(task)
        if class_id not in fitting:
            fitting[class_id] = room.fitting(class_id)
        total[i, ~fitting[class_id]] = np.inf
    return total


def resources(
    room: Room, tasks: list[int]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]], list[float]]:
    """Asked by each task, free on each node, the largest node: CPU, memory, and GPUs if asked."""
    chosen = room.snapshot.classes[room.snapshot.tasks.class_id[tasks]]
    nodes = room.nodes
    gpus = (chosen["gpu_count"] * chosen["gpu_milli"]).astype(np.float64)
    rows = [
        (chosen["cpu_milli"], nodes["cpu_free"], nodes["cpu_milli"]),
        (chosen["memory_mib"], nodes["memory_free"], nodes["memory_mib"]),
    ]
    if gpus.any():
        rows.append((gpus, nodes["gpu_free_sum"], nodes["gpu_count"] * 1000))
    asked = [np.asarray(d, np.float64) for d, _, _ in rows]
    free = [np.asarray(a, np.float64) for _, a, _ in rows]
    return asked, free, [float(max(1, c.max(initial=1))) for _, _, c in rows]


def _solve(cost: NDArray[np.float64], solver: str) -> NDArray[np.int64]:
    """The node of each task, -1 for none: the largest matching, the cheapest of those."""
    if solver == "paths":
        from cerebrum.policies import shortest_paths

        return shortest_paths.match(cost)
    return _solve_ortools(cost)


def _solve_ortools(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    from ortools.graph.python import min_cost_flow

    tasks, nodes = cost.shape
    pairs: NDArray[np.int64] = np.argwhere(np.isfinite(cost)).astype(np.int64)
    arcs = _arcs(cost, pairs)
    flow: Any = min_cost_flow.SimpleMinCostFlow()
    ids = flow.add_arcs_with_capacity_and_unit_cost(
        arcs[0].astype(np.int32), arcs[1].astype(np.int32), np.ones_like(arcs[0]), arcs[2]
    )
    supply = min(tasks, nodes)
    flow.set_node_supply(0, supply)
    flow.set_node_supply(1 + tasks + nodes, -supply)
    status = flow.solve_max_flow_with_min_cost()
    if status != flow.OPTIMAL:
        raise AssertionError(f"min-cost flow ended with status {status}")
    used: NDArray[np.bool_] = np.asarray(flow.flows(ids))[tasks : tasks + len(pairs)] > 0
    matched = np.full(tasks, -1, np.int64)
    matched[pairs[used, 0]] = pairs[used, 1]
    return matched


def _arcs(cost: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tails, heads and unit costs: source 0, then tasks, then nodes, then the sink."""
    tasks, nodes = cost.shape
    first, sink = 1 + tasks, 1 + tasks + nodes
    arcs = np.zeros((3, tasks + len(pairs) + nodes), np.int64)
    arcs[1, :tasks] = np.arange(1, first)
    between = slice(tasks, tasks + len(pairs))
    arcs[0, between], arcs[1, between] = 1 + pairs[:, 0], first + pairs[:, 1]
    arcs[2, between] = np.rint(cost[pairs[:, 0], pairs[:, 1]] * SCALE)
    arcs[0, tasks + len(pairs) :], arcs[1, tasks + len(pairs) :] = np.arange(first, sink), sink
    return arcs


def dp(batch: int = 100, rounds: int = 1, round_s: float = 1.0, solver: str = "ortools") -> ECSched:
    """Cost by dot product."""
    return ECSched("dp", batch, rounds, round_s, solver)


def ml(batch: int = 100, rounds: int = 1, round_s: float = 1.0, solver: str = "ortools") -> ECSched:
    """Cost by multi-resource load."""
    return ECSched("ml", batch, rounds, round_s, solver)
