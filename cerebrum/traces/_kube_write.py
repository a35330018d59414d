"""Scenario -> Kubernetes objects in YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cerebrum.kube import names
from cerebrum.kube.volumes import ONE_POD
from cerebrum.kube.writing import Object, placement_fields, port_fields, without_empty
from cerebrum.model.cluster import Node
from cerebrum.model.errors import TraceError
from cerebrum.model.events import gpu_indices
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task
from cerebrum.traces._files import write_text
from cerebrum.traces._power import node_power


def write(scenario: Scenario, path: Path) -> None:
    """Write nodes, pods and pod groups: one file, or three in a folder if `path` has no suffix."""
    _refuse_loss(scenario, path)
    nodes = [node_object(node) for node in scenario.cluster]
    pods = [pod_object(task, scenario) for task in scenario.tasks]
    around = [
        *_namespaces(scenario),
        *(_pod_group(job.name, job.gang) for job in scenario.tasks.jobs if job.gang),
        *_claims(scenario),
    ]
    if path.suffix:
        write_text(path, _dump([*nodes, *around, *pods]))
        return
    write_text(path / "nodes.yaml", _dump(nodes))
    write_text(path / "pods.yaml", _dump([*around, *pods]))


def node_object(node: Node) -> Object:
    """A v1 Node."""
    r = node.capacity
    offered: Object = {
        "cpu": f"{r.cpu_milli}m",
        "memory": f"{r.memory_mib}Mi",
        "pods": str(node.slots),
        **{name: str(amount) for name, amount in r.extended},
    }
    if r.gpu_count:
        offered[names.GPU_COUNT] = str(r.gpu_count)
        offered[names.GPU_MILLI] = str(r.gpu_count * r.gpu_milli)
    if r.cache_ways:
        offered[names.CACHE_WAYS] = str(r.cache_ways)
    labels = dict(node.labels)
    if node.gpu_model and not any(labels.get(key) for key in names.MODEL_LABELS):
        labels[names.GPU_MODEL] = node.gpu_model
    spec: Object = {}
    if node.taints:
        spec["taints"] = [
            {"key": taint.key, "value": taint.value, "effect": taint.effect}
            for taint in node.taints
        ]
    cordoned = any(taint.key == names.UNSCHEDULABLE for taint in node.taints)
    if cordoned or not node.schedulable:
        spec["unschedulable"] = True
    return without_empty(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": without_empty({"name": node.name, "labels": labels}),
            "spec": spec,
            "status": {"allocatable": offered, "capacity": dict(offered)},
        }
    )


def pod_object(task: Task, scenario: Scenario) -> Object:
    """A v1 Pod whose one container asks for everything."""
    task_class, (namespace, name) = task.task_class, _split(task.name)
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "labels": dict(task.labels.labels),
        "annotations": _annotations(task, scenario),
    }
    container: Object = {
        "name": "main",
        "image": "main",
        "resources": {"requests": _requests(task_class.resources)},
        "ports": port_fields(task_class.peers.ports),
    }
    spec: Object = {"containers": [without_empty(container)]}
    if task.priority:
        spec["priority"] = task.priority
    if task.name in scenario.bound:
        spec["nodeName"] = scenario.bound[task.name][0]
    if claims := task_class.peers.exclusive:
        spec["volumes"] = [
            {"name": f"v{i}", "persistentVolumeClaim": {"claimName": _split(claim)[1]}}
            for i, claim in enumerate(claims)
        ]
    spec.update(placement_fields(task_class.constraints, task_class.peers))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": without_empty(metadata),
        "spec": spec,
    }


def bound_pod_object(task: Task, scenario: Scenario, node: str, gpus: int) -> Object:
    """A v1 Pod that runs on `node` with the GPUs of the mask."""
    made = pod_object(task, scenario)
    made["spec"]["nodeName"] = node
    if gpus:
        notes = made["metadata"].setdefault("annotations", {})
        notes[names.GPU_INDEX] = "-".join(map(str, gpu_indices(gpus)))
    return made


def _namespaces(scenario: Scenario) -> list[Object]:
    """The namespaces that have labels."""
    found = {
        labels.namespace: dict(labels.namespace_labels)
        for labels in scenario.tasks.label_sets
        if labels.namespace_labels
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in found.items()
    ]


def _claims(scenario: Scenario) -> Iterator[Object]:
    """The claims only one pod may use, each with its volume, which is reached from everywhere."""
    claims = {name for task_class in scenario.tasks.classes for name in task_class.peers.exclusive}
    for claim in sorted(claims):
        namespace, name = _split(claim)
        volume = f"{namespace or 'default'}-{name}"
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": without_empty({"name": name, "namespace": namespace}),
            "spec": {"accessModes": [ONE_POD], "volumeName": volume},
            "status": {"phase": "Bound"},
        }
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {"accessModes": [ONE_POD]},
            "status": {"phase": "Bound"},
        }


def _annotations(task: Task, scenario: Scenario) -> dict[str, str]:
    r = task.task_class.resources
    notes = {names.CREATED: _number(task.submit_s)}
    if not math.isinf(task.duration_s):
        notes[names.DELETED] = _number(task.submit_s + task.duration_s)
    if r.gpu_count:
        notes[names.GPU_COUNT] = str(r.gpu_count)
        notes[names.GPU_MILLI] = str(r.gpu_milli)
    if task.task_class.gpu_models:
        notes[names.GPU_MODEL] = "|".join(task.task_class.gpu_models)
    if mask := scenario.bound.get(task.name, ("", 0))[1]:
        notes[names.GPU_INDEX] = "-".join(map(str, gpu_indices(mask)))
    labelled = any(key in names.GROUP_LABELS for key, _ in task.labels.labels)
    if not labelled and any(job.name == task.job and job.gang for job in scenario.tasks.jobs):
        notes[names.GROUP_LABELS[0]] = _split(task.job)[1]
    return notes


def _requests(r: Resources) -> dict[str, str]:
    found = {"cpu": f"{r.cpu_milli}m", "memory": f"{r.memory_mib}Mi"}
    found |= {name: str(amount) for name, amount in r.extended}
    if r.cache_ways:
        found[names.CACHE_WAYS] = str(r.cache_ways)
    return found


def _pod_group(job: str, members: int) -> Object:
    namespace, name = _split(job)
    return {
        "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": without_empty({"name": name, "namespace": namespace}),
        "spec": {"minMember": members},
    }


def _split(name: str) -> tuple[str, str]:
    namespace, slash, rest = name.rpartition("/")
    return (namespace, rest) if slash else ("", name)


def _dump(objects: list[Object]) -> str:
    return "---\n".join(_dumped(objects))


def _dumped(objects: list[Object]) -> Iterator[str]:
    for item in objects:
        yield yaml.dump(item, Dumper=_Dumper, sort_keys=True, width=1_000)


class _Dumper(yaml.CSafeDumper):
    """No aliases: what is written twice is spelled twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never refer back."""
        return True


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _refuse_loss(scenario: Scenario, path: Path) -> None:
    """`TraceError` naming the first node or task that holds something these objects cannot."""
    for node in scenario.cluster:
        if node.speed != 1:
            raise TraceError(f"a Node cannot hold a speed (node {node.name!r})").at(path)
        if node.power not in (None, node_power(node.gpu_model)):
            raise TraceError(f"a Node cannot hold a power model (node {node.name!r})").at(path)
    for task_class in scenario.tasks.classes:
        for claim in task_class.peers.exclusive:
            if claim.count("/") != 1:
                raise TraceError(f"expected a claim such as default/data, got {claim!r}").at(path)
    if scenario.node_events:
        raise TraceError("Kubernetes objects cannot hold node events").at(path)
