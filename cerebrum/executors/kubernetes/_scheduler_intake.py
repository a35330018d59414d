"""From API objects to the mirror: what informers bring, read and handed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from cerebrum.executors.kubernetes._mirror_nodes import Nodes
from cerebrum.executors.kubernetes._scheduler_extended import ExtendedResources
from cerebrum.executors.kubernetes.counters import Counters
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.gangs import Gangs
from cerebrum.executors.kubernetes.informer import Change
from cerebrum.executors.kubernetes.mirror import Mirror
from cerebrum.executors.kubernetes.preemption import Budget
from cerebrum.executors.kubernetes.recorded import RecordedEngine
from cerebrum.executors.kubernetes.times import unix_s_or_zero
from cerebrum.executors.kubernetes.watching import Watching
from cerebrum.kube import objects
from cerebrum.kube.fields import Fields
from cerebrum.kube.live_nodes import live_node
from cerebrum.kube.peers import read_selector
from cerebrum.kube.pods import PodContext
from cerebrum.kube.priorities import priorities
from cerebrum.kube.reader import PodReader
from cerebrum.kube.volumes import Storage
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError, InvalidEvent

_log = structlog.get_logger(__name__)
_STORAGE = ("claims", "volumes", "storageclasses", "csinodes")


class Intake:
    """Reads what is watched. Objects that make no sense are counted and left out, with a word."""

    def __init__(self, watching: Watching, counters: Counters) -> None:
        self._watching = watching
        self._counters = counters
        self._namespaces = {key: _pairs(item) for key, item in watching.items("namespaces").items()}
        self.storage = Storage(
            watching.items("claims"),  # type: ignore[arg-type]  # the informers keep them current
            watching.items("volumes"),  # type: ignore[arg-type]
            watching.items("storageclasses"),  # type: ignore[arg-type]
            watching.items("csinodes"),  # type: ignore[arg-type]
        )
        self._context = PodContext(self._priorities(), self._namespaces, self.storage)
        self._reader = PodReader(self._context)
        self._extended = ExtendedResources(
            watching.items("nodes"),  # type: ignore[arg-type]
            self._read_nodes_again,
        )
        self._mirror: Mirror | None = None
        self.gangs: Gangs | None = None
        self._budgets: list[Budget] | None = None
        self._with_claims: set[str] = set()
        self._absurd: set[str] = set()
        for key, pod in watching.items("pods").items():
            said = self._reader.read(pod)
            if not said.finished:
                self._extended.learn(key, said.task_class)

    # -- reading ------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Every node, by name."""
        return [self._node(item) for _, item in sorted(self._watching.items("nodes").items())]

    def mirror(self, recorded: RecordedEngine, ours: Callable[[PodFacts], bool]) -> Mirror:
        """An empty mirror over the engine, which this intake fills from now on."""
        self._mirror = Mirror(recorded, Nodes(recorded), ours)
        return self._mirror

    def facts(self, key: str, pod: objects.Pod) -> PodFacts:
        """One version of a pod."""
        said, meta = self._reader.read(pod), pod.metadata
        task_class, lacks = self._extended.learn(key, said.task_class)
        if said.volumes.to_provision or said.volumes.to_bind or said.volumes.problems:
            self._with_claims.add(key)
        else:
            self._with_claims.discard(key)
        return PodFacts(
            namespace=meta.namespace or "default",
            name=meta.name,
            uid=meta.uid,
            scheduler=said.scheduler,
            task_class=task_class,
            node=said.node,
            phase=said.phase,
            deleting=said.terminating,
            gated=bool(said.gates),
            priority=said.priority,
            preempts=said.may_preempt,
            group=said.group,
            labels=said.labels,
            created_s=unix_s_or_zero(meta.creation_timestamp),
            gpus=said.gpus,
            nominated=pod.status.nominated_node_name,
            volumes=said.volumes,
            problem=said.problem or lacks,
        )

    def _node(self, item: objects.Node) -> Node:
        """The node; what makes no sense about it is told once and counts as nothing."""
        name = item.metadata.name
        node, problems = live_node(item, self._extended.known, self.storage.csi_nodes.get(name))
        if problems and name not in self._absurd:
            self._absurd.add(name)
            self._counters.unreadable += 1
            _log.warning("node_absurd", node=name, problems=problems[:5])
        elif not problems:
            self._absurd.discard(name)
        return node

    def _read_nodes_again(self) -> None:
        """Pods ask for resources now that nobody asked for before."""
        if self._mirror is not None:
            for key, item in self._watching.items("nodes").items():
                self._put_node(key, item)

    def _priorities(self) -> dict[str, int]:
        classes = self._watching.items("priorityclasses").values()
        return priorities(Fields.of(_plain(item)) for item in classes)

    # -- taking in ----------------------------------------------------------------------------

    def take_all(self) -> None:
        """Everything there is, once."""
        assert self._mirror is not None
        for key, item in self._watching.items("podgroups").items():
            self._put_group(key, item)
        pods = list(self._watching.items("pods").items())
        self._mirror.observe_all(self.facts(key, pod) for key, pod in pods)

    def take_pods_again(self) -> None:
        """Every pod anew: what is ours may have changed."""
        for key, pod in list(self._watching.items("pods").items()):
            self._observe(key, pod)

    def take(self, kind: str, changes: Sequence[Change[Any]]) -> bool:
        """Changes of a kind; whether there may be something to decide now."""
        if kind == "pods":
            for change in changes:
                self._take_pod(change)
            return True
        if kind == "nodes":
            changed = [self._take_node(change) for change in changes]
            return True in changed
        if kind == "podgroups":
            for change in changes:
                self._put_group(change.key, change.new)
        elif kind == "budgets":
            self._budgets = None
        elif kind == "priorityclasses":
            self._context.priorities = self._priorities()
        elif kind == "namespaces":
            for change in changes:
                self._take_namespace(change)
        elif kind in _STORAGE:
            self._take_storage(kind, changes)
        return True

    def _take_pod(self, change: Change[objects.Pod]) -> None:
        assert self._mirror is not None
        if change.new is None:
            assert change.old is not None
            self._with_claims.discard(change.key)
            self._extended.forget(change.key)
            self._mirror.forget(change.old.metadata.uid)
        else:
            self._observe(change.key, change.new)

    def _observe(self, key: str, pod: objects.Pod) -> None:
        assert self._mirror is not None
        try:
            self._mirror.observe(self.facts(key, pod))
        except (InputError, InvalidEvent) as problem:
            self._counters.unreadable += 1
            _log.error("pod_not_taken", pod=key, problem=str(problem))

    def _take_node(self, change: Change[objects.Node]) -> bool:
        old, new = change.old, change.new
        if new is None:
            self._remove_node(change.key)
            return True
        if old is not None and _same_node(old, new):
            return False  # a heartbeat
        again = self._extended.offered(new)
        for key in again:
            self._observe(key, self._watching.items("pods")[key])
        return self._put_node(change.key, new) or bool(again)

    def _put_node(self, key: str, item: objects.Node) -> bool:
        assert self._mirror is not None
        try:
            return self._mirror.observe_node(key, self._node(item))
        except (InputError, InvalidEvent) as problem:
            self._counters.unreadable += 1
            _log.error("node_not_taken", node=key, problem=str(problem))
            return False

    def _remove_node(self, key: str) -> None:
        assert self._mirror is not None
        self._mirror.observe_node(key, None)

    def _put_group(self, key: str, item: objects.PodGroup | None) -> None:
        assert self.gangs is not None
        name = key.removeprefix("default/")
        self.gangs.set_minimum(name, None if item is None else item.gang)

    def _take_namespace(self, change: Change[objects.Namespace]) -> None:
        """Selectors of namespaces look at their labels, which every pod carries along for us."""
        before = self._namespaces.get(change.key, ())
        now = () if change.new is None else _pairs(change.new)
        if change.new is None:
            self._namespaces.pop(change.key, None)
        else:
            self._namespaces[change.key] = now
        if before != now:
            for key, pod in list(self._watching.items("pods").items()):
                if pod.metadata.namespace == change.key:
                    self._observe(key, pod)

    def _take_storage(self, kind: str, changes: Sequence[Change[Any]]) -> None:
        """Pods whose volumes are not settled are read again; so are nodes with other limits."""
        pods = self._watching.items("pods")
        for key in sorted(self._with_claims):
            if key in pods:
                self._observe(key, pods[key])
        if kind == "csinodes":
            nodes = self._watching.items("nodes")
            for change in changes:
                if change.key in nodes:
                    self._put_node(change.key, nodes[change.key])

    # -- asking -------------------------------------------------------------------------------

    def budgets(self) -> Sequence[Budget]:
        """Disruption budgets as they are now."""
        if self._budgets is None:
            found = (_budget(item) for item in self._watching.items("budgets").values())
            self._budgets = [budget for budget in found if budget is not None]
        return self._budgets

    def node_labels(self, name: str) -> Mapping[str, str]:
        """Labels of a node."""
        item = self._watching.items("nodes").get(name)
        return (item.metadata.labels or {}) if item is not None else {}


def _budget(item: objects.PodDisruptionBudget) -> Budget | None:
    """None for a budget about no pod: one without a selector, or with one that makes no sense."""
    if item.spec.selector is None:
        return None
    try:
        requirements = read_selector(Fields.of(_plain(item.spec.selector)))
    except InputError:
        return None
    allowed = item.status.disruptions_allowed
    return Budget(item.metadata.namespace, tuple(requirements), allowed)


def _same_node(old: objects.Node, new: objects.Node) -> bool:
    """Whether nothing changed that we look at."""
    return (
        old.metadata.labels == new.metadata.labels
        and old.metadata.uid == new.metadata.uid
        and old.spec == new.spec
        and old.status.allocatable == new.status.allocatable
    )


def _plain(item: Any) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(item))


def _pairs(item: objects.Namespace) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((item.metadata.labels or {}).items()))
