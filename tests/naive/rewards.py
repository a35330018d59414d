"""Naive twin of the reward terms: walk an event log with dicts, add up what each term says."""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_right
from collections import defaultdict
from typing import Any

from cerebrum.model.events import EventKind
from cerebrum.model.scenario import Scenario
from tests.naive.metrics import Machine, World


def terms(story: Scenario, rows: Any, typical: Any, carbon: Any = None) -> dict[str, float]:
    """Every term of `cerebrum.learn.rewards` over a whole log, costs negative.

    `carbon` is a list of (from second, g/kWh), `typical` (class, weight) pairs.
    """
    world = World(story, typical)
    out: dict[str, float] = defaultdict(float)
    last = None
    for row in rows:
        now, kind = float(row["time_s"]), EventKind(int(row["kind"]))
        if last is not None and now > last:
            watts = sum(_watts(m, world) for m in world.machines if m.present)
            out["wait"] -= len(world.queue) * (now - last) / 3600
            out["power"] -= watts * (now - last) / 3.6e6
            out["emissions"] -= watts / 3.6e6 * _integral(carbon or [], last, now)
        last = now
        who = int(row["subject"])
        decided = kind == EventKind.BOUND and row["value"] == 0  # else it ran from the start
        if decided:
            machine = world.machines[int(row["row"])]
            before = world.fragmented(machine)
        if kind == EventKind.REJECTED:
            out["rejected"] -= _part(world, who)
        world.tell(row)
        if decided:
            out["fragmentation"] -= (world.fragmented(machine) - before) / 1000
            out["balance"] -= _imbalance(world)
        if kind == EventKind.FINISHED:
            out["completion"] += 1
    for task in world.queue:
        out["rejected"] -= _part(world, task)
    return out


def _watts(machine: Machine, world: World) -> float:
    """PWR: a package of CPUs in use draws full power, and so does a GPU with anything on it."""
    power = machine.node.power
    if power is None:
        return 0.0
    packages = math.ceil(machine.node.capacity.cpu_milli / power.cpu_package_milli)
    busy = min(packages, math.ceil(world.used(machine)[0] / power.cpu_package_milli))
    gpus = machine.node.capacity.gpu_count
    used = {g for mask in machine.running.values() for g in mask}
    return (
        busy * power.cpu_full_w
        + (packages - busy) * power.cpu_idle_w
        + len(used) * power.gpu_full_w
        + (gpus - len(used)) * power.gpu_idle_w
    )


def _integral(carbon: list[tuple[float, float]], start: float, end: float) -> float:
    """Grams per kilowatt-hour times seconds."""
    if not carbon:
        return 0.0
    times = [at for at, _ in carbon]
    cuts = [start, *(at for at in times if start < at < end), end]
    total = 0.0
    for a, b in itertools.pairwise(cuts):
        total += carbon[max(0, bisect_right(times, a) - 1)][1] * (b - a)
    return total


def _whole(machine: Machine) -> tuple[int, int, int]:
    c = machine.node.capacity
    return c.cpu_milli, c.memory_mib, 1000 * c.gpu_count


def _imbalance(world: World) -> float:
    here = [m for m in world.machines if m.present]
    spreads = []
    for resource in range(3):
        having = [m for m in here if _whole(m)[resource]]
        if having:
            shares = [world.used(m)[resource] / _whole(m)[resource] for m in having]
            spreads.append(statistics.pstdev(shares))
    return statistics.mean(spreads) if spreads else 0.0


def _part(world: World, task: int) -> float:
    r = world.tasks[task].task_class.resources
    here = [m for m in world.machines if m.present]
    part = 0.0
    for resource, asked in enumerate((r.cpu_milli, r.memory_mib, r.gpu_milli_total)):
        whole = sum(_whole(m)[resource] for m in here)
        if asked:
            part = max(part, min(1.0, asked / whole) if whole else 1.0)
    return part
