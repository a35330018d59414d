# pyright: basic, reportPrivateImportUsage=false
"""A workflow on clusters as arrays: what the kernels of decomposition and assignment read.

A cluster is modelled as *lanes*: how many typical tasks of this workflow its nodes run at once. A
lane has its node's speed; data on one node moves in no time. The forecast slows a cluster's lanes,
the backlog makes them free later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT, addresses
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.federation import ClusterView, ClusterViews, Network
from cerebrum.model.workflow import Workflow
from cerebrum.policies.decomposition._feasible import feasible

MOST_LANES = 64
"""Lanes modelled per cluster; larger ones are scaled down, all by the same factor."""
_LANE_VISITS = 40_000_000  # tasks x lanes of one list schedule, which bounds its time
_LEAST_SPEED = 0.05  # of a cluster that others are forecast to use up


class Problem(NamedTuple):
    """Arrays by name; n tasks, e dependencies, k clusters, l lanes.

    `p_*` dependencies by `after`, `s_*` by `before`: those of task i are first[i] .. first[i+1].
    `lane_first` k + 1; `latency`, `inverse` (s per MB) k x k; `fits` n x k; `place` of a task in
    topological order, `slowness` mean seconds per second at speed 1 and `several` nodes or one, k.

    The rest is workspace. Of a list schedule: `rank` to `gap`, a linked list of tasks per lane,
    `gap` at most its longest pause. Of a quotient: `phase` n and `reach` k. Of a dispatch:
    `priority` on, and `head` and `behind` as queues by cluster.
    """

    duration: np.ndarray
    order: np.ndarray
    p_first: np.ndarray
    p_task: np.ndarray
    p_mb: np.ndarray
    s_first: np.ndarray
    s_task: np.ndarray
    s_mb: np.ndarray
    fits: np.ndarray
    lane_first: np.ndarray
    lane_speed: np.ndarray
    lane_node: np.ndarray
    lane_free: np.ndarray
    latency: np.ndarray
    inverse: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    finish: np.ndarray
    lane: np.ndarray
    before: np.ndarray
    behind: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    gap: np.ndarray
    phase: np.ndarray
    reach: np.ndarray
    place: np.ndarray
    slowness: np.ndarray
    several: np.ndarray
    priority: np.ndarray
    waits: np.ndarray
    stage_s: np.ndarray
    stage_there_s: np.ndarray
    stage_node: np.ndarray
    lane_end: np.ndarray
    planned: np.ndarray
    busy: np.ndarray
    touched: np.ndarray
    heap_s: np.ndarray
    heap_item: np.ndarray


DTYPES: dict[str, Any] = {
    "duration": np.float64, "order": np.int32, "p_first": np.int64, "p_task": np.int32,
    "p_mb": np.float64, "s_first": np.int64, "s_task": np.int32, "s_mb": np.float64,
    "fits": np.uint8, "lane_first": np.int64, "lane_speed": np.float64, "lane_node": np.int32,
    "lane_free": np.float64, "latency": np.float64, "inverse": np.float64, "rank": np.float64,
    "start": np.float64, "finish": np.float64, "lane": np.int32, "before": np.int32,
    "behind": np.int32, "head": np.int32, "tail": np.int32, "gap": np.float64,
    "phase": np.int32, "reach": np.int64, "place": np.int32, "slowness": np.float64,
    "several": np.uint8, "priority": np.float64, "waits": np.int64, "stage_s": np.float64,
    "stage_there_s": np.float64, "stage_node": np.int32, "lane_end": np.float64,
    "planned": np.float64, "busy": np.uint8, "touched": np.uint8,
    "heap_s": np.float64, "heap_item": np.int64,
}  # fmt: skip

open_problem = opener(table_type("DecompositionProblem", DTYPES))


class Instance:
    """Owns the arrays; `handle` is what kernels take."""

    def __init__(self, workflow: Workflow, clusters: ClusterViews, network: Network) -> None:
        n, k = len(workflow), len(clusters)
        self.workflow, self.clusters, self.network = workflow, tuple(clusters), network
        lanes = _lanes(workflow, self.clusters)
        arrays = {
            **_graph(workflow),
            **lanes,
            "duration": finite_durations_s(workflow),
            "order": workflow.order,
            "fits": feasible(workflow.tasks, self.clusters)[workflow.tasks.class_id].ravel(),
            "latency": network.latency_s.ravel(),
            "inverse": (1.0 / network.bandwidth_mb_s).ravel(),
            "place": _places(workflow),
        }
        count = len(lanes["lane_speed"])
        sizes = dict.fromkeys(("tail", "gap", "lane_end", "planned", "busy"), count)
        sizes |= {"head": max(count, k), "reach": k, "touched": k}
        sizes |= {"heap_s": n + count + 1, "heap_item": n + count + 1}
        self.arrays = Problem(
            **{
                name: np.ascontiguousarray(arrays[name], DTYPES[name])
                if name in arrays
                else np.zeros(sizes.get(name, n), DTYPES[name])
                for name in Problem._fields
            }
        )
        self._addresses = addresses(tuple(self.arrays))
        self.handle: Any = self._addresses.ctypes.data if JIT else self.arrays

    def __len__(self) -> int:
        return len(self.workflow)

    @property
    def total_mb(self) -> float:
        """10^6 bytes on all dependencies."""
        return float(self.arrays.p_mb.sum())


def _places(workflow: Workflow) -> NDArray[np.int64]:
    place = np.empty(len(workflow), np.int64)
    place[workflow.order] = np.arange(len(workflow))
    return place


def _graph(workflow: Workflow) -> dict[str, NDArray[Any]]:
    p_first, p_edges = workflow.predecessors
    s_first, s_edges = workflow.successors
    return {
        "p_first": p_first, "p_task": workflow.before[p_edges], "p_mb": workflow.volume_mb[p_edges],
        "s_first": s_first, "s_task": workflow.after[s_edges], "s_mb": workflow.volume_mb[s_edges],
    }  # fmt: skip


def finite_durations_s(workflow: Workflow) -> NDArray[np.float64]:
    """Durations; a task that never ends counts as one day, or no schedule could be compared."""
    duration = workflow.tasks.duration_s
    endless = np.isinf(duration)
    return np.where(endless, 86_400.0, duration) if endless.any() else duration


def core_seconds(workflow: Workflow) -> NDArray[np.float64]:
    """float64[tasks]: what each task computes, at speed 1."""
    return finite_durations_s(workflow) * np.maximum(1, workflow.tasks.request("cpu_milli")) / 1000


def _lanes(workflow: Workflow, clusters: tuple[ClusterView, ...]) -> dict[str, NDArray[Any]]:
    n, k = len(workflow), max(1, len(clusters))
    typical = _typical(workflow)
    counts = np.array([min(max(1, n), _at_once(view, typical)) for view in clusters], np.int64)
    most = max(1, min(MOST_LANES, _LANE_VISITS // max(1, n) // k))
    scale = max(1.0, counts.max(initial=1) / most)
    kept = np.maximum(1, np.round(counts / scale).astype(np.int64))
    speed: list[NDArray[np.float64]] = []
    node: list[NDArray[np.int64]] = []
    free: list[NDArray[np.float64]] = []
    slowness: list[float] = []
    nodes = 0
    for view, lanes, all_lanes in zip(clusters, kept.tolist(), counts.tolist(), strict=True):
        left = max(_LEAST_SPEED, 1.0 - view.forecast_cpu)
        speeds = node_speeds(view) * left
        place = _nodes_of_lanes(speeds, lanes)
        speed.append(speeds[place] * (all_lanes / lanes))
        node.append(nodes + place)
        cores = max(1e-3, view.cpu_milli / 1000) * max(1e-9, float(speeds.mean()))
        free.append(np.full(lanes, view.backlog_core_s / cores))
        slowness.append(float((1.0 / speeds).mean()))
        nodes += len(speeds)
    return {
        "slowness": np.array(slowness),
        "several": np.array([view.nodes > 1 for view in clusters]),
        "lane_first": np.concatenate([[0], np.cumsum(kept)]),
        "lane_speed": np.concatenate(speed) if speed else np.zeros(0),
        "lane_node": np.concatenate(node) if node else np.zeros(0),
        "lane_free": np.concatenate(free) if free else np.zeros(0),
    }


def _nodes_of_lanes(speeds: NDArray[np.float64], lanes: int) -> NDArray[np.int64]:
    """int64[lanes]: the node of each, in their order; the fastest if there are fewer lanes."""
    if lanes < len(speeds):
        return np.sort(np.argsort(-speeds, kind="stable")[:lanes])
    return np.sort(np.arange(lanes) % len(speeds))


def node_speeds(view: ClusterView) -> NDArray[np.float64]:
    """float64[nodes]: the speed of each node, their mean where no more is known."""
    speeds = view.node_speeds or (view.speed,) * max(1, view.nodes)
    return np.asarray(speeds, np.float64)


def _typical(workflow: Workflow) -> tuple[float, float, float]:
    """Mean request by run time: cores in thousandths, MiB, GPUs in thousandths."""
    tasks, duration = workflow.tasks, finite_durations_s(workflow)
    weight = duration if duration.sum() > 0 else np.ones(len(tasks))
    if not len(tasks):
        return 0.0, 0.0, 0.0
    names = ("cpu_milli", "memory_mib", "gpu_milli_total")
    cpu, memory, gpu = (float(np.average(tasks.request(name), weights=weight)) for name in names)
    return cpu, memory, gpu


def _at_once(view: ClusterView, typical: tuple[float, float, float]) -> int:
    """How many typical tasks run at once: whole tasks per node, at least one a node."""
    nodes = max(1, view.nodes)
    cpu, memory, gpu = typical
    have = (view.cpu_milli, view.memory_mib, 1000 * view.gpu_count)
    bounds = [have[i] / nodes / need for i, need in enumerate((max(1.0, cpu), memory, gpu)) if need]
    return nodes * max(1, int(min(min(bounds) + 1e-9, 1e6)))
