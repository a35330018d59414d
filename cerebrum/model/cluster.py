"""Nodes and clusters: capacity, labels, taints, GPU model, power model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from cerebrum.model.errors import InputError
from cerebrum.model.resources import Resources

EffectName = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
DEFAULT_SLOTS = 110
"""Pods a node takes when nothing is said: Kubernetes' default."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node keeps away tasks that do not tolerate `key=value:effect`."""

    key: str
    value: str = ""
    effect: EffectName = "NoSchedule"

    def __post_init__(self) -> None:
        if not self.key:
            raise InputError("expected a key").at(field="taint")
        if self.effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise InputError(
                f"expected NoSchedule, PreferNoSchedule or NoExecute, got {self.effect!r}"
            ).at(field="effect")

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.key}{value}:{self.effect}"


@dataclass(frozen=True, slots=True)
class PowerModel:
    """Watts of one node, linear between idle and full (PWR, arXiv 2412.17484, section III).

    CPU: packages of `cpu_package_milli`; a package with work draws `cpu_full_w`, an idle one
    `cpu_idle_w`. GPU: one with any work draws `gpu_full_w`, a free one `gpu_idle_w`.
    """

    cpu_idle_w: float = 0.0
    cpu_full_w: float = 0.0
    cpu_package_milli: int = 32_000
    gpu_idle_w: float = 0.0
    gpu_full_w: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpu_idle_w", "cpu_full_w", "gpu_idle_w", "gpu_full_w"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"expected finite watts of at least 0, got {value}").at(field=name)
        if self.cpu_package_milli < 1:
            raise InputError("expected at least 1").at(field="cpu_package_milli")


@dataclass(frozen=True, slots=True)
class Node:
    """One schedulable machine. `gpu_model` is '' when it has no GPUs; `speed` scales run time."""

    name: str
    capacity: Resources
    gpu_model: str = ""
    slots: int = DEFAULT_SLOTS
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    taints: tuple[Taint, ...] = ()
    power: PowerModel | None = None
    speed: float = 1.0
    schedulable: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("expected a name").at(field="name")
        if self.capacity.gpu_count and self.capacity.gpu_milli != 1000:
            raise InputError("expected whole GPUs (1000)").at(field="gpu_milli")
        if not 0 <= self.slots < 2**15:
            raise InputError(f"expected 0..32767, got {self.slots}").at(field="slots")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise InputError(f"expected a finite speed above 0, got {self.speed}").at(field="speed")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes under one local agent, in one grid zone. Node names are unique."""

    nodes: tuple[Node, ...]
    name: str = "cluster"
    zone: str = ""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise InputError(f"node {node.name!r} is named twice").at(field="name")
            seen.add(node.name)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @property
    def gpu_capacity(self) -> int:
        """GPUs in the cluster."""
        return sum(node.capacity.gpu_count for node in self.nodes)
