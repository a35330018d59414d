"""The nodes of a Kubernetes cluster as the agent sees them: what other pods leave for our runs.

Of the allocatable amounts, the effective requests of every bound pod that is not over and is not a
run of ours are taken away. What the pod template tolerates is no taint here; a node that it does
not select, that is tainted otherwise, cordoned or not ready takes nothing new. Of GPUs only whole
ones are left: one that another pod has a share of is not offered.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import structlog

from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_template import Template
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.informer import Change, Informer
from cerebrum.executors.kubernetes.metadata import Metadata
from cerebrum.kube.constraints import read_constraints
from cerebrum.kube.fields import Fields
from cerebrum.kube.nodes import read_node
from cerebrum.kube.requests import pod_resources
from cerebrum.model.cluster import Node
from cerebrum.model.errors import CerebrumError, InputError
from cerebrum.model.resources import GPU_MILLI, Resources

SYNC_S = 120.0
"""How long the first lists of nodes and pods may take."""
SETTLE_S = 0.5
"""Changes that come within so long of each other are told together."""
_BOUND = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
_log = structlog.get_logger("cerebrum.kubernetes.inventory")


class _Container(msgspec.Struct):
    name: str = ""
    resources: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    restartPolicy: str | None = None


class _PodSpec(msgspec.Struct):
    nodeName: str = ""
    containers: list[_Container] = msgspec.field(default_factory=list[_Container])
    initContainers: list[_Container] = msgspec.field(default_factory=list[_Container])
    overhead: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None


class _ContainerStatus(msgspec.Struct):
    name: str = ""
    resources: dict[str, Any] | None = None
    allocatedResources: dict[str, Any] | None = None


class _PodStatus(msgspec.Struct):
    containerStatuses: list[_ContainerStatus] = msgspec.field(
        default_factory=list[_ContainerStatus]
    )


class BoundPod(msgspec.Struct):
    """What a pod holds of its node."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _NodeStatus(msgspec.Struct):
    allocatable: dict[str, Any] | None = None
    capacity: dict[str, Any] | None = None
    conditions: list[_Condition] = msgspec.field(default_factory=list[_Condition])


class NodeObject(msgspec.Struct):
    """What a node offers."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class ClusterInventory:
    """`Inventory` of a cluster, by two informers. `run` works until cancelled.

    `cluster` is the label of our own runs, which are not taken away. `problems` says by node name
    what is wrong with a Node object that cannot be used.
    """

    def __init__(
        self, client: Client, cluster: str, template: Template, rng: np.random.Generator
    ) -> None:
        self._label = at.label_value(cluster)
        self._constraints = read_constraints(Fields.of(dict(template.spec)))
        self._objects = Informer(client, "/api/v1/nodes", NodeObject, self._nodes_changed, rng=rng)
        self._pods = Informer(
            client, "/api/v1/pods", BoundPod, self._pods_changed, rng=rng,
            query={"fieldSelector": _BOUND},
        )  # fmt: skip
        self._held: dict[str, tuple[str, Resources]] = {}  # pod uid -> node, what it has
        self._on: defaultdict[str, set[str]] = defaultdict(set)
        self._told: dict[str, Node] = {}
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self.problems: dict[str, str] = {}

    async def run(self) -> None:
        """List and watch."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._objects.run(), name="inventory-nodes")
            group.create_task(self._pods.run(), name="inventory-pods")

    async def nodes(self) -> Sequence[Node]:
        """See `Inventory.nodes`."""
        try:
            async with asyncio.timeout(SYNC_S):
                await self._objects.synced.wait()
                await self._pods.synced.wait()
        except TimeoutError:
            why = self._objects.last_error or self._pods.last_error or "no answer"
            raise CerebrumError(f"cannot list the cluster's nodes and pods: {why}") from None
        self._dirty.update(self._names())
        self._take()
        return [self._told[name] for name in sorted(self._told)]

    async def next_changes(self) -> Mapping[str, Node | None]:
        """See `Inventory.next_changes`."""
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_S)
            if changes := self._take():
                return changes

    @property
    def stale_s(self) -> float:
        """See `Inventory.stale_s`."""
        return max(self._objects.stale_s, self._pods.stale_s)

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once."""
        return self._objects.synced.is_set() and self._pods.synced.is_set()

    def has(self, name: str) -> bool:
        """Whether the API server has a node of that name, as far as is known."""
        return not self._objects.synced.is_set() or name in self._names()

    # -- changes ----------------------------------------------------------------------------

    def _names(self) -> Mapping[str, object]:
        return self._objects.items

    def _nodes_changed(self, changes: Sequence[Change[NodeObject]]) -> None:
        self._dirty.update(change.key for change in changes)
        self._news.set()

    def _pods_changed(self, changes: Sequence[Change[BoundPod]]) -> None:
        for change in changes:
            if change.old is not None:
                self._release(change.old)
            if change.new is not None:
                self._hold(change.new)
        if self._dirty:
            self._news.set()

    def _release(self, pod: BoundPod) -> None:
        held = self._held.pop(pod.metadata.uid, None)
        if held is not None:
            self._on[held[0]].discard(pod.metadata.uid)
            self._dirty.add(held[0])

    def _hold(self, pod: BoundPod) -> None:
        node, labels = pod.spec.nodeName, pod.metadata.labels
        ours = labels.get(at.MANAGED_BY) == at.MANAGER and labels.get(at.CLUSTER) == self._label
        if not node or (ours and at.RUN_ID in labels):
            return
        self._held[pod.metadata.uid] = (node, _resources(pod))
        self._on[node].add(pod.metadata.uid)
        self._dirty.add(node)

    def _take(self) -> dict[str, Node | None]:
        """What is not as it was told, of what may have changed."""
        self._news.clear()
        dirty, self._dirty = self._dirty, set()
        changes: dict[str, Node | None] = {}
        for name in sorted(dirty):
            known = self._objects.items.get(name)
            node = None if known is None else self._node(known)
            if node != self._told.get(name):
                changes[name] = node
                if node is None:
                    del self._told[name]
                else:
                    self._told[name] = node
        return changes

    # -- what is left -----------------------------------------------------------------------

    def _node(self, item: NodeObject) -> Node | None:
        name = item.metadata.name
        try:
            node = read_node(_fields(item), frozenset())
        except InputError as problem:
            if self.problems.get(name) != str(problem):
                self.problems[name] = str(problem)
                _log.warning("node_unusable", node=name, problem=str(problem))
            return None
        self.problems.pop(name, None)
        others = [self._held[uid][1] for uid in self._on.get(name, ())]
        tolerated = self._constraints.tolerations
        return replace(
            node,
            capacity=_left(node.capacity, others),
            slots=max(0, node.slots - len(others)),
            taints=tuple(t for t in node.taints if not any(x.tolerates(t) for x in tolerated)),
            schedulable=node.schedulable and _ready(item) and self._admits(node),
        )

    def _admits(self, node: Node) -> bool:
        """Whether runs may go there; beside the template's, they tolerate nothing of their own."""
        here = self._constraints
        return here.selects(node.name, node.labels) and here.untolerated(node.taints) is None


def _left(offered: Resources, others: Sequence[Resources]) -> Resources:
    """What is offered less what others have; never below nothing."""
    shares = sum(r.gpu_milli for r in others if r.gpu_count == 1 and r.gpu_milli < GPU_MILLI)
    whole = sum(r.gpu_count for r in others if r.gpu_milli == GPU_MILLI)
    gpus = max(0, offered.gpu_count - whole - math.ceil(shares / GPU_MILLI))
    return replace(
        offered,
        cpu_milli=max(0, offered.cpu_milli - sum(r.cpu_milli for r in others)),
        memory_mib=max(0, offered.memory_mib - sum(r.memory_mib for r in others)),
        gpu_count=gpus,
        gpu_milli=GPU_MILLI if gpus else 0,
    )


def _resources(pod: BoundPod) -> Resources:
    """A pod that asks for nonsense and is bound all the same holds nothing that we could count."""
    spec, status = msgspec.to_builtins(pod.spec), msgspec.to_builtins(pod.status)
    notes = {"annotations": pod.metadata.annotations}
    try:
        return pod_resources(Fields.of(notes), Fields.of(spec), Fields.of(status))
    except InputError as problem:
        _log.warning("pod_unreadable", pod=pod.metadata.key, problem=str(problem))
        return Resources()


def _fields(item: NodeObject) -> Fields:
    metadata = {"name": item.metadata.name, "labels": item.metadata.labels}
    status = {"allocatable": item.status.allocatable, "capacity": item.status.capacity}
    return Fields.of({"metadata": metadata, "spec": item.spec, "status": status})


def _ready(item: NodeObject) -> bool:
    """A node whose kubelet says that it is not ready, or does not say anything any more."""
    return all(c.status == "True" for c in item.status.conditions if c.type == "Ready")
