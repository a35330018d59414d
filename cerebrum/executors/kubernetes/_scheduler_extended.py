"""Which extended resources the engine hears of: those that some node offers.

The engine tells a few of them apart at a time. Whoever may make pods may ask for any name, so a
name that no node offers gets no place there: its pods wait aside and are read again when it is
offered. What a bound pod has of it takes nothing from anybody meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cerebrum.kube import names, objects
from cerebrum.kube.pods import too_many_extended
from cerebrum.model.tasks import TaskClass


@dataclass(slots=True)
class ExtendedResources:
    """`nodes` is the live copy of them; `on_new` is called when they have to be read again, with
    a further one of `known`."""

    nodes: Mapping[str, objects.Node]
    on_new: Callable[[], None]
    known: set[str] = field(default_factory=set[str])
    _absent: set[str] = field(default_factory=set[str])
    _waiting: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def learn(self, key: str, task_class: TaskClass) -> tuple[TaskClass, str]:
        """The class of the pod `key` as the engine may see it, and what keeps it waiting ('')."""
        asked = task_class.resources.extended
        absent = frozenset(name for name, _ in asked if not self._is_offered(name))
        if not absent:
            self.forget(key)
            return task_class, self._know([name for name, _ in asked])
        self._waiting[key] = absent
        rest = tuple(pair for pair in asked if pair[0] not in absent)
        seen = replace(task_class, resources=replace(task_class.resources, extended=rest))
        count = len(self.nodes)
        missing = "".join(f", {count} Insufficient {name}" for name in sorted(absent))
        problem = f"0/{count} nodes are available: {missing[2:]}."
        return seen, self._know([name for name, _ in rest]) or problem

    def forget(self, key: str) -> None:
        """The pod is gone; what only it asked for is not remembered."""
        gone = self._waiting.pop(key, None)
        if gone:
            self._absent -= gone.difference(*self._waiting.values())

    def offered(self, node: objects.Node) -> list[str]:
        """A node is new or changed: keys of pods that asked for what it offers, which nobody did
        before."""
        now = {name for name in self._absent if _has(node, name)}
        if not now:
            return []
        self._absent -= now
        return sorted(key for key, absent in self._waiting.items() if absent & now)

    def _is_offered(self, name: str) -> bool:
        if name in self.known or name.startswith(names.ATTACHABLE):
            return True  # how many volumes a node attaches, its CSINode says
        if name in self._absent:
            return False
        found = any(_has(node, name) for node in self.nodes.values())
        if not found:
            self._absent.add(name)
        return found

    def _know(self, asked: list[str]) -> str:
        new = [name for name in asked if name not in self.known]
        if not new:
            return ""
        problem = too_many_extended(new, self.known)
        if not problem:
            self.known |= set(new)
            self.on_new()
        return problem


def _has(node: objects.Node, name: str) -> bool:
    return str((node.status.allocatable or {}).get(name) or "0") != "0"
