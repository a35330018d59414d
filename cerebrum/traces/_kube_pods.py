"""Kubernetes pods -> tasks: class, priority, gang, times, and where a bound pod already is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cerebrum.kube import names
from cerebrum.kube.constraints import read_constraints
from cerebrum.kube.pods import group_name, read_gpu_indices, read_priority
from cerebrum.kube.requests import pod_resources
from cerebrum.model.cluster import Node
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError, TraceError, nearest
from cerebrum.model.resources import MAX_EXTENDED
from cerebrum.model.tasks import TaskClass
from cerebrum.traces._fields import Fields
from cerebrum.traces._files import Tally
from cerebrum.traces._kube_objects import Template

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
    priority: int
    group: str
    created_s: float
    deleted_s: float
    node: str


@dataclass(slots=True)
class PodReader:
    """Reads templates; remembers what is not supported, to be said once with a count."""

    priorities: Mapping[str, int]
    tally: Tally
    unsupported: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    clocks: set[str] = field(default_factory=set[str])

    def read(self, template: Template) -> Pods:
        """The template's class and times; errors name the field."""
        metadata, spec = template.metadata, template.spec
        self._look_for_unsupported(template)
        models = tuple(
            filter(None, metadata.labels("annotations").get(names.GPU_MODEL, "").split("|"))
        )
        resources = pod_resources(metadata, spec, template.status)
        constraints = read_constraints(spec)
        if template.every_node:
            tolerations = constraints.tolerations + _DAEMON_TOLERATIONS
            constraints = replace(constraints, tolerations=tolerations)
        created, deleted = self._times(metadata)
        return Pods(
            template=template,
            task_class=TaskClass(resources, models if resources.gpu_count else (), constraints),
            priority=read_priority(spec, self.priorities),
            group=group_name(metadata),
            created_s=created,
            deleted_s=deleted,
            node=spec.text("nodeName", ""),
        )

    def finish(self) -> None:
        """Put what was met but is not supported into the report."""
        for what, tasks in self.unsupported.items():
            self.tally.note(
                f"{what} is not supported: ignored for {len(tasks):,}, first {tasks[0]!r}"
            )

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

    def _look_for_unsupported(self, template: Template) -> None:
        spec, affinity = template.spec, template.spec.child("affinity")
        found = {
            "inter-pod affinity": "podAffinity" in affinity or "podAntiAffinity" in affinity,
            "topology spread": "topologySpreadConstraints" in spec,
            "a persistent volume": any(
                "persistentVolumeClaim" in volume or "ephemeral" in volume
                for volume in spec.children("volumes")
            ),
            "a host port": any(
                "hostPort" in port
                for container in spec.children("containers")
                for port in container.children("ports")
            ),
            "gpu-index of a pod that is not bound": "nodeName" not in spec
            and names.GPU_INDEX in template.metadata.child("annotations"),
        }
        for what, here in found.items():
            if here:
                self.unsupported.setdefault(what, []).extend(template.names)


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


def bind(pod: Pods, nodes: Mapping[str, Node]) -> Pods:
    """The pod held to the node it is bound to; refused if that node cannot have taken it."""
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
    read_gpu_indices(pod.template.metadata, gpus, node)
    held = hold_to(pod.task_class.constraints, node.name, _EVERYTHING)
    return replace(
        pod, task_class=replace(pod.task_class, constraints=held), priority=BOUND_PRIORITY
    )


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
