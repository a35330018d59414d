"""CPOP, Critical Path on a Processor (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).

A task's priority is its upward plus its downward rank. The tasks of one critical path, along which
the priority is that of its first task, go to the node that runs them fastest in all; every other
task to the node where it ends first. Of the ready tasks the one with the highest priority is next.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.schedule import (
    Plan,
    Platform,
    downward_rank,
    list_schedule,
    upward_rank,
)
from cerebrum.model.federation import Federation
from cerebrum.model.workflow import Workflow
from cerebrum.policies.planning.heft import platform_of


class Cpop:
    """The published algorithm; a workflow may have several first and last tasks."""

    name = "cpop"

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """See `Planner`."""
        platform = platform_of(where)
        priority = upward_rank(workflow, platform, cluster_of_task)
        priority += downward_rank(workflow, platform, cluster_of_task)
        path = critical_path(workflow, priority)
        pins = np.full(len(workflow), -1, np.int32)
        pins[path] = _fastest_node(workflow, platform, path, cluster_of_task)
        return list_schedule(
            workflow, platform, ready_order(workflow, priority),
            cluster_of_task=cluster_of_task, node_of_task=pins,
        )  # fmt: skip


def critical_path(workflow: Workflow, priority: NDArray[np.float64]) -> NDArray[np.int32]:
    """From the first task with the highest priority, each time on to the follower with most."""
    if not len(workflow):
        return np.zeros(0, np.int32)
    first, edges = workflow.successors
    entries = np.flatnonzero(np.diff(workflow.predecessors[0]) == 0)
    task = int(entries[np.argmax(priority[entries])])
    path = [task]
    while len(followers := workflow.after[edges[first[task] : first[task + 1]]]):
        task = int(followers[np.argmax(priority[followers])])
        path.append(task)
    return np.array(path, np.int32)


def ready_order(workflow: Workflow, priority: NDArray[np.float64]) -> NDArray[np.int32]:
    """Tasks as a queue of ready ones gives them: highest priority first, ties by index."""
    waits = np.diff(workflow.predecessors[0]).tolist()
    first, edges = (array.tolist() for array in workflow.successors)
    after, rank = workflow.after.tolist(), priority.tolist()
    ready = [(-rank[task], task) for task, count in enumerate(waits) if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, task = heapq.heappop(ready)
        order.append(task)
        for edge in edges[first[task] : first[task + 1]]:
            follower = after[edge]
            waits[follower] -= 1
            if waits[follower] == 0:
                heapq.heappush(ready, (-rank[follower], follower))
    return np.array(order, np.int32)


def _fastest_node(
    workflow: Workflow,
    platform: Platform,
    path: NDArray[np.int32],
    cluster_of_task: NDArray[np.int32] | None,
) -> int:
    """The fastest node that may run the whole path; -1 if there is none."""
    allowed = platform.fits(workflow)[workflow.tasks.class_id[path]].all(axis=0)
    if cluster_of_task is not None:
        for cluster in set(cluster_of_task[path].tolist()) - {-1}:
            allowed &= platform.cluster == cluster
    if not allowed.any():
        return -1
    return int(np.argmax(np.where(allowed, platform.speed, 0.0)))
