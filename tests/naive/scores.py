"""Naive twins of the placement scores: one node, one task, plain Python, fractions for FGD.

Written from docs/reference/openb-protocol.md and Kubernetes' documentation, not from the kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction

Class = tuple[int, int, int, tuple[str, ...]]  # cpu, gpu_milli, gpus, models


@dataclass(frozen=True)
class Look:
    """A node as a score sees it: `left` of each GPU, how many tasks of each of the `kinds`."""

    cpu: int
    cpu_left: int
    memory: int
    memory_left: int
    left: tuple[int, ...]
    model: str
    kinds: dict[int, int] = field(default_factory=dict)
    watts: tuple[float, float, float, float] = (0, 0, 0, 0)  # cpu idle, full, gpu idle, full


@dataclass(frozen=True)
class Ask:
    cpu: int
    memory: int
    gpus: int
    milli: int
    models: tuple[str, ...] = ()

    @property
    def shared(self) -> bool:
        return self.gpus == 1 and self.milli < 1000

    @property
    def kind(self) -> int:
        return 0 if self.shared else self.gpus


def fits(node: Look, ask: Ask) -> bool:
    if node.cpu_left < ask.cpu or node.memory_left < ask.memory:
        return False
    if ask.gpus and ask.models and node.model not in ask.models:
        return False
    return sum(x >= ask.milli for x in node.left) >= ask.gpus


def ways(node: Look, ask: Ask) -> list[tuple[int, ...]]:
    """Sets of GPUs the task may get: one share each, or the first whole ones."""
    if ask.shared:
        return [(g,) for g, x in enumerate(node.left) if x >= ask.milli]
    return [tuple([g for g, x in enumerate(node.left) if x == 1000][: ask.gpus])]


def put(node: Look, ask: Ask, gpus: tuple[int, ...]) -> Look:
    left = tuple(x - ask.milli if g in gpus else x for g, x in enumerate(node.left))
    cpu, memory = node.cpu_left - ask.cpu, node.memory_left - ask.memory
    return replace(node, cpu_left=cpu, memory_left=memory, left=left)


# -- fragmentation ---------------------------------------------------------------------------------


def wasted(node: Look, wanted: Class) -> int:
    cpu, milli, gpus, models = wanted
    rest = sum(node.left)
    if gpus == 0 or (models and node.model not in models):
        return rest
    if sum(x >= milli for x in node.left) < gpus or node.cpu_left < cpu:
        return rest
    return sum(x for x in node.left if x < milli)


def fragmentation(node: Look, typical: list[tuple[Class, int]]) -> Fraction:
    total = sum(count for _, count in typical)
    return sum((Fraction(n, total) * wasted(node, c) for c, n in typical), Fraction(0))


def original_sum(node: Look, typical: list[tuple[Class, int]], tasks: int) -> float:
    """The original program's floating point sum: see "The 49-or-50 rule"."""
    a = [0.0] * 7
    covered = sum(count for _, count in typical)
    rest = sum(node.left)
    for (cpu, milli, gpus, models), count in typical:
        p = (count / tasks) / (covered / tasks)
        enough_cpu = node.cpu_left >= cpu
        if gpus == 0:
            a[4 if enough_cpu else 5] += p * rest
        elif models and node.model not in models:
            a[6] += p * rest
        elif sum(x >= milli for x in node.left) < gpus:
            a[1 if enough_cpu else 0] += p * rest
        elif not enough_cpu:
            a[3] += p * rest
        else:
            small = sum(x for x in node.left if x < milli)
            a[1] += p * small
            a[2] += p * (rest - small)
    return a[0] + a[1] + a[3] + a[4] + a[5] + a[6]


def fgd(node: Look, ask: Ask, typical: list[tuple[Class, int]], tasks: int = 0) -> int:
    """The best way's score; `tasks` above 0 takes the original rounding."""
    best = 0
    for gpus in ways(node, ask):
        after = put(node, ask, gpus)
        change = float(fragmentation(node, typical) - fragmentation(after, typical))
        if tasks and change == 0:
            change = original_sum(node, typical, tasks) - original_sum(after, typical, tasks)
        best = max(best, int(1 / (1 + math.exp(-change / 1000)) * 100))
    return best


# -- the others ------------------------------------------------------------------------------------


def best_fit(node: Look, ask: Ask) -> int:
    gpu = ask.gpus * ask.milli
    s = (node.cpu_left - ask.cpu) / 128000 * 0.5 + (sum(node.left) - gpu) / 8000 * 0.5
    return int((1 - s) * 100)


def worst_fit(node: Look, ask: Ask) -> int:
    gpu = ask.gpus * ask.milli
    s = (node.cpu_left - ask.cpu) / 128000 * 0.5 + (sum(node.left) - gpu) / 8000 * 0.5
    return int(s * 100)


def dot_product(node: Look, ask: Ask) -> int:
    d = node.cpu_left / 128000 * (ask.cpu / 128000)
    d += sum(node.left) / 8000 * (ask.gpus * ask.milli / 8000)
    return int(100 * (1 - d / 2))


def gpu_clustering(node: Look, ask: Ask) -> int:
    if not ask.gpus:
        return 0
    b = 25 * (8000 - sum(node.left)) // 8000
    hosted = {kind for kind, count in node.kinds.items() if count}
    if hosted == {ask.kind}:
        return b + 75
    if ask.kind in hosted:
        return b + 50
    return b if hosted else b + 25


def gpu_packing(node: Look, ask: Ask) -> int:
    if not ask.gpus:
        return 0
    free = sum(x == 1000 for x in node.left)
    if free == len(node.left):
        return max(33 - free, free)
    fitting = sorted((x, g) for g, x in enumerate(node.left) if x >= ask.milli)[: ask.gpus]
    opened = sum(x == 1000 for x, _ in fitting)
    if opened:
        return max(50 - opened, 33)
    return max(100 - sum(x * 100 // 1000 for x, _ in fitting) // 10, 50)


def watts(node: Look) -> float:
    """Packages of 16 cores of two threads; a core is idle if its two threads are free."""
    cpu_idle, cpu_full, gpu_idle, gpu_full = node.watts
    cores, idle = math.ceil(node.cpu / 2000), node.cpu_left // 2000
    packages, active = math.ceil(cores / 16), math.ceil((cores - idle) / 16)
    free = sum(x == 1000 for x in node.left)
    gpus = free * gpu_idle + (len(node.left) - free) * gpu_full
    return gpus + active * cpu_full + (packages - active) * cpu_idle


def pwr(node: Look, ask: Ask) -> int:
    return max(int(watts(node) - watts(put(node, ask, gpus))) for gpus in ways(node, ask))


def least_allocated(node: Look, ask: Ask) -> int:
    cpu = (node.cpu_left - ask.cpu) * 100 // node.cpu
    memory = (node.memory_left - ask.memory) * 100 // node.memory
    return (cpu + memory) // 2


def most_allocated(node: Look, ask: Ask) -> int:
    cpu = (node.cpu - node.cpu_left + ask.cpu) * 100 // node.cpu
    memory = (node.memory - node.memory_left + ask.memory) * 100 // node.memory
    return (cpu + memory) // 2


def balanced_allocation(node: Look, ask: Ask) -> int:
    cpu = (node.cpu - node.cpu_left + ask.cpu) / node.cpu
    memory = (node.memory - node.memory_left + ask.memory) / node.memory
    return int((1 - abs((cpu - memory) / 2)) * 100)
