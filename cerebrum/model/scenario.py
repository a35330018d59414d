"""A scenario holds everything needed to replay; a read report says what a reader kept of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.tasks import TaskClass, TaskTable


class NodeChange(StrEnum):
    """What can happen to a node while tasks run on it."""

    JOIN = "join"  # a new node
    CORDON = "cordon"  # nothing new is placed; running tasks go on
    UNCORDON = "uncordon"
    DRAIN = "drain"  # cordon, and running tasks are preempted and go back to the queue
    LEAVE = "leave"  # cordon; removed when the last running task ends
    FAIL = "fail"  # gone at once; running tasks fail and are retried
    UPDATE = "update"  # other capacity, labels, taints; what runs there goes on, even if too much


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """`change` happens to the node `name` at `time_s`; JOIN and UPDATE bring the `node` itself."""

    time_s: float
    change: NodeChange
    name: str
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Rows a reader saw, kept, and dropped by reason; `notes` say what was assumed."""

    read: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.read:,} rows read, {self.kept:,} kept"]
        parts += [f"{count:,} dropped ({reason})" for reason, count in self.dropped.items()]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A cluster, the tasks that arrive and what happens to the nodes.

    `typical` is the class mix fragmentation is measured against: (class, weight) pairs; None
    derives it from the tasks (FGD: classes by popularity until 95 % are covered). `max_attempts`
    bounds how often a failed or preempted task starts. `profile` holds policy settings a config
    file brought along. `start_unix_s` is the Unix time of second 0, where the trace says. `bound`
    are tasks that run already when the scenario starts: name -> name of the node and mask of its
    GPUs (0: any that are free). They are facts, whether they fit or not.
    """

    cluster: Cluster
    tasks: TaskTable
    name: str = "scenario"
    node_events: tuple[NodeEvent, ...] = ()
    typical: tuple[tuple[TaskClass, float], ...] | None = None
    max_attempts: int = 10
    source: str = ""
    report: ReadReport = field(default_factory=ReadReport)
    profile: Mapping[str, object] | None = None
    start_unix_s: float | None = None
    bound: Mapping[str, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))
