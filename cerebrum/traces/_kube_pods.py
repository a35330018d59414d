"""Kubernetes pods -> tasks: class, priority, gang, times, and where a bound pod already is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from cerebrum.kube import names
from cerebrum.kube.gpus import read_gpu_indices
from cerebrum.kube.objects import (
    CSINode,
    Object,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    convert,
)
from cerebrum.kube.pods import PodContext, PodDemands, read_pod
from cerebrum.kube.priorities import priorities
from cerebrum.kube.volumes import Storage
from cerebrum.model.cluster import Node
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError, TraceError, nearest
from cerebrum.model.events import gpu_mask
from cerebrum.model.peers import TaskLabels
from cerebrum.model.resources import MAX_EXTENDED
from cerebrum.model.tasks import TaskClass
from cerebrum.traces._fields import Fields
from cerebrum.traces._files import Tally
from cerebrum.traces._kube_objects import Objects, Template

_Object = TypeVar("_Object", bound=Object)

BOUND_PRIORITY = 2**31 - 1
"""Pods that are bound already go first, whatever their own priority."""
_EVERYTHING = (Toleration(operator="Exists"),)
_DAEMON_TOLERATIONS = tuple(
    Toleration(f"node.kubernetes.io/{key}", "Exists", "", effect)
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)


@dataclass(frozen=True, slots=True)
class Pods:
    """A template with what it means to us. `node` is where its one pod is bound already."""

    template: Template
    task_class: TaskClass
    labels: TaskLabels
    priority: int
    group: str
    created_s: float
    deleted_s: float
    node: str


@dataclass(slots=True)
class TemplateReader:
    """Reads templates; remembers what was assumed, to be said once with a count."""

    context: PodContext
    tally: Tally
    noted: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    clocks: set[str] = field(default_factory=set[str])

    def read(self, template: Template) -> Pods:
        """The template's class and times; errors name the field."""
        metadata, spec = template.metadata, template.spec
        demands = read_pod(template.item, self.context, template.namespace)
        task_class = self._settled(template, demands)
        if template.every_node:
            constraints = task_class.constraints
            tolerations = constraints.tolerations + _DAEMON_TOLERATIONS
            constraints = replace(constraints, tolerations=tolerations)
            task_class = replace(task_class, constraints=constraints)
        if not demands.node and names.GPU_INDEX in metadata.child("annotations"):
            self._note("gpu-index of a pod that is not bound is ignored", template)
        created, deleted = self._times(metadata)
        return Pods(
            template=template,
            task_class=task_class,
            labels=demands.labels,
            priority=demands.priority,
            group=demands.group,
            created_s=created,
            deleted_s=deleted,
            node=spec.text("nodeName", ""),
        )

    def finish(self) -> None:
        """Put what was assumed into the report."""
        for what, tasks in self.noted.items():
            self.tally.note(f"{what}: {len(tasks):,}, first {tasks[0]!r}")

    def _settled(self, template: Template, demands: PodDemands) -> TaskClass:
        """The class; pods that would wait for a volume for ever match no node, as in a cluster."""
        volumes = demands.volumes
        if volumes.missing:
            self._note("claims of pods that are not in these files are ignored", template)
        waiting = volumes.unusable
        if not waiting or demands.node:
            return demands.task_class
        self._note(f"no node is good for pods that wait ({waiting[0]})", template)
        constraints = replace(demands.task_class.constraints, required=(Term(),))
        return replace(demands.task_class, constraints=constraints)

    def _note(self, what: str, template: Template) -> None:
        self.noted.setdefault(what, []).extend(template.names)

    def _times(self, metadata: Fields) -> tuple[float, float]:
        notes = metadata.child("annotations")
        created = notes.parse(names.CREATED, self._seconds, math.nan)
        deleted = notes.parse(names.DELETED, self._seconds, math.inf)
        if deleted < created:
            raise notes.error(f"expected at least the creation time {created:g}", names.DELETED)
        if len(self.clocks) > 1:
            raise notes.error("expected all times as seconds or all as dates", names.CREATED)
        return created, deleted

    def _seconds(self, value: str | int | float) -> float:
        text = str(value)
        try:
            seconds = float(text)
            self.clocks.add("seconds")
        except ValueError:
            seconds = _unix_time(text)
            self.clocks.add("date")
        if not 0 <= seconds < 2**53:
            raise InputError(f"expected seconds of at least 0, got {text!r}")
        return seconds


def context_of(objects: Objects) -> PodContext:
    """What the pods of these objects refer to."""
    storage = Storage()
    for item in objects.claims:
        claim = _converted(item, PersistentVolumeClaim)
        storage.claims[f"{claim.metadata.namespace or 'default'}/{claim.metadata.name}"] = claim
    for items, known, kind in (
        (objects.volumes, storage.volumes, PersistentVolume),
        (objects.storage_classes, storage.classes, StorageClass),
        (objects.csi_nodes, storage.csi_nodes, CSINode),
    ):
        for item in items:
            found: Any = _converted(item, kind)
            known[found.metadata.name] = found
    namespaces = [item.child("metadata") for item in objects.namespaces]
    return PodContext(
        priorities=priorities(objects.priority_classes),
        namespaces={
            metadata.text("name"): tuple(sorted(metadata.labels("labels").items()))
            for metadata in namespaces
        },
        storage=storage,
    )


def _converted(item: Fields, kind: type[_Object]) -> _Object:
    item.child("metadata").text("name")
    return item.checked(lambda: convert(item.data, kind))


def extended_names(pods: Sequence[Pods]) -> frozenset[str]:
    """Extended resources that tasks ask for, which must not be too many."""
    found: set[str] = set()
    for pod in pods:
        found |= {name for name, _ in pod.task_class.resources.extended}
        if len(found) > MAX_EXTENDED:
            raise pod.template.spec.error(
                f"expected at most {MAX_EXTENDED} extended resources in all, got "
                + ", ".join(sorted(found)),
                "containers",
            )
    return frozenset(found)


def bind(pod: Pods, nodes: Mapping[str, Node]) -> tuple[Pods, int]:
    """The pod held to the node it is bound to, and the mask of its GPUs there (0: not said).

    Refused if that node cannot have taken it.
    """
    spec, node = pod.template.spec, nodes.get(pod.node)
    if node is None:
        near = nearest(pod.node, nodes)
        hint = f", did you mean {near!r}?" if near else ""
        raise spec.error(f"no node {pod.node!r} in these files{hint}", "nodeName")
    gpus = pod.task_class.resources.gpu_count
    if gpus > node.capacity.gpu_count:
        raise spec.error(
            f"node {node.name!r} has {node.capacity.gpu_count} GPUs, the pod asks for {gpus}",
            "nodeName",
        )
    given = gpu_mask(read_gpu_indices(pod.template.metadata, gpus, node))
    held = hold_to(pod.task_class.constraints, node.name, _EVERYTHING)
    held_class = replace(pod.task_class, constraints=held)
    return replace(pod, task_class=held_class, priority=BOUND_PRIORITY), given


def hold_to(
    constraints: Constraints, node: str, tolerations: tuple[Toleration, ...]
) -> Constraints:
    """The constraints with one node left."""
    term = Term(fields=(Requirement("metadata.name", "In", (node,)),))
    return replace(constraints, selector=(), required=(term,), tolerations=tolerations)


def on_every_node(pod: Pods, nodes: Sequence[Node]) -> list[tuple[str, TaskClass]]:
    """A DaemonSet's pods: name and class for each node its constraints admit."""
    constraints = pod.task_class.constraints
    return [
        (
            f"{pod.template.names[0]}-{node.name}",
            replace(
                pod.task_class,
                constraints=hold_to(constraints, node.name, constraints.tolerations),
            ),
        )
        for node in nodes
        if constraints.selects(node.name, node.labels)
        and constraints.untolerated(node.taints) is None
    ]


def _unix_time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TraceError(
            f"expected seconds or a date such as 2026-01-31T12:00:00Z, got {text!r}"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
