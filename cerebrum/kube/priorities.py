"""PriorityClass objects, and the priority of a pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cerebrum.kube.fields import Fields
from cerebrum.model.errors import nearest

_SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_LOWEST = -(2**31)


def priorities(classes: Iterable[Fields]) -> dict[str, int]:
    """PriorityClass name -> value, the built-in ones included; '' is the global default."""
    found = dict(_SYSTEM_CLASSES)
    for item in classes:
        value = item.integer("value", 0, low=_LOWEST)
        found[item.child("metadata").text("name")] = value
        if item.flag("globalDefault"):
            found[""] = value
    return found


def read_priority(spec: Fields, classes: Mapping[str, int]) -> int:
    """The pod's priority: its own number, else that of its class. Unknown classes are refused."""
    name = spec.text("priorityClassName", "")
    if "priority" in spec:
        return spec.integer("priority", 0, low=_LOWEST)
    if not name:
        return classes.get("", 0)
    if name not in classes:
        near = nearest(name, filter(None, classes))
        hint = f", did you mean {near!r}?" if near else ""
        raise spec.error(f"no PriorityClass {name!r} in these files{hint}", "priorityClassName")
    return classes[name]
