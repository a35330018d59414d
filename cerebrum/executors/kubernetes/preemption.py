"""Whom to end so that a more important pod fits, where the policy does not say so itself.

The order is kube-scheduler's. On each node where the pod would fit without every pod of lower
priority, put those back one by one, first the ones that a disruption budget protects, then by
priority and age, as long as the pod still fits; who stays out is a victim. The node with the fewest
violated budgets wins, then the lowest highest priority, the lowest sum of priorities, the fewest
victims, the latest start of the most important victim, the first row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Held, Mirror, Phase
from cerebrum.model.constraints import Requirement
from cerebrum.model.events import Refusal
from cerebrum.model.resources import Resources
from cerebrum.model.snapshot import Snapshot

MAX_NODES = 100
"""Nodes that are looked at closely: kube-scheduler's own least number."""
_ROOM = (
    Refusal.CPU
    | Refusal.MEMORY
    | Refusal.SLOTS
    | Refusal.GPU_MILLI
    | Refusal.CACHE_WAYS
    | Refusal.EXTENDED
)
"""What can be cured by ending pods on the node."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: pods of `namespace` that meet every requirement, `allowed` may go."""

    namespace: str
    requirements: tuple[Requirement, ...]
    allowed: int

    def protects(self, pod: PodFacts) -> bool:
        """Whether it is about this pod. A budget without requirements is about every pod."""
        if pod.namespace != self.namespace:
            return False
        labels = dict(pod.labels.labels)
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Plan:
    """End `victims`, and the pod fits on `row` with GPUs of mask `gpus`."""

    row: int
    gpus: int
    victims: tuple[Held, ...]
    violations: int


@dataclass(slots=True)
class _Room:
    """What a node has left, in plain numbers."""

    cpu_milli: int
    memory_mib: int
    slots: int
    ways: int
    gpus: list[int]
    extended: dict[str, int] = field(default_factory=dict[str, int])

    def change(self, wants: Resources, gpus: int, sign: int) -> None:
        """Give back (+1) or take (-1) what a pod has."""
        self.cpu_milli += sign * wants.cpu_milli
        self.memory_mib += sign * wants.memory_mib
        self.slots += sign
        self.ways += sign * wants.cache_ways
        for gpu in range(len(self.gpus)):
            if gpus >> gpu & 1:
                self.gpus[gpu] += sign * wants.gpu_milli
        for name, amount in wants.extended:
            self.extended[name] = self.extended.get(name, 0) + sign * amount

    def fits(self, wants: Resources) -> bool:
        """Whether that much is left; what is not asked for may be overdrawn."""
        return (
            (not wants.cpu_milli or self.cpu_milli >= wants.cpu_milli)
            and (not wants.memory_mib or self.memory_mib >= wants.memory_mib)
            and self.slots >= 1
            and (not wants.cache_ways or self.ways >= wants.cache_ways)
            and sum(free >= wants.gpu_milli for free in self.gpus) >= wants.gpu_count
            and all(self.extended.get(name, 0) >= amount for name, amount in wants.extended)
        )

    def gpus_for(self, wants: Resources) -> int:
        """The fullest GPUs that still fit, lowest index first."""
        fit = [gpu for gpu, free in enumerate(self.gpus) if free >= wants.gpu_milli]
        fit.sort(key=lambda gpu: (self.gpus[gpu], gpu))
        return sum(1 << gpu for gpu in fit[: wants.gpu_count])


def plan(
    mirror: Mirror, held: Held, refusals: NDArray[np.integer], budgets: Sequence[Budget]
) -> Plan | None:
    """Where to make room for `held`; None where no node helps. `refusals` bits by row."""
    best: Plan | None = None
    best_key: tuple[float, ...] = ()
    for row in _promising(mirror, held, refusals):
        found = _on_row(mirror, held, row, budgets)
        if found is None:
            continue
        key = _worth(found)
        if best is None or key < best_key:
            best, best_key = found, key
    return best


def _promising(mirror: Mirror, held: Held, refusals: NDArray[np.integer]) -> Iterable[int]:
    """Rows where enough would be left without all lower priorities, least important first."""
    snapshot = mirror.recorded.engine.snapshot()
    curable = snapshot.usable & ((refusals & ~int(_ROOM)) == 0)
    tasks = np.asarray(snapshot.running)
    priorities = snapshot.tasks.priority[tasks]
    tasks = tasks[priorities < held.pod.priority]
    rows, classes = snapshot.tasks.row[tasks], snapshot.tasks.class_id[tasks]
    enough = curable & (np.bincount(rows, minlength=len(curable)) > 0)
    for name, wanted in _amounts(held.pod.task_class.resources).items():
        freed = np.bincount(rows, snapshot.classes[name][classes], minlength=len(curable))
        enough &= snapshot.nodes[_FREE[name]][: len(curable)] + freed >= wanted
    highest = np.full(len(curable), -(2**31), np.int64)
    np.maximum.at(highest, rows, snapshot.tasks.priority[tasks])
    candidates = np.flatnonzero(enough)
    order = np.lexsort((candidates, highest[candidates]))
    return candidates[order][:MAX_NODES].tolist()


_FREE = {"cpu_milli": "cpu_free", "memory_mib": "memory_free"}


def _amounts(wants: Resources) -> dict[str, int]:
    asked = {"cpu_milli": wants.cpu_milli, "memory_mib": wants.memory_mib}
    return {name: amount for name, amount in asked.items() if amount}


def _on_row(mirror: Mirror, held: Held, row: int, budgets: Sequence[Budget]) -> Plan | None:
    snapshot = mirror.recorded.engine.snapshot()
    name = snapshot.node_names[row]
    there = [mirror.held[uid] for uid in mirror.nodes.pods_on(name)]
    if any(o.phase is Phase.ASSUMED and o.pod.priority < held.pod.priority for o in there):
        return None  # a bind is under way: look again when it is known what became of it
    lower = [o for o in there if o.task >= 0 and o.pod.priority < held.pod.priority]
    lower.sort(key=lambda o: (-o.pod.priority, o.pod.created_s, o.pod.uid))
    room, wants = _room(mirror, snapshot, row), held.pod.task_class.resources
    for other in lower:
        room.change(other.pod.task_class.resources, other.gpus, 1)
    if not lower or not room.fits(wants):
        return None
    protected, free = _by_budget(lower, budgets)
    victims: list[Held] = []
    violations = 0
    for other in (*protected, *free):
        room.change(other.pod.task_class.resources, other.gpus, -1)
        if room.fits(wants):
            continue
        room.change(other.pod.task_class.resources, other.gpus, 1)
        victims.append(other)
        violations += other in protected
    return Plan(row, room.gpus_for(wants), tuple(victims), violations)


def _by_budget(pods: Sequence[Held], budgets: Sequence[Budget]) -> tuple[list[Held], list[Held]]:
    """Those whose end would violate a budget, and the others; each end uses the budget up."""
    left = [budget.allowed for budget in budgets]
    protected: list[Held] = []
    free: list[Held] = []
    for other in pods:
        violates = False
        for i, budget in enumerate(budgets):
            if budget.protects(other.pod):
                left[i] -= 1
                violates |= left[i] < 0
        (protected if violates else free).append(other)
    return protected, free


def _room(mirror: Mirror, snapshot: Snapshot, row: int) -> _Room:
    record = snapshot.nodes[row]
    node = mirror.recorded.engine.nodes[row]
    extended = dict(node.capacity.extended)
    for uid in mirror.nodes.pods_on(node.name):
        other = mirror.held[uid]
        for name, amount in other.pod.task_class.resources.extended if other.task >= 0 else ():
            extended[name] = extended.get(name, 0) - amount
    return _Room(
        int(record["cpu_free"]),
        int(record["memory_free"]),
        int(record["slots_free"]),
        int(record["cache_ways_free"]),
        [int(free) for free in record["gpu_free"][: int(record["gpu_count"])]],
        extended,
    )


def _worth(found: Plan) -> tuple[float, ...]:
    """Least is best."""
    victims = found.victims
    highest = max((v.pod.priority for v in victims), default=-math.inf)
    total = sum(v.pod.priority + 2**31 for v in victims)
    latest = max((v.pod.created_s for v in victims if v.pod.priority == highest), default=0.0)
    return (found.violations, highest, total, len(victims), -latest, found.row)
