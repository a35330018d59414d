"""Rules about other tasks, straight from Kubernetes' documentation: loops over tasks and nodes.

"Running" tasks are (task, row) pairs; nothing is remembered, domains are compared label by label.
"""

from __future__ import annotations

from cerebrum.model.cluster import Node
from cerebrum.model.events import Refusal
from cerebrum.model.tasks import Task
from tests.naive import scheduler

Running = list[tuple[Task, int]]


def verdict(task: Task, row: int, nodes: list[Node], running: Running) -> Refusal:
    """Everything that rules about other tasks have against the task on this node."""
    bits = Refusal(0)
    bits |= affinity(task, row, nodes, running)
    bits |= anti_affinity(task, row, nodes, running)
    bits |= existing_anti_affinity(task, row, nodes, running)
    bits |= spread(task, row, nodes, running)
    bits |= ports(task, row, running)
    bits |= exclusive(task, running)
    return bits


def together(a: Node, b: Node, key: str) -> bool:
    return key in a.labels and a.labels.get(key) == b.labels.get(key)


def affinity(task, row, nodes, running):
    """A Pod's required affinity terms are ANDed, and it may be the first of its own kind."""
    terms = task.task_class.peers.near
    if not terms:
        return Refusal(0)
    if any(term.topology_key not in nodes[row].labels for term in terms):
        return Refusal.POD_AFFINITY
    company = [
        (other, r)
        for other, r in running
        if all(term.selector.matches(other.labels) for term in terms)
    ]
    if all(
        any(together(nodes[row], nodes[r], term.topology_key) for _, r in company) for term in terms
    ):
        return Refusal(0)
    somewhere = any(term.topology_key in nodes[r].labels for _, r in company for term in terms)
    itself = all(term.selector.matches(task.labels) for term in terms)
    return Refusal(0) if itself and not somewhere else Refusal.POD_AFFINITY


def anti_affinity(task, row, nodes, running):
    for term in task.task_class.peers.apart:
        for other, r in running:
            if term.selector.matches(other.labels) and together(
                nodes[row], nodes[r], term.topology_key
            ):
                return Refusal.POD_ANTI_AFFINITY
    return Refusal(0)


def existing_anti_affinity(task, row, nodes, running):
    for other, r in running:
        for term in other.task_class.peers.apart:
            if term.selector.matches(task.labels) and together(
                nodes[row], nodes[r], term.topology_key
            ):
                return Refusal.EXISTING_ANTI_AFFINITY
    return Refusal(0)


def spread(task, row, nodes, running):
    rules = task.task_class.peers.spread
    bits = Refusal(0)
    for rule in rules:
        if rule.topology_key not in nodes[row].labels:
            bits |= Refusal.SPREAD_LABEL
            continue
        counts = {}
        for r, node in enumerate(nodes):
            if eligible(task, rule, rules, node):
                here = sum(s == r and rule.selector.matches(o.labels) for o, s in running)
                value = node.labels[rule.topology_key]
                counts[value] = counts.get(value, 0) + here
        least = 0 if len(counts) < rule.min_domains else min(counts.values())
        here = counts.get(nodes[row].labels[rule.topology_key], 0)
        if here + rule.selector.matches(task.labels) - least > rule.max_skew:
            bits |= Refusal.SPREAD
    return bits


def eligible(task, rule, rules, node):
    """Nodes a spread rule counts: all its keys, and the inclusion policies."""
    constraints = task.task_class.constraints
    if any(other.topology_key not in node.labels for other in rules):
        return False
    if rule.honor_affinity and not constraints.selects(node.name, node.labels):
        return False
    return not (rule.honor_taints and constraints.untolerated(node.taints))


def ports(task, row, running):
    for other, r in running:
        if r == row and any(
            mine.clashes(theirs)
            for mine in task.task_class.peers.ports
            for theirs in other.task_class.peers.ports
        ):
            return Refusal.HOST_PORT
    return Refusal(0)


def exclusive(task, running):
    held = {name for other, _ in running for name in other.task_class.peers.exclusive}
    return Refusal.EXCLUSIVE if held & set(task.task_class.peers.exclusive) else Refusal(0)


# -- a whole simulation ------------------------------------------------------------------------


def run(story, discipline="skip") -> list[tuple]:
    """As `scheduler.run`, with rules about other tasks: after each bind, from the head again."""
    return scheduler.run(story, discipline, decide)


def decide(world, discipline):
    while placed := _first(world, discipline):
        world.bind(placed)


def _first(world, discipline):
    """The first task or gang of the queue that can start, with its nodes."""
    for i in list(world.queue):
        members = scheduler.gang(world.story, world.tasks, i, world.queue, world.begun)
        if members and (placed := _place_all(world, members)):
            return placed
        if discipline == "block":
            return None
        if discipline == "reject" and members:
            world.reject(i)
    return None


def _place_all(world, members):
    """Nodes for all members one after the other, each seeing those before it; or None."""
    placed, tasks, rooms = [], world.tasks, world.rooms
    nodes = [room.node for room in rooms]
    running = [(tasks[j], room.row) for j, (room, _) in world.where.items()]
    for i in members:
        fitting = [
            room
            for room in rooms
            if room.takes(tasks[i]) and not verdict(tasks[i], room.row, nodes, running)
        ]
        cpu = tasks[i].task_class.resources.cpu_milli
        room = min(fitting, key=lambda room: (room.cpu - cpu, room.row), default=None)
        if room is None:
            for j, taken, gpus in placed:
                taken.add(tasks[j], gpus, +1)
            return None
        gpus = sorted(room.choose(tasks[i]))
        room.add(tasks[i], gpus)
        placed.append((i, room, gpus))
        running.append((tasks[i], room.row))
    return placed


def victims(task, row, nodes, running, fits) -> list[Task] | None:
    """Whom kube-scheduler would stop on this node, or None if that does not help.

    `running` most important first; `fits(stopped)` whether there is room without those.
    """
    if verdict(task, row, nodes, running) & (Refusal.POD_AFFINITY | Refusal.SPREAD_LABEL):
        return None
    lower = [
        other for other, r in running if r == row and other.priority < task.priority
        and other.preemptible
    ]  # fmt: skip

    def good(stopped):
        left = [(o, r) for o, r in running if not any(o is s for s in stopped)]
        return fits(stopped) and not verdict(task, row, nodes, left)

    if not lower or not good(lower):
        return None
    stopped = list(lower)
    for other in lower:
        without = [o for o in stopped if o is not other]
        if good(without):
            stopped = without
    return stopped
