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

import msgspec
import structlog

from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_template import Template
from cerebrum.executors.kubernetes.facts import TERMINAL_PHASES
from cerebrum.executors.kubernetes.feeds import Feeds
from cerebrum.executors.kubernetes.informer import Change
from cerebrum.kube import objects
from cerebrum.kube.constraints import read_constraints
from cerebrum.kube.fields import Fields
from cerebrum.kube.nodes import read_node
from cerebrum.kube.pods import PodContext
from cerebrum.kube.reader import PodReader
from cerebrum.model.cluster import Node
from cerebrum.model.errors import CerebrumError, InputError
from cerebrum.model.resources import GPU_MILLI, Resources

SYNC_S = 120.0
"""How long the first lists of nodes and pods may take."""
SETTLE_S = 0.5
"""Changes that come within so long of each other are told together."""
_log = structlog.get_logger("cerebrum.kubernetes.inventory")


class ClusterInventory:
    """`Inventory` of a cluster, by its feeds. `run` works until cancelled.

    `cluster` is the label of our own runs, which are not taken away. `problems` says by node name
    what is wrong with a Node object that cannot be used.
    """

    def __init__(self, feeds: Feeds, cluster: str, template: Template) -> None:
        self._feeds = feeds
        self._label = at.label_value(cluster)
        self._constraints = read_constraints(Fields.of(dict(template.spec)))
        self._objects, self._pods = feeds.nodes.informer, feeds.pods.informer
        self._listening = (
            feeds.nodes.listen(self._nodes_changed), feeds.pods.listen(self._pods_changed)
        )  # fmt: skip
        self._reader = PodReader(PodContext())
        self._held: dict[str, tuple[str, Resources]] = {}  # pod uid -> node, what it has
        self._on: defaultdict[str, set[str]] = defaultdict(set)
        self._offers: dict[str, tuple[objects.Node, Node | None]] = {}  # as read, and from what
        self._told: dict[str, Node] = {}
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self.problems: dict[str, str] = {}

    async def run(self) -> None:
        """List and watch, for all who listen to the feeds."""
        await self._feeds.run()

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
        """See `Inventory.stale_s`; inf where we listen no more."""
        if any(listener.problem is not None for listener in self._listening):
            return math.inf
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

    def _nodes_changed(self, changes: Sequence[Change[objects.Node]]) -> None:
        self._dirty.update(change.key for change in changes)
        self._news.set()

    def _pods_changed(self, changes: Sequence[Change[objects.Pod]]) -> None:
        for change in changes:
            if change.new is not None:
                self._hold(change.new.metadata.uid, self._holding(change.new))
            elif change.old is not None:
                self._hold(change.old.metadata.uid, None)
        if self._dirty:
            self._news.set()

    def _hold(self, uid: str, now: tuple[str, Resources] | None) -> None:
        before = self._held.get(uid)
        if now == before:
            return
        if before is not None:
            del self._held[uid]
            self._on[before[0]].discard(uid)
            self._dirty.add(before[0])
        if now is not None:
            self._held[uid] = now
            self._on[now[0]].add(uid)
            self._dirty.add(now[0])

    def _holding(self, pod: objects.Pod) -> tuple[str, Resources] | None:
        """The node of a pod and what it has there; None for none, and for a run of ours."""
        if not pod.spec.node_name or pod.status.phase in TERMINAL_PHASES:
            return None
        labels = pod.metadata.labels or {}
        ours = labels.get(at.MANAGED_BY) == at.MANAGER and labels.get(at.CLUSTER) == self._label
        if ours and at.RUN_ID in labels:
            return None
        resources, problem = self._reader.resources(pod)
        if problem:
            # Bound all the same: what makes no sense of it holds nothing that we could count.
            _log.warning("pod_unreadable", pod=pod.metadata.key, problem=problem)
        return pod.spec.node_name, resources

    def _take(self) -> dict[str, Node | None]:
        """What is not as it was told, of what may have changed."""
        self._news.clear()
        dirty, self._dirty = self._dirty, set()
        changes: dict[str, Node | None] = {}
        for name in sorted(dirty):
            node = self._left_of(name)
            if node != self._told.get(name):
                changes[name] = node
                if node is None:
                    del self._told[name]
                else:
                    self._told[name] = node
        return changes

    # -- what is left -----------------------------------------------------------------------

    def _left_of(self, name: str) -> Node | None:
        """What others leave of a node; None where there is none, or none that makes sense."""
        item = self._objects.items.get(name)
        if item is None:
            self._offers.pop(name, None)
            return None
        known = self._offers.get(name)
        if known is None or known[0] is not item:
            known = self._offers[name] = item, self._offer(item)
        node = known[1]
        if node is None:
            return None
        others = [self._held[uid][1] for uid in self._on.get(name, ())]
        capacity, slots = _left(node.capacity, others), max(0, node.slots - len(others))
        return replace(node, capacity=capacity, slots=slots)

    def _offer(self, item: objects.Node) -> Node | None:
        """The whole node, for runs; read anew only when its object is another."""
        name = item.metadata.name
        try:
            node = read_node(Fields.of(msgspec.to_builtins(item)), frozenset())
        except InputError as problem:
            if self.problems.get(name) != str(problem):
                self.problems[name] = str(problem)
                _log.warning("node_unusable", node=name, problem=str(problem))
            return None
        self.problems.pop(name, None)
        tolerated = self._constraints.tolerations
        return replace(
            node,
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


def _ready(item: objects.Node) -> bool:
    """A node whose kubelet says that it is not ready, or does not say anything any more."""
    return all(c.status == "True" for c in item.status.conditions or () if c.type == "Ready")
