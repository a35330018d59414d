"""Kubernetes Node objects -> nodes.

A cordoned node has the taint `node.kubernetes.io/unschedulable`, as in a cluster, where pods that
tolerate it may still go there.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from cerebrum.kube import names
from cerebrum.kube.fields import Fields
from cerebrum.kube.objects import CSINode
from cerebrum.kube.volumes import attach_limits, attachable
from cerebrum.model import quantity
from cerebrum.model.cluster import DEFAULT_SLOTS, Node, Taint
from cerebrum.model.errors import InputError
from cerebrum.model.resources import GPU_MILLI as WHOLE
from cerebrum.model.resources import Resources, extended_resources

MAX_SLOTS = 2**15 - 1
"""Pods a node may take: what the engine's node record holds."""


def read_node(item: Fields, extended: AbstractSet[str], csi: CSINode | None = None) -> Node:
    """The node of a file, with those extended resources that tasks ask for; errors have a line.

    `csi` limits the volumes its drivers can attach.
    """
    name = item.child("metadata").text("name")
    offered = item.at("status", "allocatable")
    if not offered.data:
        offered = item.at("status", "capacity")
    if not offered.data:
        raise item.error("expected what the node offers, found nothing", "status", "allocatable")
    labels = item.child("metadata").labels("labels")
    gpus = _gpu_count(offered)
    model = next((labels[key] for key in names.MODEL_LABELS if labels.get(key)), "") if gpus else ""
    amounts = {key: offered.parse(key, _count, 0) for key in offered.data if key in extended}
    limits = attach_limits(csi) if csi else {}
    for key in extended:
        if key.startswith(names.ATTACHABLE) and (csi or key not in amounts):
            amounts[key] = attachable(key, limits)
    spec = item.child("spec")
    capacity = item.checked(
        lambda: Resources(
            cpu_milli=offered.parse("cpu", quantity.cpu_milli, 0),
            memory_mib=_whole_mib(offered),
            gpu_count=gpus,
            gpu_milli=WHOLE if gpus else 0,
            cache_ways=offered.parse(names.CACHE_WAYS, _count, 0),
            extended=extended_resources(amounts),
        ),
        *offered.keys[len(item.keys) :],
    )
    slots = offered.parse("pods", _slots, DEFAULT_SLOTS)
    taints = with_cordon(
        tuple(_taint(taint) for taint in spec.children("taints")), spec.flag("unschedulable")
    )
    return item.checked(
        lambda: Node(
            name=name,
            capacity=capacity,
            gpu_model=model,
            slots=slots,
            labels=labels,
            taints=taints,
        )
    )


def _whole_mib(offered: Fields) -> int:
    """Memory rounded down: what is offered must be there."""
    return offered.parse("memory", _floor_mib, 0)


def _floor_mib(value: str | int | float) -> int:
    exact = quantity.parse_quantity(value, "memory")
    if exact < 0:
        raise InputError(f"expected a quantity of at least 0, got {str(value)!r}")
    return int(exact // 2**20)


def _gpu_count(offered: Fields) -> int:
    """Whole GPUs, and a check that the shares the node offers are theirs."""
    key = names.GPU_COUNT if names.GPU_COUNT in offered else names.GPU
    gpus = offered.parse(key, _count, 0)
    milli = offered.parse(names.GPU_MILLI, _count, gpus * WHOLE)
    if milli != gpus * WHOLE:
        raise offered.error(
            f"expected {gpus * WHOLE} for {gpus} GPUs, got {milli}", names.GPU_MILLI
        )
    return gpus


def _taint(item: Fields) -> Taint:
    key, value, effect = item.text("key"), item.text("value", ""), item.text("effect")
    return item.checked(lambda: Taint(key, value, effect), "effect")  # type: ignore[arg-type]


def _slots(value: str | int | float) -> int:
    slots = quantity.count(value)
    if slots > MAX_SLOTS:
        raise InputError(f"expected 0..{MAX_SLOTS}, got {slots}")
    return slots


def _count(value: str | int | float) -> int:
    return quantity.count(value)


def with_cordon(taints: tuple[Taint, ...], unschedulable: bool) -> tuple[Taint, ...]:
    """The taints of a node, that of a cordon among them if it is cordoned."""
    cordon = Taint(names.UNSCHEDULABLE)
    if not unschedulable or any((t.key, t.effect) == (cordon.key, cordon.effect) for t in taints):
        return taints
    return (*taints, cordon)
