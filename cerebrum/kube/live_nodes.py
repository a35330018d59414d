"""Nodes of a live cluster: whatever an object says, a node comes of it, and the rest is told.

Amounts that make no sense count as 0 and those beyond the engine's range as its end: a node is
never left out, since pods run on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import cast

from cerebrum.kube import names, objects
from cerebrum.kube.nodes import MAX_SLOTS, with_cordon
from cerebrum.kube.volumes import UNLIMITED, attach_limits, attachable
from cerebrum.model import quantity
from cerebrum.model.cluster import EffectName, Node, Taint
from cerebrum.model.errors import InputError
from cerebrum.model.resources import GPU_MILLI as WHOLE
from cerebrum.model.resources import MAX_GPUS, Resources, extended_resources

_NO_LIMITS: Mapping[str, int] = {}


@dataclass(slots=True)
class _Offer:
    """What a node says it offers, and what was wrong with that."""

    amounts: Mapping[str, objects.Quantity | None]
    problems: list[str] = field(default_factory=list[str])

    def amount(
        self, name: str, parse: Callable[[objects.Quantity], int], high: int = UNLIMITED
    ) -> int:
        """One amount within 0..high."""
        value = self.amounts.get(name)
        if value is None:
            return 0
        try:
            found = parse(value)
        except InputError as error:
            self.problems.append(f"status.allocatable[{name}]: {error.problem}")
            return 0
        if found > high:
            self.problems.append(f"status.allocatable[{name}]: {value} counts as {high}")
        return min(found, high)


def live_node(
    item: objects.Node,
    extended: AbstractSet[str] = frozenset(),
    csi: objects.CSINode | None = None,
) -> tuple[Node, tuple[str, ...]]:
    """The node, with those extended resources that pods ask for, and what is wrong with it.

    Never raises for what an object may hold. `csi` limits the volumes its drivers can attach.
    """
    offer = _Offer(item.status.allocatable or {})
    if not offer.amounts:
        offer.problems.append("status.allocatable: expected what the node offers, found nothing")
    labels = item.metadata.labels or {}
    gpus = _gpus(offer)
    model = next((labels[key] for key in names.MODEL_LABELS if labels.get(key)), "") if gpus else ""
    node = Node(
        name=item.metadata.name or "?",
        capacity=Resources(
            cpu_milli=offer.amount("cpu", quantity.cpu_milli),
            memory_mib=offer.amount("memory", _floor_mib),
            gpu_count=gpus,
            gpu_milli=WHOLE if gpus else 0,
            cache_ways=offer.amount(names.CACHE_WAYS, quantity.count),
            extended=_extended(offer, extended, attach_limits(csi) if csi else _NO_LIMITS),
        ),
        gpu_model=model,
        slots=offer.amount("pods", quantity.count, MAX_SLOTS),
        labels=labels,
        taints=with_cordon(_taints(item, offer), bool(item.spec.unschedulable)),
    )
    return node, tuple(offer.problems)


def _floor_mib(value: objects.Quantity) -> int:
    exact = quantity.parse_quantity(value, "memory")
    if exact < 0:
        raise InputError(f"expected a quantity of at least 0, got {str(value)!r}")
    return int(exact // 2**20)


def _gpus(offer: _Offer) -> int:
    key = names.GPU_COUNT if offer.amounts.get(names.GPU_COUNT) is not None else names.GPU
    return offer.amount(key, quantity.count, MAX_GPUS)


def _extended(
    offer: _Offer, asked: AbstractSet[str], limits: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for name in asked:
        if name.startswith(names.ATTACHABLE) and (limits or name not in offer.amounts):
            found[name] = attachable(name, limits)
        else:
            found[name] = offer.amount(name, quantity.count)
    return extended_resources(found)


def _taints(item: objects.Node, offer: _Offer) -> tuple[Taint, ...]:
    found: list[Taint] = []
    for taint in item.spec.taints or ():
        try:
            found.append(Taint(taint.key, taint.value, cast(EffectName, taint.effect)))
        except InputError as error:
            offer.problems.append(f"spec.taints: {error}")
    return tuple(found)
