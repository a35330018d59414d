"""Kubernetes: nodes and pods from YAML or JSON, as `kubectl get -o yaml` prints or people write.

Workloads are taken apart into the pods they create (a CronJob once, a DaemonSet on the nodes it
matches). Requests are Kubernetes' effective ones; node selector, node affinity, taints and
tolerations, inter-pod affinity, topology spread, host ports, claims of volumes, priorities and pod
groups are kept; so are GPU shares in the annotations of hkust-adsl/kubernetes-scheduler-simulator.
A pod that is bound already runs on its node from the start. What has no counterpart here is in the
report's notes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from cerebrum.kube import names
from cerebrum.kube.fields import Fields
from cerebrum.kube.nodes import read_node
from cerebrum.kube.pods import PodContext
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import TraceError, UnknownName
from cerebrum.model.peers import UNLABELLED, TaskLabels
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Job, TaskClass, TaskTable
from cerebrum.traces import inflate
from cerebrum.traces._files import MAX_FILES, MAX_ROWS, Tally
from cerebrum.traces._kube_objects import SUFFIXES, Objects, full_name, load, templates
from cerebrum.traces._kube_pods import (
    Pods,
    TemplateReader,
    bind,
    context_of,
    extended_names,
    on_every_node,
)
from cerebrum.traces._kube_write import bound_pod_object, node_object, pod_object, write
from cerebrum.traces._power import node_power

__all__ = [
    "DESCRIPTION",
    "EXTENSIONS",
    "assemble",
    "bound_pod_object",
    "node_object",
    "of_objects",
    "pod_object",
    "read",
    "sniff",
    "write",
]

DESCRIPTION = "Kubernetes objects: YAML or JSON files, or a folder of them"
EXTENSIONS = SUFFIXES
Bound = dict[str, tuple[str, int]]


def sniff(path: Path, head: bytes) -> bool:
    """Whether the folder holds YAML or JSON, or the file looks like Kubernetes objects."""
    if path.is_dir():
        return any(file.suffix in SUFFIXES for file in islice(path.rglob("*"), MAX_FILES))
    return b"apiVersion" in head and b"kind" in head


def read(
    path: Path,
    arrivals: Literal["trace", "fgd", "uniform"] = "trace",
    seed: int = 42,
    ratio: float = inflate.RATIO,
    bindings: Literal["keep", "forget"] = "keep",
) -> Scenario:
    """Nodes and pods of a file or folder. Times come from the annotations `creation-time` and
    `deletion-time` (seconds, or dates); without them all pods are there at 0 and never end.

    `bindings`: `forget` to place bound pods anew, by priority and then in the order of the files:
    what a policy would have made of the cluster. `arrivals`, `seed` and `ratio` as in `inflate`.
    """
    if bindings not in ("keep", "forget"):
        raise UnknownName("bindings", bindings, ("keep", "forget"))
    objects = load(path)
    if bindings == "forget":
        for item in objects.pods:
            _forget_binding(item)
    return inflate.apply(assemble(objects, path), arrivals, seed, ratio)


def _forget_binding(pod: Fields) -> None:
    """The pod as it was before anybody placed it."""
    spec, notes = pod.child("spec"), pod.child("metadata").child("annotations")
    spec.data.pop("nodeName", None)
    notes.data.pop(names.GPU_INDEX, None)


def of_objects(nodes: Iterable[Fields], pods: Iterable[Fields], source: str) -> Scenario:
    """The scenario that nodes and pods from somewhere else describe; `source` is for messages."""
    objects = Objects()
    for kind, items in (("Node", nodes), ("Pod", pods)):
        for item in items:
            if (found := item.text("kind", kind)) != kind:
                raise item.error(f"expected {kind}, got {found!r}", "kind")
            objects.add(item, kind)
    return assemble(objects, Path(source))


def assemble(objects: Objects, path: Path) -> Scenario:
    """The scenario objects describe; `path` is for messages."""
    tally = Tally()
    context = context_of(objects)
    reader = TemplateReader(context, tally)
    pods = [reader.read(template) for template in templates(objects, tally)]
    reader.finish()
    nodes = _nodes(objects, extended_names(pods), context)
    if not nodes:
        raise TraceError("expected at least one Node object, found none").at(path)
    for kind, count in sorted(objects.others.items()):
        tally.note(f"{kind} objects are left out: {count:,}")
    tasks, start, bound = _tasks(objects, pods, nodes, tally)
    return Scenario(
        cluster=Cluster(tuple(nodes), name=path.name.split(".")[0] or "cluster"),
        tasks=tasks,
        name=path.name.split(".")[0] or "kubernetes",
        source=str(path),
        report=tally.report(path, "pods"),
        start_unix_s=start,
        bound=bound,
    )


def _nodes(objects: Objects, extended: frozenset[str], context: PodContext) -> list[Node]:
    seen: dict[str, Node] = {}
    for item in objects.nodes:
        csi = context.storage.csi_nodes.get(item.child("metadata").text("name"))
        node = read_node(item, extended, csi)
        node = replace(node, power=node_power(node.gpu_model))
        if node.name in seen:
            raise item.error(f"node {node.name!r} is named twice", "metadata", "name")
        seen[node.name] = node
    return list(seen.values())


def _tasks(
    objects: Objects, pods: Sequence[Pods], nodes: Sequence[Node], tally: Tally
) -> tuple[TaskTable, float | None, Bound]:
    bound: Bound = {}
    by_name = {node.name: node for node in nodes}
    table = _Columns()
    for pod in pods:
        if pod.template.every_node:
            placed = on_every_node(pod, nodes)
            tally.read += len(placed)
            for name, task_class in placed:
                table.add(pod, (name,), task_class)
        elif pod.node:
            tally.note("bound pods are held to their nodes and placed first")
            held, gpus = bind(pod, by_name)
            bound[pod.template.names[0]] = pod.node, gpus
            table.add(held, pod.template.names, held.task_class)
        else:
            table.add(pod, pod.template.names, pod.task_class)
    return *table.build(_gangs(objects, table, tally)), bound


class _Columns:
    """Collects tasks column by column."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.classes: dict[TaskClass, int] = {}
        self.jobs: dict[str, int] = {}
        self.groups: Counter[str] = Counter()
        self.label_sets: dict[TaskLabels, int] = {UNLABELLED: 0}
        self.class_id: list[int] = []
        self.labels_id: list[int] = []
        self.job_id: list[int] = []
        self.priority: list[int] = []
        self.created: list[float] = []
        self.deleted: list[float] = []

    def add(self, pod: Pods, names: Sequence[str], task_class: TaskClass) -> None:
        """Tasks of one class, called `names`."""
        for name in names:
            if name in self.names:
                raise pod.template.metadata.error(f"pod {name!r} is named twice", "name")
            self.names[name] = None
        if len(self.names) > MAX_ROWS:
            raise pod.template.spec.error(f"expected at most {MAX_ROWS:,} pods in all")
        job = pod.group or pod.template.job
        job_id = self.jobs.setdefault(job, len(self.jobs)) if job else -1
        if pod.group:
            self.groups[pod.group] += len(names)
        count = len(names)
        self.class_id += [self.classes.setdefault(task_class, len(self.classes))] * count
        labels_id = self.label_sets.setdefault(pod.labels, len(self.label_sets))
        self.labels_id += [labels_id] * count
        self.job_id += [job_id] * count
        self.priority += [pod.priority] * count
        self.created += [pod.created_s] * count
        self.deleted += [pod.deleted_s] * count

    def build(self, gangs: dict[str, int]) -> tuple[TaskTable, float | None]:
        """The table and the Unix time of its second 0, if its times are dates."""
        created, deleted = np.array(self.created), np.array(self.deleted)
        known = created[~np.isnan(created)]
        start = float(known.min()) if len(known) and known.min() > _DATES_FROM_S else None
        created = np.where(np.isnan(created), start or 0.0, created)
        table = TaskTable.build(
            names=list(self.names),
            classes=list(self.classes),
            class_id=self.class_id,
            submit_s=created - (start or 0.0),
            duration_s=np.where(np.isinf(deleted), math.inf, deleted - created),
            priority=self.priority,
            job_id=self.job_id,
            jobs=[Job(name, gangs.get(name, 0)) for name in self.jobs],
            labels_id=self.labels_id,
            label_sets=list(self.label_sets),
        )
        return table, start


_DATES_FROM_S = 1e9
"""Seconds above this are Unix times (2001 on); traces count from their own start."""


def _gangs(objects: Objects, table: _Columns, tally: Tally) -> dict[str, int]:
    """Pod group -> how many of its pods start together."""
    least = {
        full_name(item.child("metadata")): _least(item.child("spec")) for item in objects.pod_groups
    }
    for group, members in table.groups.items():
        if group not in least:
            tally.note(f"no PodGroup {group!r} in these files: all its pods start together")
        elif least[group] > members:
            tally.note(f"PodGroup {group!r} needs {least[group]} pods, only {members} are here")
    return {group: least.get(group, members) for group, members in table.groups.items()}


def _least(spec: Fields) -> int:
    """How many pods of a group start together, as plugins or Kubernetes itself (1.36) say it."""
    native = spec.child("schedulingPolicy")
    if not native.data:
        return spec.integer("minMember", 1, low=1)
    return native.child("gang").integer("minCount", 1, low=1) if "gang" in native else 0
