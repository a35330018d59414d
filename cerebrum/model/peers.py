"""Rules about other tasks: who may run beside whom, and what only one of them may hold.

Semantics follow Kubernetes' inter-pod affinity and anti-affinity (symmetry included), topology
spread, host ports and ReadWriteOncePod claims. `PeerRules` are what a task class asks of others;
`TaskLabels` are what others can ask about a task.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cerebrum.model.constraints import Requirement
from cerebrum.model.errors import InputError

Pairs = tuple[tuple[str, str], ...]
ANY_IP = "0.0.0.0"
_PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True, slots=True)
class TaskLabels:
    """What selectors of other tasks see of a task. Label pairs are sorted by key.

    `namespace_labels` are those of its namespace, for selectors of namespaces.
    """

    namespace: str = "default"
    labels: Pairs = ()
    namespace_labels: Pairs = ()


UNLABELLED = TaskLabels()


@dataclass(frozen=True, slots=True)
class PeerSelector:
    """Tasks a rule is about: of these namespaces, with labels that meet every requirement.

    A task's namespace counts when it is listed in `namespaces`, or when its labels meet every
    requirement of `namespace_labels` (None: nothing more; empty: every namespace). No
    `requirements` match every task; `nothing` matches none (Kubernetes' absent selector).
    """

    requirements: tuple[Requirement, ...] = ()
    namespaces: tuple[str, ...] = ()
    namespace_labels: tuple[Requirement, ...] | None = None
    nothing: bool = False

    def matches(self, task: TaskLabels) -> bool:
        """Whether the rule is about a task with these labels."""
        if self.nothing or not self._admits(task):
            return False
        labels = dict(task.labels)
        return all(requirement.matches(labels) for requirement in self.requirements)

    def _admits(self, task: TaskLabels) -> bool:
        if task.namespace in self.namespaces:
            return True
        if self.namespace_labels is None:
            return False
        labels = dict(task.namespace_labels)
        return all(requirement.matches(labels) for requirement in self.namespace_labels)


@dataclass(frozen=True, slots=True)
class PeerTerm:
    """Tasks of `selector`, on nodes with the same value of the label `topology_key`."""

    selector: PeerSelector
    topology_key: str

    def __post_init__(self) -> None:
        if not self.topology_key:
            raise InputError("expected the key of a node label").at(field="topologyKey")


@dataclass(frozen=True, slots=True)
class Spread:
    """Tasks of `selector` differ in number by at most `max_skew` between values of a node label.

    The least crowded value counts as empty while there are fewer than `min_domains` values. Nodes
    that the task's own selector and affinity exclude do not count if `honor_affinity`, those with
    taints it does not tolerate do not if `honor_taints`.
    """

    selector: PeerSelector
    topology_key: str
    max_skew: int = 1
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    def __post_init__(self) -> None:
        if not self.topology_key:
            raise InputError("expected the key of a node label").at(field="topologyKey")
        for name, value in (("maxSkew", self.max_skew), ("minDomains", self.min_domains)):
            if not 1 <= value < 2**31:
                raise InputError(f"expected at least 1, got {value}").at(field=name)


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A port of the node itself. The same port and protocol clash on one IP, or if one is any."""

    port: int
    protocol: str = "TCP"
    ip: str = ANY_IP

    def __post_init__(self) -> None:
        if not 1 <= self.port < 2**16:
            raise InputError(f"expected 1..65535, got {self.port}").at(field="hostPort")
        if self.protocol not in _PROTOCOLS:
            raise InputError(f"expected one of {', '.join(_PROTOCOLS)}, got {self.protocol!r}").at(
                field="protocol"
            )

    def clashes(self, other: HostPort) -> bool:
        """Whether both cannot be had on one node."""
        if (self.port, self.protocol) != (other.port, other.protocol):
            return False
        return ANY_IP in (self.ip, other.ip) or self.ip == other.ip


@dataclass(frozen=True, slots=True)
class PeerRules:
    """What a task class asks of the other tasks on the same nodes, racks, zones.

    `near` all hold: some task of the term's selector runs in the node's domain. A task that meets
    all its own terms may be the first of its kind. `apart` none does; and no running task's
    `apart` term is about this task in its domain (symmetry). `spread` all hold. `ports` of the
    node. `exclusive` names that one running task at a time may hold, wherever it runs. The
    `prefer_*` pairs (weight 1..100, rule) are wishes, which scorers may look at; a wish to
    spread has no weight.
    """

    near: tuple[PeerTerm, ...] = ()
    apart: tuple[PeerTerm, ...] = ()
    spread: tuple[Spread, ...] = ()
    ports: tuple[HostPort, ...] = ()
    exclusive: tuple[str, ...] = ()
    prefer_near: tuple[tuple[int, PeerTerm], ...] = ()
    prefer_apart: tuple[tuple[int, PeerTerm], ...] = ()
    prefer_spread: tuple[Spread, ...] = field(default=())

    @property
    def demanding(self) -> bool:
        """Whether any rule is more than a wish."""
        return bool(self.near or self.apart or self.spread or self.ports or self.exclusive)


NO_RULES = PeerRules()
