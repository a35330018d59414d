"""What kube-scheduler asks an extender and hears from it: the exact names of its Go types.

`k8s.io/kube-scheduler/extender/v1`. Lists and maps may be null. Decoded from the raw body: a
thousand names take 20 us.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct, field

from cerebrum.kube.objects import Pod

MAX_NODES = 50_000
MAX_SCORE = 10
"""`MaxExtenderPriority`."""


class NodeList(Struct):
    """Whole nodes, which we hand back as they came."""

    items: list[Raw] | None = None


class ExtenderArgs(Struct, rename="pascal"):
    """Of filter and prioritize: a pod and the nodes in question, whole or by name."""

    pod: Pod
    nodes: NodeList | None = None
    node_names: list[str] | None = None


class FilterResult(Struct, rename="pascal"):
    """`node_names` or `nodes`, as they were asked for: those that can take the pod."""

    node_names: list[str] | None = None
    nodes: NodeList | None = None
    failed_nodes: dict[str, str] = {}
    failed_and_unresolvable_nodes: dict[str, str] = {}
    error: str = ""


class HostPriority(Struct, rename="pascal", gc=False):
    """0 to `MAX_SCORE`."""

    host: str
    score: int


class BindingArgs(Struct, rename="pascal"):
    """Bind this pod to this node."""

    pod_name: str
    pod_namespace: str
    node: str
    pod_uid: str = field(name="PodUID")


class BindingResult(Struct, rename="pascal"):
    """Empty where it is bound."""

    error: str = ""


class MetaPod(Struct):
    """A pod by its uid."""

    uid: str = field(name="UID")


class MetaVictims(Struct, rename="pascal"):
    """Who would have to go on a node, and how many disruption budgets that violates."""

    pods: list[MetaPod] | None = None
    violations: int = field(name="NumPDBViolations", default=0)


class PreemptionArgs(Struct, rename="pascal"):
    """Nodes with the victims that kube-scheduler found, by uid or as whole pods."""

    pod: Pod
    meta: dict[str, MetaVictims] | None = field(name="NodeNameToMetaVictims", default=None)
    whole: dict[str, Raw] | None = field(name="NodeNameToVictims", default=None)


class PreemptionResult(Struct):
    """Nodes left, with the victims there."""

    victims: dict[str, MetaVictims] = field(name="NodeNameToMetaVictims")


class _Named(Struct):
    name: str


class _Node(Struct):
    metadata: _Named


def names_of(args: ExtenderArgs) -> list[str]:
    """The nodes in question. Raises `msgspec.ValidationError` for nodes without a name."""
    if args.node_names is not None:
        return args.node_names
    items = (args.nodes.items if args.nodes is not None else None) or []
    return [msgspec.json.decode(item, type=_Node).metadata.name for item in items]
