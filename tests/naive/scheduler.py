"""The engine's naive twin: plain Python objects, everything recomputed, nothing remembered.

Knows submit, wait, bind, run, end, gangs, priorities and the three queue disciplines. Written from
the documentation, not from the engine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from cerebrum.model.cluster import Node
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task


@dataclass
class Room:
    """What is left of a node."""

    node: Node
    row: int
    cpu: int = 0
    memory: int = 0
    slots: int = 0
    gpus: list[int] = field(default_factory=list)

    def __post_init__(self):
        c = self.node.capacity
        self.cpu, self.memory, self.slots = c.cpu_milli, c.memory_mib, self.node.slots
        self.gpus = [1000] * c.gpu_count

    def takes(self, task: Task) -> bool:
        r, wanted = task.task_class.resources, task.task_class
        if not self.node.schedulable or r.cpu_milli > self.cpu or r.memory_mib > self.memory:
            return False
        if self.slots < 1:
            return False
        if not wanted.constraints.selects(self.node.name, self.node.labels):
            return False
        if wanted.constraints.untolerated(self.node.taints):
            return False
        if r.gpu_count and wanted.gpu_models and self.node.gpu_model not in wanted.gpu_models:
            return False
        return sum(left >= r.gpu_milli for left in self.gpus) >= r.gpu_count

    def choose(self, task: Task) -> list[int]:
        """Least left first, lowest index on ties."""
        r = task.task_class.resources
        fitting = [g for g, left in enumerate(self.gpus) if left >= r.gpu_milli]
        return sorted(fitting, key=lambda g: (self.gpus[g], g))[: r.gpu_count]

    def add(self, task: Task, gpus: list[int], sign: int = -1) -> None:
        r = task.task_class.resources
        self.cpu += sign * r.cpu_milli
        self.memory += sign * r.memory_mib
        self.slots += sign
        for g in gpus:
            self.gpus[g] += sign * r.gpu_milli


@dataclass
class World:
    """One moment. `where` has the rooms and GPUs of what runs, `begun` whatever ever ran."""

    story: Scenario
    tasks: list[Task]
    rooms: list[Room]
    now: float = 0.0
    queue: list[int] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)
    where: dict[int, tuple[Room, list[int]]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    log: list[tuple] = field(default_factory=list)

    def bind(self, placed: list[tuple[int, Room, list[int]]]) -> None:
        """Start tasks whose room is taken already."""
        for i, room, gpus in placed:
            self.queue.remove(i)
            self.begun.add(i)
            self.where[i] = (room, gpus)
            self.log.append((self.now, "bound", i, room.row, tuple(gpus)))
            if self.tasks[i].duration_s < float("inf"):
                end = self.now + self.tasks[i].duration_s / room.node.speed
                heapq.heappush(self.ends, (end, i))

    def reject(self, i: int) -> None:
        self.queue.remove(i)
        self.log.append((self.now, "rejected", i, -1, ()))

    def finish(self) -> None:
        """What ends at this moment gives its room back."""
        while self.ends and self.ends[0][0] == self.now:
            _, i = heapq.heappop(self.ends)
            room, gpus = self.where.pop(i)
            room.add(self.tasks[i], gpus, +1)
            self.log.append((self.now, "finished", i, room.row, tuple(gpus)))


Decide = Callable[[World, str], None]


def decide(world: World, discipline: str) -> None:
    """Walk the queue once; every bind shrinks room, so no second look is needed."""
    for i in list(world.queue):
        if i not in world.queue:
            continue
        members = gang(world.story, world.tasks, i, world.queue, world.begun)
        placed = place_all(world.tasks, world.rooms, members) if members else None
        if placed is not None:
            world.bind(placed)
            continue
        if discipline == "block":
            return
        if discipline == "reject" and members:
            world.reject(i)


def run(story: Scenario, discipline: str = "skip", decide: Decide = decide) -> list[tuple]:
    """(time, kind, task index, row, GPU tuple) of every bind, end and rejection, in order.

    Scores by least CPU left after placement, first row on ties.
    """
    tasks = list(story.tasks)
    rooms = [Room(node, row) for row, node in enumerate(story.cluster.nodes)]
    world = World(story, tasks, rooms)
    arrivals = sorted(range(len(tasks)), key=lambda i: (tasks[i].submit_s, i))
    while arrivals or world.ends:
        next_s = [tasks[i].submit_s for i in arrivals[:1]] + [end for end, _ in world.ends[:1]]
        world.now = min(next_s)
        world.finish()
        while arrivals and tasks[arrivals[0]].submit_s == world.now:
            world.queue.append(arrivals.pop(0))
        world.queue.sort(key=lambda i: (-tasks[i].priority, tasks[i].submit_s, i))
        decide(world, discipline)
    return world.log


def gang(story, tasks, i, queue, begun):
    """The tasks that must start with task i, or None while too few are there."""
    job = int(story.tasks.job_id[i])
    need = story.tasks.jobs[job].gang if job >= 0 else 0
    if need < 2:
        return [i]
    here = [j for j in range(len(tasks)) if int(story.tasks.job_id[j]) == job]
    ready = [j for j in here if j in queue]
    started = sum(j in begun for j in here)
    return ready if len(ready) + started >= need else None


def place_all(tasks, rooms, members):
    """Nodes for all members, one after the other, or None with nothing changed."""
    placed = []
    for i in members:
        fitting = [room for room in rooms if room.takes(tasks[i])]
        if not fitting:
            for j, room, gpus in placed:
                room.add(tasks[j], gpus, +1)
            return None
        cpu = tasks[i].task_class.resources.cpu_milli
        room = min(fitting, key=lambda room: (room.cpu - cpu, room.row))
        gpus = sorted(room.choose(tasks[i]))
        room.add(tasks[i], gpus)
        placed.append((i, room, gpus))
    return placed
