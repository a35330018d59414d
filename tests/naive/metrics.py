"""Naive twin of the metrics: walk the log with dicts, one event after the other, nothing clever."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from cerebrum.model.cluster import Node
from cerebrum.model.events import EventKind, gpu_indices
from cerebrum.model.scenario import NodeChange, Scenario
from cerebrum.model.tasks import TaskClass


@dataclass
class Machine:
    """One node and what runs on it: task index -> GPU indices."""

    node: Node
    present: bool = True
    leaving: bool = False
    running: dict[int, tuple[int, ...]] = field(default_factory=dict)


class World:
    """Every node and task, told the events one by one."""

    def __init__(self, story: Scenario, typical: list[tuple[TaskClass, float]]):
        self.story, self.typical = story, typical
        self.tasks = list(story.tasks)
        self.machines = [Machine(node) for node in story.cluster.nodes]
        self.queue: set[int] = set()
        self.attempts: dict[int, int] = defaultdict(int)
        self.arrived = 0

    def tell(self, row: Any) -> None:
        kind, who = EventKind(int(row["kind"])), int(row["subject"])
        if kind == EventKind.NODE_ADDED:
            self.machines.append(Machine(self.story.node_events[int(row["value"])].node))
        elif kind == EventKind.NODE_REMOVED:
            self.machines[who].present = False
        elif kind == EventKind.NODE_CHANGED:
            change = self.story.node_events[int(row["value"])].change
            if change == NodeChange.UPDATE:
                self.machines[who].node = self.story.node_events[int(row["value"])].node
            if change in (NodeChange.LEAVE, NodeChange.UNCORDON):
                self.machines[who].leaving = change == NodeChange.LEAVE
        elif kind == EventKind.SUBMITTED:
            self.queue.add(who)
            self.arrived += self.tasks[who].task_class.resources.gpu_milli_total
        elif kind == EventKind.REJECTED:
            self.queue.discard(who)
        elif kind == EventKind.BOUND:
            self.queue.discard(who)
            self.attempts[who] += 1
            self.machines[int(row["row"])].running[who] = gpu_indices(int(row["gpus"]))
        elif kind <= EventKind.BIND_FAILED:
            del self.machines[int(row["row"])].running[who]
            gone = kind == EventKind.FAILED and self.attempts[who] >= self.story.max_attempts
            if kind != EventKind.FINISHED and not gone:
                self.queue.add(who)
        for machine in self.machines:
            if machine.leaving and not machine.running:
                machine.present = False

    def used(self, machine: Machine) -> tuple[int, int, int]:
        asked = [self.tasks[i].task_class.resources for i in machine.running]
        return (
            sum(r.cpu_milli for r in asked),
            sum(r.memory_mib for r in asked),
            sum(r.gpu_milli_total for r in asked),
        )

    def fragmented(self, machine: Machine) -> float:
        """F of a node: what each typical class could not use, weighted."""
        left = [1000] * machine.node.capacity.gpu_count
        for i, gpus in machine.running.items():
            for g in gpus:
                left[g] -= self.tasks[i].task_class.resources.gpu_milli
        cpu_left = machine.node.capacity.cpu_milli - self.used(machine)[0]
        total = sum(weight for _, weight in self.typical)
        amount = 0.0
        for wanted, weight in self.typical:
            r = wanted.resources
            model_ok = not wanted.gpu_models or machine.node.gpu_model in wanted.gpu_models
            enough = sum(v >= r.gpu_milli for v in left) >= r.gpu_count
            if r.gpu_count == 0 or not model_ok or not enough or cpu_left < r.cpu_milli:
                amount += weight * sum(left)
            else:
                amount += weight * sum(v for v in left if v < r.gpu_milli)
        return amount / total if total else 0.0

    def state(self) -> dict[str, float]:
        here = [m for m in self.machines if m.present]
        used = [self.used(m) for m in here]
        return {
            "cpu_milli": sum(u[0] for u in used),
            "memory_mib": sum(u[1] for u in used),
            "gpu_milli": sum(u[2] for u in used),
            "fragmented_gpu_milli": sum(self.fragmented(m) for m in here),
            "cpu_capacity_milli": sum(m.node.capacity.cpu_milli for m in here),
            "memory_capacity_mib": sum(m.node.capacity.memory_mib for m in here),
            "gpu_capacity_milli": sum(1000 * m.node.capacity.gpu_count for m in here),
            "queued": len(self.queue),
            "running": sum(len(m.running) for m in here),
            "arrived_gpu_milli": self.arrived,
        }


def curves(story: Scenario, rows: Any, typical: list) -> tuple[list[dict[str, float]], list]:
    """The state after every instant, and per node the resource x seconds it held."""
    world = World(story, typical)
    out: list[dict[str, float]] = []
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0] * 4)
    last = None
    for i, row in enumerate(rows):
        now = float(row["time_s"])
        if last is not None and now > last:
            for n, machine in enumerate(world.machines):
                if machine.present:
                    for k, amount in enumerate((*world.used(machine), 1)):
                        sums[n][k] += amount * (now - last)
        last = now
        world.tell(row)
        if i + 1 == len(rows) or float(rows[i + 1]["time_s"]) > now:
            out.append({"time_s": now, **world.state()})
    return out, [sums[n] for n in range(len(world.machines))]


def mean_over_time(times: list[float], values: list[float]) -> float:
    span = times[-1] - times[0]
    if not span:
        return values[-1]
    pieces = zip(times, times[1:], values, strict=False)
    return sum((after - at) * value for at, after, value in pieces) / span


def tasks(story: Scenario, rows: Any, floor_s: float) -> list[dict[str, float]]:
    """Times and counts of every task, from its own events alone."""
    out = []
    for i, task in enumerate(story.tasks):
        mine = [r for r in rows if r["subject"] == i and not 4 <= r["kind"] <= 7]
        of = defaultdict(list)
        for r in mine:
            of[EventKind(int(r["kind"]))].append(float(r["time_s"]))
        start = of[EventKind.STARTED][-1] if of[EventKind.STARTED] else math.nan
        end = of[EventKind.FINISHED][-1] if of[EventKind.FINISHED] else math.nan
        run, whole = end - start, end - task.submit_s
        out.append(
            {
                "start_s": start,
                "end_s": end,
                "wait_s": start - task.submit_s,
                "completion_s": whole,
                "bounded_slowdown": max(1.0, whole / max(run, floor_s))
                if not math.isnan(whole)
                else math.nan,
                "attempts": len(of[EventKind.BOUND]),
                "preemptions": len(of[EventKind.PREEMPTED]),
                "failures": len(of[EventKind.FAILED]),
            }
        )
    return out
