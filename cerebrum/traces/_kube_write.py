"""Scenario -> Kubernetes objects in YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cerebrum.kube import names
from cerebrum.model.cluster import Node
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import TraceError
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task
from cerebrum.traces._files import write_text
from cerebrum.traces._power import node_power

Object = dict[str, Any]


def write(scenario: Scenario, path: Path) -> None:
    """Write nodes, pods and pod groups: one file, or three in a folder if `path` has no suffix."""
    _refuse_loss(scenario, path)
    nodes = [node_object(node) for node in scenario.cluster]
    pods = [pod_object(task, scenario) for task in scenario.tasks]
    groups = [_pod_group(job.name, job.gang) for job in scenario.tasks.jobs if job.gang]
    if path.suffix:
        write_text(path, _dump([*nodes, *groups, *pods]))
        return
    write_text(path / "nodes.yaml", _dump(nodes))
    write_text(path / "pods.yaml", _dump([*groups, *pods]))


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
    if not node.schedulable:
        spec["unschedulable"] = True
    return _without_empty(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": _without_empty({"name": node.name, "labels": labels}),
            "spec": spec,
            "status": {"allocatable": offered, "capacity": dict(offered)},
        }
    )


def pod_object(task: Task, scenario: Scenario) -> Object:
    """A v1 Pod whose one container asks for everything."""
    r, namespace, name = task.task_class.resources, *_split(task.name)
    metadata: Object = {"name": name, "annotations": _annotations(task)}
    if namespace:
        metadata["namespace"] = namespace
    gangs = {job.name for job in scenario.tasks.jobs if job.gang}
    if task.job in gangs:
        metadata["labels"] = {names.GROUP_LABELS[0]: _split(task.job)[1]}
    spec: Object = {
        "containers": [{"name": "main", "image": "main", "resources": {"requests": _requests(r)}}]
    }
    if task.priority:
        spec["priority"] = task.priority
    spec.update(_constraints(task.task_class.constraints))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _without_empty(metadata),
        "spec": spec,
    }


def _annotations(task: Task) -> dict[str, str]:
    r = task.task_class.resources
    notes = {names.CREATED: _number(task.submit_s)}
    if not math.isinf(task.duration_s):
        notes[names.DELETED] = _number(task.submit_s + task.duration_s)
    if r.gpu_count:
        notes[names.GPU_COUNT] = str(r.gpu_count)
        notes[names.GPU_MILLI] = str(r.gpu_milli)
    if task.task_class.gpu_models:
        notes[names.GPU_MODEL] = "|".join(task.task_class.gpu_models)
    return notes


def _requests(r: Resources) -> dict[str, str]:
    found = {"cpu": f"{r.cpu_milli}m", "memory": f"{r.memory_mib}Mi"}
    found |= {name: str(amount) for name, amount in r.extended}
    if r.cache_ways:
        found[names.CACHE_WAYS] = str(r.cache_ways)
    return found


def _constraints(constraints: Constraints) -> Object:
    required = [_term(term) for term in constraints.required]
    preferred = [
        {"weight": weight, "preference": _term(term)} for weight, term in constraints.preferred
    ]
    affinity: Object = {}
    if required:
        key = "requiredDuringSchedulingIgnoredDuringExecution"
        affinity[key] = {"nodeSelectorTerms": required}
    if preferred:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    return _without_empty(
        {
            "nodeSelector": dict(constraints.selector),
            "affinity": {"nodeAffinity": affinity} if affinity else {},
            "tolerations": [_toleration(toleration) for toleration in constraints.tolerations],
        }
    )


def _term(term: Term) -> Object:
    return _without_empty(
        {
            "matchExpressions": [_requirement(part) for part in term.labels],
            "matchFields": [_requirement(part) for part in term.fields],
        }
    )


def _requirement(part: Requirement) -> Object:
    return _without_empty({"key": part.key, "operator": part.operator, "values": list(part.values)})


def _toleration(part: Toleration) -> Object:
    return _without_empty(
        {"key": part.key, "operator": part.operator, "value": part.value, "effect": part.effect}
    )


def _pod_group(job: str, members: int) -> Object:
    namespace, name = _split(job)
    return {
        "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": _without_empty({"name": name, "namespace": namespace}),
        "spec": {"minMember": members},
    }


def _split(name: str) -> tuple[str, str]:
    namespace, slash, rest = name.rpartition("/")
    return (namespace, rest) if slash else ("", name)


def _without_empty(mapping: Object) -> Object:
    return {key: value for key, value in mapping.items() if value not in ("", {}, [], None)}


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
    if scenario.node_events:
        raise TraceError("Kubernetes objects cannot hold node events").at(path)
