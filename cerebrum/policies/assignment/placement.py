"""Spread, pack and random: the ordinary placement policies on a snapshot with one row per cluster.

The federation needs no second interface. A scenario is built whose nodes are the clusters and whose
tasks are the parts, and `least-allocated`, `most-allocated` or `random`, or any other policy
(`PlacementAssigner(policy)`), decides on the engine's snapshot of it, decision by
decision. CPU stands for work: a cluster offers what it computes within a horizon, a part takes its
core-seconds, backlog and parts that are placed are bound before the policy is asked. The horizon is
twice what all work takes on all clusters together, and doubled until every part has room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.actions import event_of
from cerebrum.engine.engine import Engine
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.constraints import Constraints, Requirement, Term
from cerebrum.model.decisions import Bind
from cerebrum.model.events import Event, EventKind
from cerebrum.model.federation import ClusterView, ClusterViews, Decomposition, Network
from cerebrum.model.protocols import Policy
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.policies import get_policy
from cerebrum.policies.assignment._checks import held
from cerebrum.policies.decomposition._feasible import feasible_parts
from cerebrum.policies.decomposition._problem import core_seconds

_UNITS = 10**9  # of work in the largest row: finer than any policy looks
_SLOTS = 32_767
_LEAST_LEFT = 0.05  # of the CPU, whatever is forecast


class PlacementAssigner:
    """Any placement policy as an assigner. `policy` is what `get_policy` takes."""

    def __init__(self, policy: str | Policy = "least-allocated", name: str = "") -> None:
        self._policy = policy
        self.name = name or f"placement:{policy if isinstance(policy, str) else policy.name}"

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: NDArray[np.int32] | None = None,
        key: int = 0,
    ) -> NDArray[np.int32]:
        """int32[parts]: index of the cluster, -1 where none can hold the part's tasks."""
        chosen = held(decomposition, clusters, placed)
        w, part = decomposition.workflow, decomposition.part
        can = feasible_parts(w.tasks, part, clusters)
        work = np.zeros(decomposition.parts)
        np.add.at(work, part, core_seconds(w))
        used = np.array([view.backlog_core_s for view in clusters])
        np.add.at(used, chosen[chosen >= 0], work[chosen >= 0])
        open_ = np.flatnonzero((chosen < 0) & can.any(axis=1))
        for batch in np.split(open_, range(_SLOTS, len(open_), _SLOTS)):
            chosen[batch] = self._place(clusters, work[batch], can[batch], used, key)
            np.add.at(used, chosen[batch], work[batch])
        return chosen

    def _place(
        self,
        clusters: ClusterViews,
        work: NDArray[np.float64],
        can: NDArray[np.bool_],
        used: NDArray[np.float64],
        key: int,
    ) -> NDArray[np.int32]:
        """Clusters for parts each of which some cluster can hold."""
        out = np.full(len(work), -1, np.int32)
        if not len(work):
            return out
        rate = np.array([_rate(view) for view in clusters])
        horizon_s = 2.0 * max(float(work.sum() + used.sum()), 1e-9) / float(rate.sum())
        while (out < 0).any():
            engine = _engine(clusters, rate * horizon_s, work, can, used, key)
            out = _decide(engine, get_policy(self._policy), len(work))
            horizon_s *= 2.0
        return out


def _decide(engine: Engine, policy: Policy, parts: int) -> NDArray[np.int32]:
    """Ask the policy until it has nothing more to bind; the row of each part."""
    out = np.full(parts, -1, np.int32)
    for _ in range(2 * parts + 2):  # a bind and a wait for each part at most
        snapshot = engine.snapshot()
        decision = policy.decide(snapshot) if len(snapshot.pending) else None
        if not decision:
            break
        for action in decision.actions:
            engine.apply(event_of(action, engine.now_s))
            if isinstance(action, Bind):
                out[action.task] = action.row
    return out


def _engine(
    clusters: ClusterViews,
    room_core_s: NDArray[np.float64],
    work: NDArray[np.float64],
    can: NDArray[np.bool_],
    used: NDArray[np.float64],
    key: int,
) -> Engine:
    """An engine of one row per cluster; parts are pending, what is in use is bound."""
    unit = float(room_core_s.max()) / _UNITS
    room = np.maximum(1, room_core_s / unit).astype(np.int64)
    taken = np.minimum(room, np.ceil(used / unit).astype(np.int64))
    need = np.maximum(1, np.ceil(work / unit).astype(np.int64))
    nodes = tuple(
        Node(view.name, Resources(cpu_milli=int(room[c])), slots=_SLOTS)
        for c, view in enumerate(clusters)
    )
    asks = [TaskClass(Resources(cpu_milli=int(need[i])), (), _only(clusters, can[i]))
            for i in range(len(work))]  # fmt: skip
    asks += [TaskClass(Resources(cpu_milli=int(amount))) for amount in taken]
    n = len(asks)
    names = [f"part {i}" for i in range(len(work))] + [f"backlog {v.name}" for v in clusters]
    table = TaskTable.build(names, asks, np.arange(n), np.zeros(n), 0.0)
    engine = Engine(Scenario(Cluster(nodes), table, "clusters as nodes"), key)
    for task in range(n):
        engine.apply(Event(0.0, EventKind.SUBMITTED, task))
    for row in range(len(clusters)):
        engine.apply(Event(0.0, EventKind.BOUND, len(work) + row, row))
    return engine


def _only(clusters: ClusterViews, can: NDArray[np.bool_]) -> Constraints:
    """Clusters whose nodes can hold the part's tasks, as a node affinity by name."""
    if can.all():
        return Constraints()
    names = tuple(view.name for view, fits in zip(clusters, can, strict=True) if fits)
    term = Term(fields=(Requirement("metadata.name", "In", names),))
    return Constraints(required=(term,))


def _rate(view: ClusterView) -> float:
    """Core-seconds a second that the forecast leaves."""
    left = max(_LEAST_LEFT, 1.0 - view.forecast_cpu)
    return max(1e-9, view.cpu_milli / 1000 * view.speed * left)


def spread() -> PlacementAssigner:
    """The cluster with the most room: `least-allocated`."""
    return PlacementAssigner("least-allocated", "spread")


def pack() -> PlacementAssigner:
    """The fullest cluster that has room: `most-allocated`."""
    return PlacementAssigner("most-allocated", "pack")


def random() -> PlacementAssigner:
    """Any cluster, drawn from `key`: `random`."""
    return PlacementAssigner("random", "random")
