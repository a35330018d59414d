"""Kubernetes pods: priority, pod group, GPUs that are given already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cerebrum.kube import names
from cerebrum.kube.fields import Fields
from cerebrum.model.cluster import Node
from cerebrum.model.errors import nearest

_SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def priorities(classes: Iterable[Fields]) -> dict[str, int]:
    """PriorityClass name -> value, the built-in ones included; '' is the global default."""
    found = dict(_SYSTEM_CLASSES)
    for item in classes:
        value = item.integer("value", 0, low=-(2**31))
        found[item.child("metadata").text("name")] = value
        if item.flag("globalDefault"):
            found[""] = value
    return found


def read_priority(spec: Fields, classes: Mapping[str, int]) -> int:
    """The pod's priority: its own number, else that of its class. Unknown classes are refused."""
    name = spec.text("priorityClassName", "")
    if "priority" in spec:
        return spec.integer("priority", 0, low=-(2**31))
    if not name:
        return classes.get("", 0)
    if name not in classes:
        near = nearest(name, filter(None, classes))
        hint = f", did you mean {near!r}?" if near else ""
        raise spec.error(f"no PriorityClass {name!r} in these files{hint}", "priorityClassName")
    return classes[name]


def group_name(metadata: Fields) -> str:
    """The pod group a pod belongs to, as `namespace/name` (`default` is left out), or ''."""
    for mapping in (metadata.labels("labels"), metadata.labels("annotations")):
        for key in names.GROUP_LABELS:
            if group := mapping.get(key):
                namespace = metadata.text("namespace", "default")
                return group if namespace == "default" else f"{namespace}/{group}"
    return ""


def read_gpu_indices(metadata: Fields, gpus: int, node: Node) -> tuple[int, ...]:
    """The GPUs `0-1-2` a bound pod has: distinct, on the node, as many as it asks for; () unsaid.

    Raises the field's error otherwise.
    """
    notes = metadata.child("annotations")
    text = metadata.labels("annotations").get(names.GPU_INDEX, "")
    if not text:
        return ()
    parts = text.split("-")
    limit = node.capacity.gpu_count
    if not all(part.isdecimal() and part.isascii() and len(part) < 4 for part in parts):
        raise notes.error(f"expected GPU indices such as 0-1-2, got {text!r}", names.GPU_INDEX)
    if any(int(part) >= limit for part in parts):
        raise notes.error(
            f"expected indices 0..{limit - 1}, node {node.name!r} has {limit} GPUs, got {text!r}",
            names.GPU_INDEX,
        )
    if len(set(parts)) != len(parts) or len(parts) != gpus:
        raise notes.error(f"expected {gpus} distinct indices, got {text!r}", names.GPU_INDEX)
    return tuple(int(part) for part in parts)
