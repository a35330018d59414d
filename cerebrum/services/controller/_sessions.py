"""What the leader remembers of each cluster between two contacts; lost with it, and made anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cerebrum.model.federation import ClusterView
from cerebrum.services.errors import Refused
from cerebrum.services.wire import NodeSpec, NodeStatus, Poll, TaskSpec


@dataclass(eq=False)
class Backlog:
    """What of ours a cluster has to do, by the database: unended tasks and their core-seconds.

    `waiting` are those it does not hold yet, `held` the rest.
    """

    tasks: int = 0
    waiting_core_s: float = 0.0
    held_core_s: float = 0.0
    waiting_cpu_milli: int = 0

    def reserve(self, tasks: int, core_s: float, cpu_milli: int) -> None:
        """Work that was just assigned: the next decision sees it."""
        self.tasks += tasks
        self.waiting_core_s += core_s
        self.waiting_cpu_milli += cpu_milli


@dataclass(eq=False)
class Session:
    """A cluster and the agent that speaks for it. Times on the controller's monotonic clock.

    `seen_s`: when its last request was received; `since_s`: when it registered, or we began.
    `registration`, `cordoning`: the numbers of what was stored and is remembered here, higher ones
    were stored later; 0: from the database.
    `others`: earlier agents of this cluster that still hold tasks, and when they were last heard.
    `acked_s`: when an ack came last. `dirty`: there may be something to say to it.
    """

    cluster: str
    identity: str
    nodes: tuple[NodeSpec, ...]
    zone: str
    url: str
    version: str
    seen_s: float
    since_s: float
    registration: int = 0
    cordoned: bool = False
    cordoning: int = 0
    lost: bool = False
    resync: bool = True
    others: dict[str, float] = field(default_factory=dict[str, float])
    free: dict[str, NodeStatus] = field(default_factory=dict[str, NodeStatus])
    waiting: int = 0
    running: int = 0
    reported_core_s: float = 0.0
    acked_s: float = -1e18
    dirty: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    told: frozenset[str] = frozenset()
    backlog: Backlog = field(default_factory=Backlog)

    @classmethod
    def of_row(cls, row: Any, now_s: float) -> Session:
        """From the database: leases start anew, since nobody knows when the agent last sent."""
        nodes = tuple(NodeSpec.model_validate(node) for node in json.loads(row.nodes))
        return cls(
            row.id, row.identity, nodes, row.zone, row.url, row.version, now_s, now_s,
            cordoned=bool(row.cordoned), lost=row.state == "lost",
        )  # fmt: skip

    def wake(self) -> None:
        """There may be something to say."""
        self.dirty = True
        self.news.set()

    @property
    def usable(self) -> list[NodeSpec]:
        """Nodes that take tasks."""
        closed = {name for name, status in self.free.items() if not status.schedulable}
        return [node for node in self.nodes if node.schedulable and node.name not in closed]

    def take_status(self, message: Poll) -> None:
        """Remember what the agent says of its nodes. Raises `Refused` (422) for a lie."""
        known = {node.name: node for node in self.nodes}
        fresh: dict[str, NodeStatus] = {}
        for status in message.nodes:
            node = known.get(status.name)
            if node is None:
                continue  # it has changed its nodes and is about to register them
            for name in ("cpu_milli", "memory_mib", "gpu_count"):
                free = getattr(status, _FREE[name])
                if free > getattr(node, name):
                    raise Refused(
                        422,
                        "More free than there is",
                        f"node {status.name!r}: {_FREE[name]} {free}, but registered with "
                        f"{name} {getattr(node, name)}",
                    )
            fresh[status.name] = status
        self.free = fresh or self.free
        self.waiting, self.running = message.waiting, message.running
        self.reported_core_s = message.backlog_core_s

    def view(self) -> ClusterView:
        """The cluster as decisions see it: capacity as registered, free as reported, less what was
        decided since."""
        nodes, backlog = self.usable, self.backlog
        free = [self.free[node.name] for node in nodes if node.name in self.free]
        unseen = [node for node in nodes if node.name not in self.free]
        cpu_free = sum(s.cpu_free_milli for s in free) + sum(n.cpu_milli for n in unseen)
        memory_free = sum(s.memory_free_mib for s in free) + sum(n.memory_mib for n in unseen)
        speeds, weights = [n.speed for n in nodes], [max(n.cpu_milli, 1) for n in nodes]
        forecast = [s.forecast_cpu for s in free]
        return ClusterView.of(
            self.cluster, nodes, speeds, [node.gpu_model for node in nodes],
            cpu_free_milli=max(0, cpu_free - backlog.waiting_cpu_milli),
            memory_free_mib=memory_free,
            backlog_core_s=backlog.waiting_core_s + max(backlog.held_core_s, self.reported_core_s),
            speed=sum(w * s for w, s in zip(weights, speeds, strict=True)) / sum(weights)
            if nodes
            else 1.0,
            forecast_cpu=sum(forecast) / len(forecast) if forecast else 0.0,
            zone=self.zone,
        )  # fmt: skip


_FREE = {
    "cpu_milli": "cpu_free_milli",
    "memory_mib": "memory_free_mib",
    "gpu_count": "gpu_free",
}


def fits(task: TaskSpec, nodes: Sequence[NodeSpec]) -> bool:
    """Whether one of the nodes could ever hold the task."""
    return any(
        node.cpu_milli >= task.cpu_milli
        and node.memory_mib >= task.memory_mib
        and node.gpu_count >= task.gpu_count
        and (not task.gpu_count or not task.gpu_models or node.gpu_model in task.gpu_models)
        for node in nodes
    )
