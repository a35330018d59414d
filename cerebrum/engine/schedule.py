"""Static schedules of a workflow: ranks, and list scheduling with insertion on nodes of any speed.

The model is that of HEFT (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002): a task runs on one node
from its start to its end, `duration / speed`, and starts once the data of everything it waits for
has arrived. Data moves in `latency + volume / bandwidth` of the link between the clusters of the
two nodes, and in no time on one node. Beyond HEFT, a node may have several *lanes*: thousandths of
a core, of which a task takes what it asks for. Memory and GPUs decide where a task may go, but are
not shared out over time: that is done when the plan is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import _schedule_kernels as kernels
from cerebrum.engine.filters import judge_one
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.federation import Federation, Network
from cerebrum.model.tasks import TaskClass
from cerebrum.model.workflow import Workflow


@dataclass(frozen=True, eq=False)
class Plan:
    """When and where each task runs: arrays by task, nodes as rows of a `Platform`."""

    node: NDArray[np.int32]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    @property
    def makespan_s(self) -> float:
        """When the last task ends; 0 for a workflow without tasks."""
        return float(self.end_s.max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Platform:
    """The nodes of a federation in one list, cluster by cluster: what a list scheduler sees.

    `cluster` int32[nodes] indexes the network; `speed` float64[nodes]; `lanes` int64[nodes]. An
    `exclusive` platform is the classic processor model: a node runs one task at a time.
    """

    nodes: tuple[Node, ...] = field(repr=False)
    cluster: NDArray[np.int32]
    network: Network = field(repr=False)
    clusters: tuple[str, ...]
    exclusive: bool = False

    @classmethod
    def of(cls, federation: Federation, exclusive: bool = False) -> Platform:
        """All nodes of the federation."""
        sizes = [len(cluster) for cluster in federation.clusters]
        return cls(
            tuple(node for cluster in federation.clusters for node in cluster),
            np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
            federation.network,
            tuple(cluster.name for cluster in federation.clusters),
            exclusive,
        )

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def speed(self) -> NDArray[np.float64]:
        """float64[nodes]."""
        return np.array([node.speed for node in self.nodes], np.float64)

    @cached_property
    def lanes(self) -> NDArray[np.int64]:
        """int64[nodes]: thousandths of a core; 1 on an exclusive platform."""
        capacity = [1 if self.exclusive else node.capacity.cpu_milli for node in self.nodes]
        return np.array(capacity, np.int64)

    def need(self, workflow: Workflow) -> NDArray[np.int64]:
        """int64[tasks]: lanes each task takes, at least one."""
        if self.exclusive:
            return np.ones(len(workflow), np.int64)
        return np.maximum(1, workflow.tasks.request("cpu_milli"))

    def fits(self, workflow: Workflow) -> NDArray[np.bool_]:
        """bool[classes, nodes]: whether an empty node could take a task of the class."""
        out = np.zeros((len(workflow.tasks.classes), len(self)), np.bool_)
        for k, task_class in enumerate(workflow.tasks.classes):
            judged: dict[int, bool] = {}  # nodes of one shape are often one object
            for row, node in enumerate(self.nodes):
                if id(node) not in judged:
                    judged[id(node)] = _could_hold(node, task_class, self.exclusive)
                out[k, row] = judged[id(node)]
        return out

    def mean_slowness(self, cluster: int = -1) -> float:
        """Mean of 1 / speed, over the nodes of one cluster or (-1) of all: seconds per second."""
        chosen = self.cluster == cluster if cluster >= 0 else np.ones(len(self), np.bool_)
        return float((1 / self.speed[chosen]).mean()) if chosen.any() else 1.0

    def mean_link(self, source: int = -1, target: int = -1) -> tuple[float, float]:
        """Mean latency and mean seconds per MB over pairs of distinct nodes, from and to any (-1).

        Seconds are averaged, not rates: one free link would otherwise make all links look free.
        """
        own = np.arange(len(self.network))
        size = np.bincount(self.cluster, minlength=len(own)).astype(np.float64)
        pairs = np.outer(size, size) - np.diag(size)
        pairs *= np.outer((own == source) | (source < 0), (own == target) | (target < 0))
        total = pairs.sum()
        if not total:
            return 0.0, 0.0
        latency = float((pairs * self.network.latency_s).sum() / total)
        return latency, float((pairs / self.network.bandwidth_mb_s).sum() / total)


def mean_costs(
    workflow: Workflow, platform: Platform, cluster_of_task: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean run time of each task and mean transfer time of each dependency, s.

    Over all nodes, or over those of a task's cluster where it has one (-1: none yet).
    """
    n = len(workflow)
    at = np.full(n, -1, np.int32) if cluster_of_task is None else cluster_of_task
    slow = {c: platform.mean_slowness(c) for c in np.unique(at).tolist()}
    work_s = workflow.tasks.duration_s * np.array([slow[c] for c in at.tolist()], np.float64)
    k = len(platform.network) + 1
    pair = (at[workflow.before] + 1) * k + at[workflow.after] + 1
    pairs, which = np.unique(pair, return_inverse=True)
    links = [platform.mean_link(p // k - 1, p % k - 1) for p in pairs.tolist()]
    latency_s, s_per_mb = np.array(links, np.float64).reshape(-1, 2).T
    move_s = latency_s[which] + workflow.volume_mb * s_per_mb[which]
    return work_s, np.where(workflow.volume_mb > 0, move_s, 0.0)


def upward_rank(
    workflow: Workflow, platform: Platform, cluster_of_task: NDArray[np.int32] | None = None
) -> NDArray[np.float64]:
    """float64[tasks]: the longest mean way from the start of a task to the end of the workflow, s.

    HEFT's priority. `cluster_of_task` as in `mean_costs`.
    """
    return longest_way(workflow, *mean_costs(workflow, platform, cluster_of_task))


def longest_way(
    workflow: Workflow, work_s: NDArray[np.float64], move_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64[tasks]: the longest way from the start of a task to the end of the workflow, s.

    Along run times `work_s` float64[tasks] and transfer times `move_s` float64[dependencies]:
    `upward_rank` for costs that are known already.
    """
    rank = np.zeros(len(workflow))
    kernels.upward(workflow.order, *workflow.successors, workflow.after, work_s, move_s, rank)
    return rank


def downward_rank(
    workflow: Workflow, platform: Platform, cluster_of_task: NDArray[np.int32] | None = None
) -> NDArray[np.float64]:
    """float64[tasks]: the longest mean way from the beginning to the start of a task, s."""
    rank = np.zeros(len(workflow))
    costs = mean_costs(workflow, platform, cluster_of_task)
    kernels.downward(workflow.order, *workflow.predecessors, workflow.before, *costs, rank)
    return rank


def rank_order(workflow: Workflow, rank: NDArray[np.float64]) -> NDArray[np.int32]:
    """Tasks by falling rank; ties in topological order, then by index.

    A valid order for `list_schedule` when no task ranks above one it waits for.
    """
    place = np.empty(len(workflow), np.int64)
    place[workflow.order] = np.arange(len(workflow))
    return np.lexsort((place, -rank)).astype(np.int32)


def list_schedule(
    workflow: Workflow,
    platform: Platform,
    order: NDArray[np.int32],
    *,
    cluster_of_task: NDArray[np.int32] | None = None,
    node_of_task: NDArray[np.int32] | None = None,
    insertion: bool = True,
    free_s: NDArray[np.float64] | None = None,
) -> Plan:
    """Place tasks in `order`, each on the allowed node where it ends first, in the first gap.

    Ties go to the node with the lowest row. `cluster_of_task` (int32, -1: any) and `node_of_task`
    (rows, -1: any) restrict where a task may go; `free_s` float64[nodes] says when nodes are first
    free. Without `insertion` the tasks of a node start in the order in which they were placed.
    Raises `InputError` for an order that is not one, or naming a task no allowed node can hold.
    """
    n, m = len(workflow), len(platform)
    _check_order(workflow, order)
    check_finite(workflow)
    anywhere = np.full(n, -1, np.int32)
    only_cluster = anywhere if cluster_of_task is None else _column(cluster_of_task, n, "cluster")
    only_node = anywhere if node_of_task is None else _column(node_of_task, n, "node")
    network, fits = platform.network, platform.fits(workflow)
    plan = Plan(np.full(n, -1, np.int32), np.zeros(n), np.zeros(n))
    placed = kernels.place_all(
        np.ascontiguousarray(order, np.int32), workflow.tasks.duration_s, platform.need(workflow),
        workflow.tasks.class_id, fits, only_cluster, only_node, *workflow.predecessors,
        workflow.before, workflow.volume_mb, platform.speed, platform.lanes, platform.cluster,
        network.latency_s, network.bandwidth_mb_s,
        np.zeros(m) if free_s is None else np.ascontiguousarray(free_s, np.float64), insertion,
        plan.start_s, plan.end_s, plan.node,
    )  # fmt: skip
    if placed < n:
        task = int(order[placed])
        cluster = int(only_cluster[task])
        where = f" of cluster {platform.clusters[cluster]!r}" if cluster >= 0 else ""
        raise InputError(f"no node{where} can ever hold task {workflow.tasks.names[task]!r}").at(
            field="tasks"
        )
    return plan


def check_finite(workflow: Workflow) -> None:
    """Raise `InputError` for a task without an end: it cannot be planned."""
    endless = ~np.isfinite(workflow.tasks.duration_s)
    if endless.any():
        name = workflow.tasks.names[int(np.argmax(endless))]
        raise InputError(f"task {name!r}: expected a finite run time, got inf").at(
            field="duration_s"
        )


def _check_order(workflow: Workflow, order: NDArray[Any]) -> None:
    n = len(workflow)
    place = np.full(n, -1, np.int64)
    if len(order) == n and (n == 0 or (order.min() >= 0 and order.max() < n)):
        place[order] = np.arange(n)
    if (place < 0).any():
        raise InputError(f"expected each of {n} tasks once").at(field="order")
    late = place[workflow.before] > place[workflow.after]
    if late.any():
        i = int(np.argmax(late))
        names = workflow.tasks.names
        raise InputError(
            f"task {names[int(workflow.after[i])]!r} comes before "
            f"{names[int(workflow.before[i])]!r}, which it waits for"
        ).at(field="order")


def _column(values: NDArray[Any], n: int, what: str) -> NDArray[np.int32]:
    if len(values) != n:
        raise InputError(f"expected a {what} for each of {n} tasks, got {len(values)}")
    return np.ascontiguousarray(values, np.int32)


def _could_hold(node: Node, task_class: TaskClass, exclusive: bool) -> bool:
    """Whether the node, empty, has what the class asks for (CPU aside when it is exclusive)."""
    want, have = task_class.resources, node.capacity
    if not node.schedulable or judge_one(task_class.constraints, node)[0]:
        return False
    if want.memory_mib > have.memory_mib or want.cache_ways > have.cache_ways:
        return False
    if want.cpu_milli > have.cpu_milli and not exclusive:
        return False
    if want.gpu_count > have.gpu_count:
        return False
    if want.gpu_count and task_class.gpu_models and node.gpu_model not in task_class.gpu_models:
        return False
    offered = dict(have.extended)
    return node.slots > 0 and all(offered.get(name, 0) >= n for name, n in want.extended)
