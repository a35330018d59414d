"""What journals hold of an engine: events, actions and nodes as plain values, and back.

How tasks are held is for each journal to say: an agent's tasks have no labels and no rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerebrum.model.cluster import Node, PowerModel, Taint
from cerebrum.model.decisions import Action, Bind, Defer, Preempt, Reject, Wait
from cerebrum.model.events import Event, EventKind
from cerebrum.model.resources import Resources


def event_record(event: Event) -> list[Any]:
    """An event as the journal holds it."""
    return [
        event.time_s, "event", int(event.kind), event.subject, event.row, event.gpus,
        event.reason, event.cache_ways, event.value,
    ]  # fmt: skip


def event_of_record(record: Sequence[Any]) -> Event:
    """The inverse of `event_record`."""
    time_s, _, kind, subject, row, gpus, reason, ways, value = record
    return Event(time_s, EventKind(kind), subject, row, gpus, reason, ways, value)


def action_record(action: Action) -> list[Any]:
    """An action as the journal holds it."""
    match action:
        case Bind(task, row, gpus, ways):
            return ["bind", int(task), int(row), int(gpus), int(ways)]
        case Defer(task, until_s):
            return ["defer", int(task), float(until_s)]
        case Preempt(task):
            return ["preempt", int(task)]
        case Reject(task, reason):
            return ["reject", int(task), int(reason)]
        case Wait(task, reason):
            return ["wait", int(task), int(reason)]


def node_record(node: Node) -> dict[str, Any]:
    """A node as the journal holds it: what a policy can see of it."""
    c, p = node.capacity, node.power
    power = None
    if p is not None:
        power = [p.cpu_idle_w, p.cpu_full_w, p.cpu_package_milli, p.gpu_idle_w, p.gpu_full_w]
    return {
        "name": node.name,
        "capacity": [c.cpu_milli, c.memory_mib, c.gpu_count, c.gpu_milli, c.cache_ways],
        "extended": [list(item) for item in c.extended],
        "gpu_model": node.gpu_model, "slots": node.slots, "labels": dict(node.labels),
        "taints": [[t.key, t.value, t.effect] for t in node.taints],
        "power": power, "speed": node.speed, "schedulable": node.schedulable,
    }  # fmt: skip


def node_of_record(record: Mapping[str, Any]) -> Node:
    """The inverse of `node_record`."""
    given = dict(record)
    extended = tuple((str(name), int(amount)) for name, amount in given.pop("extended"))
    capacity = Resources(*given.pop("capacity"), extended=extended)
    taints = tuple(Taint(*taint) for taint in given.pop("taints"))
    power = given.pop("power")
    model = None if power is None else PowerModel(*power)
    return Node(**given, capacity=capacity, taints=taints, power=model)
