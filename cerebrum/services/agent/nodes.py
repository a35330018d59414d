"""Nodes that come, change and go while the agent lives, as its executor's inventory tells.

A node that is gone takes nothing new at once; the engine keeps its row until its last run has
ended, which the executor says. One that comes back before that is the same row again. Everything
goes through the placement's journal, so a replay sees the same nodes at the same moments.
"""

from __future__ import annotations

from collections.abc import Mapping

from cerebrum.model.cluster import Node
from cerebrum.model.scenario import NodeChange
from cerebrum.services.agent.lifecycle import Lifecycle

Changes = Mapping[str, Node | None]


def follow(life: Lifecycle, changes: Changes) -> bool:
    """Tell engine, meters and history, inside a turn; whether the controller should hear at once.

    Told twice, it changes nothing.
    """
    news = False
    for name, node in changes.items():
        known = life.nodes.get(name)
        if node == known:
            continue
        if node is None:
            _leave(life, name)
        elif known is None:
            _join(life, node)
        else:
            _update(life, known, node)
        news |= node is None or known is None or node.schedulable != known.schedulable
    return news


def _leave(life: Lifecycle, name: str) -> None:
    now_s = life.ledger.clock.monotonic_s()
    life.placement.change_node(name, NodeChange.LEAVE, now_s)
    life.ledger.meter(name, life.energy.totals(name, now_s))
    life.energy.leave(name, now_s)
    del life.nodes[name]
    life.ledger.event_of("node_changed", "", "", name=name, change=str(NodeChange.LEAVE))


def _join(life: Lifecycle, node: Node) -> None:
    placement, now_s = life.placement, life.ledger.clock.monotonic_s()
    life.energy.follow(node, now_s)
    if placement.holds(node.name):  # it left, and something still runs there
        placement.change_node(node.name, NodeChange.UNCORDON, now_s)
        placement.change_node(node.name, NodeChange.UPDATE, now_s, node)
    else:
        placement.change_node(node.name, NodeChange.JOIN, now_s, node)
    life.nodes[node.name] = node
    _cordon_again(life, node, now_s)
    introduce(life, node)


def _update(life: Lifecycle, known: Node, node: Node) -> None:
    now_s = life.ledger.clock.monotonic_s()
    if node.power != known.power or node.capacity.gpu_count != known.capacity.gpu_count:
        life.energy.follow(node, now_s)
    life.placement.change_node(node.name, NodeChange.UPDATE, now_s, node)
    life.nodes[node.name] = node
    _cordon_again(life, node, now_s)
    if node.schedulable != known.schedulable:
        change = NodeChange.UNCORDON if node.schedulable else NodeChange.CORDON
        life.ledger.event_of("node_changed", "", "", name=node.name, change=str(change))


def _cordon_again(life: Lifecycle, node: Node, now_s: float) -> None:
    """An operator's word to us outlasts what the cluster says."""
    if node.schedulable and node.name in life.cordoned:
        life.placement.change_node(node.name, NodeChange.CORDON, now_s)


def introduce(life: Lifecycle, node: Node) -> None:
    """A node for the history."""
    c = node.capacity
    life.ledger.event_of(
        "node", "", "", name=node.name, cpu_milli=c.cpu_milli,
        memory_mib=c.memory_mib, gpu_count=c.gpu_count,
    )  # fmt: skip
