"""Kubernetes objects of files and folders, sorted by kind; workloads taken apart into pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._files import MAX_ROWS, Tally, files_in
from cerebrum.traces._yaml import Source

HIER = "-hier"
"""What the name of a copy ends in that has topology labels."""
SUFFIXES = (".yaml", ".yml", ".json")
_REPLICATED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_WORKLOADS = (*_REPLICATED, "Job", "CronJob", "DaemonSet")
_DROPPED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Template:
    """Pods that differ in their name only: `item` has their metadata, spec and status.

    `job` groups them; a DaemonSet's go to every node.
    """

    names: tuple[str, ...]
    item: Fields
    namespace: str
    job: str = ""
    every_node: bool = False

    @property
    def metadata(self) -> Fields:
        """The pod's metadata."""
        return self.item.child("metadata")

    @property
    def spec(self) -> Fields:
        """The pod's spec."""
        return self.item.child("spec")


@dataclass(slots=True)
class Objects:
    """What files hold: objects by kind."""

    nodes: list[Fields] = field(default_factory=list[Fields])
    pods: list[Fields] = field(default_factory=list[Fields])
    workloads: list[tuple[str, Fields]] = field(default_factory=list[tuple[str, Fields]])
    priority_classes: list[Fields] = field(default_factory=list[Fields])
    pod_groups: list[Fields] = field(default_factory=list[Fields])
    namespaces: list[Fields] = field(default_factory=list[Fields])
    claims: list[Fields] = field(default_factory=list[Fields])
    volumes: list[Fields] = field(default_factory=list[Fields])
    storage_classes: list[Fields] = field(default_factory=list[Fields])
    csi_nodes: list[Fields] = field(default_factory=list[Fields])
    others: Counter[str] = field(default_factory=Counter[str])

    def add(self, item: Fields, kind: str = "") -> None:
        """Sort in one object, or every item of a list of objects."""
        kind = item.text("kind", kind or None)
        if kind.endswith("List") and "items" in item:
            for child in item.children("items"):
                self.add(child, kind.removesuffix("List"))
        elif kind in _WORKLOADS:
            self.workloads.append((kind, item))
        elif kind in (known := self._lists()):
            known[kind].append(item)
        elif not kind.endswith("List"):
            self.others[kind] += 1

    def _lists(self) -> Mapping[str, list[Fields]]:
        return {
            "Node": self.nodes,
            "Pod": self.pods,
            "PriorityClass": self.priority_classes,
            "PodGroup": self.pod_groups,
            "Namespace": self.namespaces,
            "PersistentVolumeClaim": self.claims,
            "PersistentVolume": self.volumes,
            "StorageClass": self.storage_classes,
            "CSINode": self.csi_nodes,
        }


def load(path: Path) -> Objects:
    """The objects of a file, or of every YAML and JSON file under a folder.

    A copy labelled by `add_topology` stands for its original.
    """
    objects = Objects()
    files = files_in(path, SUFFIXES) if path.is_dir() else [path]
    replaced = {file.with_name(file.name.replace(HIER, "")) for file in files if HIER in file.name}
    for file in files:
        if file in replaced:
            continue
        for item in documents(Source(file)):
            objects.add(item)
    return objects


def namespace_of(item: Fields) -> str:
    """The namespace of an object."""
    return item.child("metadata").text("namespace", "default")


def full_name(metadata: Fields) -> str:
    """`namespace/name`; the namespace `default` is left out."""
    name, namespace = metadata.text("name"), metadata.text("namespace", "default")
    return name if namespace == "default" else f"{namespace}/{name}"


def templates(objects: Objects, tally: Tally) -> Iterator[Template]:
    """Every pod there is or that a workload would create; what is left out is counted.

    A workload whose pods or own workloads are among the objects is not taken apart again.
    """
    present = {owner for item in objects.pods for owner in _owners(item)}
    present |= {owner for _, item in objects.workloads for owner in _owners(item)}
    for item in objects.pods:
        tally.read += 1
        if reason := _left_out(item):
            tally.drop(reason)
            continue
        metadata = item.child("metadata")
        owner = next(iter(_owners(item)), None)
        job = "/".join(owner[1:]) if owner else ""
        yield Template((full_name(metadata),), item, namespace_of(item), job)
    for kind, item in objects.workloads:
        if _identity(kind, item) not in present:
            yield from _expand(kind, item, tally)


def _left_out(item: Fields) -> str:
    """Why a pod is not to be scheduled, or ''."""
    spec = item.child("spec")
    if item.child("status").text("phase", "") in _DROPPED_PHASES:
        return "finished pods"
    if "deletionTimestamp" in item.child("metadata") and "nodeName" not in spec:
        return "pods being deleted"
    if any(True for _ in spec.children("schedulingGates")):
        return "pods with scheduling gates"
    if any(True for _ in spec.children("resourceClaims")):
        return "pods with resource claims, which are not supported"
    return ""


def _expand(kind: str, item: Fields, tally: Tally) -> Iterator[Template]:
    """The pods a workload creates; a CronJob runs once."""
    spec = item.child("spec")
    if kind == "CronJob":
        spec = spec.at("jobTemplate", "spec")
        kind = "Job"
        tally.note("CronJobs run once")
    template = spec.child("template")
    if not template.data:
        raise item.error("expected a pod template", "spec", "template")
    job = full_name(item.child("metadata"))
    count = _replicas(kind, spec, tally)
    tally.read += count
    reason = "pods of suspended jobs" if spec.flag("suspend") else _left_out(template)
    if reason:
        tally.drop(reason, count)
        return
    daemon = kind == "DaemonSet"
    yield Template(
        names=(job,) if daemon else tuple(f"{job}-{i}" for i in range(count)),
        item=template,
        namespace=namespace_of(item),
        job=job,
        every_node=daemon,
    )


def _replicas(kind: str, spec: Fields, tally: Tally) -> int:
    if kind == "DaemonSet":
        return 0
    if kind != "Job":
        return spec.integer("replicas", 1, high=MAX_ROWS)
    parallelism = spec.integer("parallelism", 1, high=MAX_ROWS)
    completions = spec.integer("completions", parallelism, high=MAX_ROWS)
    if parallelism < completions:
        tally.note("the pods of a Job are all submitted at once, whatever its parallelism")
    return completions


def _identity(kind: str, item: Fields) -> tuple[str, str, str]:
    metadata = item.child("metadata")
    return kind, metadata.text("namespace", "default"), metadata.text("name")


def _owners(item: Fields) -> list[tuple[str, str, str]]:
    """The controller of an object: kind, namespace, name."""
    metadata = item.child("metadata")
    namespace = metadata.text("namespace", "default")
    return [
        (owner.text("kind"), namespace, owner.text("name"))
        for owner in metadata.children("ownerReferences")
        if owner.flag("controller")
    ]
