"""Pod groups (`scheduling.x-k8s.io/v1alpha1`): nothing of a group starts before enough of it can.

Members wait aside until as many are there as the group needs; those go to the engine as one gang,
which is decided together or not at all. Further members follow one by one once it is. A member
whose bind fails for good is tried again by itself: what runs of its group goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cerebrum.executors.kubernetes.mirror import Held, Mirror, Phase

_MAX_GANG = 10_000


@dataclass(slots=True)
class _Group:
    """`minimum` members that start together, None while there is no such PodGroup."""

    minimum: int | None = None
    aside: dict[str, Held] = field(default_factory=dict[str, Held])
    asked: dict[str, Held] = field(default_factory=dict[str, Held])
    placed: set[str] = field(default_factory=set[str])

    @property
    def empty(self) -> bool:
        return not (self.aside or self.asked or self.placed) and self.minimum is None


class Gangs:
    """The groups of one mirror. `tell` hears why members wait that the engine does not see."""

    def __init__(self, mirror: Mirror, tell: Callable[[Held, str], None]) -> None:
        self._mirror = mirror
        self._tell = tell
        self._groups: dict[str, _Group] = {}

    def set_minimum(self, name: str, minimum: int | None) -> None:
        """A PodGroup came, changed or went (None)."""
        group = self._group(name)
        group.minimum = None if minimum is None else max(1, min(minimum, _MAX_GANG))
        self._dissolve(group)
        self._form(name, group)

    def add(self, held: Held) -> None:
        """A member waits."""
        group = self._group(held.pod.group)
        group.aside[held.pod.uid] = held
        self._form(held.pod.group, group)

    def decided(self, held: Held) -> None:
        """A member has a node."""
        name = held.pod.group
        group = self._group(name)
        group.aside.pop(held.pod.uid, None)
        group.asked.pop(held.pod.uid, None)
        group.placed.add(held.pod.uid)
        if not group.asked:
            self._form(name, group)

    def gone(self, held: Held) -> None:
        """A member ended, was deleted, or is not ours any more."""
        name, uid = held.pod.group, held.pod.uid
        group = self._group(name)
        group.placed.discard(uid)
        group.aside.pop(uid, None)
        if group.asked.pop(uid, None) is not None:
            self._dissolve(group)
            self._form(name, group)
        if group.empty:
            del self._groups[name]

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())

    def _dissolve(self, group: _Group) -> None:
        """What was asked for together is not complete any more."""
        for uid, held in group.asked.items():
            if held.phase in (Phase.QUEUED, Phase.ARRIVED):
                self._mirror.aside(held)
                group.aside[uid] = held
        group.asked.clear()

    def _form(self, name: str, group: _Group) -> None:
        if not group.aside or group.asked:
            return
        if group.minimum is None:
            self._explain(group, f"there is no PodGroup {name}")
            return
        need = group.minimum - len(group.placed)
        if need <= 0:
            for held in list(group.aside.values()):
                self._mirror.queue(held)
            group.aside.clear()
        elif len(group.aside) < need:
            here = len(group.aside) + len(group.placed)
            self._explain(group, f"PodGroup {name} has {here} of {group.minimum} pods it needs")
        else:
            first = sorted(group.aside.values(), key=_place)[:need]
            group.asked = {held.pod.uid: held for held in first}
            for uid in group.asked:
                del group.aside[uid]
            self._mirror.queue_gang(first, name, need)

    def _explain(self, group: _Group, why: str) -> None:
        for held in group.aside.values():
            self._tell(held, why)


def _place(held: Held) -> tuple[int, float, str]:
    return -held.pod.priority, held.pod.created_s, held.pod.name
