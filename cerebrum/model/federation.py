"""Several clusters and the links between them; a workflow cut into parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import InputError
from cerebrum.model.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Link:
    """One way between two clusters, or between two nodes of one cluster.

    `latency_s` seconds; `bandwidth_mb_s` 10^6 bytes a second (inf: free of charge in time);
    `cost_per_gb` money per 10^9 bytes.
    """

    latency_s: float = 0.0
    bandwidth_mb_s: float = math.inf
    cost_per_gb: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.latency_s) and self.latency_s >= 0):
            raise InputError(f"expected finite seconds of at least 0, got {self.latency_s}").at(
                field="latency_s"
            )
        if not self.bandwidth_mb_s > 0:
            raise InputError(f"expected more than 0, got {self.bandwidth_mb_s}").at(
                field="bandwidth_mb_s"
            )
        if not (math.isfinite(self.cost_per_gb) and self.cost_per_gb >= 0):
            raise InputError(f"expected at least 0, got {self.cost_per_gb}").at(field="cost_per_gb")


@dataclass(frozen=True, eq=False)
class Network:
    """Links between k clusters: float64[k, k], row = from, column = to.

    The diagonal is the link between two nodes of one cluster. Data on one node moves in no time.
    """

    latency_s: NDArray[np.float64]
    bandwidth_mb_s: NDArray[np.float64]
    cost_per_gb: NDArray[np.float64]

    def __post_init__(self) -> None:
        k = len(self.latency_s)
        for name, low in (("latency_s", 0.0), ("bandwidth_mb_s", 0.0), ("cost_per_gb", 0.0)):
            values = getattr(self, name)
            if values.shape != (k, k):
                raise InputError(f"expected {k} x {k} values").at(field=name)
            strict = name == "bandwidth_mb_s"
            if not ((values > low) if strict else (values >= low) & np.isfinite(values)).all():
                raise InputError("expected numbers that make sense for a link").at(field=name)

    @classmethod
    def uniform(cls, clusters: int, between: Link, within: Link | None = None) -> Network:
        """The same link between any two clusters; `within` each (None: free)."""
        inner = within or Link()
        own = np.eye(clusters, dtype=np.bool_)
        return cls(
            np.where(own, inner.latency_s, between.latency_s),
            np.where(own, inner.bandwidth_mb_s, between.bandwidth_mb_s),
            np.where(own, inner.cost_per_gb, between.cost_per_gb),
        )

    def __len__(self) -> int:
        return len(self.latency_s)

    def transfer_s(self, source: int, target: int, volume_mb: float) -> float:
        """Seconds to move a volume between nodes of these clusters; 0 for no data."""
        if volume_mb <= 0:
            return 0.0
        move = volume_mb / float(self.bandwidth_mb_s[source, target])
        return float(self.latency_s[source, target]) + move


@dataclass(frozen=True, eq=False)
class Federation:
    """Clusters in a fixed order and the network between them."""

    clusters: tuple[Cluster, ...]
    network: Network

    def __post_init__(self) -> None:
        if len(self.clusters) != len(self.network):
            raise InputError(
                f"{len(self.clusters)} clusters, but a network of {len(self.network)}"
            ).at(field="network")
        names = [cluster.name for cluster in self.clusters]
        if len(set(names)) != len(names):
            raise InputError("expected distinct cluster names").at(field="clusters")


class Capacity(Protocol):
    """What a node has: `Resources` of the model, and nodes as agents declare them."""

    @property
    def cpu_milli(self) -> int:
        """Thousandths of a core."""
        ...

    @property
    def memory_mib(self) -> int:
        """MiB."""
        ...

    @property
    def gpu_count(self) -> int:
        """Whole GPUs."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the controller knows of a cluster when it assigns work: one row of its snapshot.

    Amounts are totals over usable nodes. `largest_*` is the largest node, which bounds what one
    task may ask for. `backlog_core_s` is assigned work that has not ended, reservations included,
    in core-seconds at speed 1. `speed` is the mean node speed. `forecast_cpu` is the forecast share
    of CPU in use by others over the next half hour (0..1), 0 when nothing is forecast.
    `node_speeds` the speed of each usable node, empty where only the mean is known.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    gpu_count: int = 0
    nodes: int = 1
    largest_cpu_milli: int = 0
    largest_memory_mib: int = 0
    largest_gpu_count: int = 0
    cpu_free_milli: int = 0
    memory_free_mib: int = 0
    backlog_core_s: float = 0.0
    speed: float = 1.0
    forecast_cpu: float = 0.0
    zone: str = ""
    gpu_models: tuple[str, ...] = ()
    node_speeds: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        capacities: Sequence[Capacity],
        speeds: Sequence[float],
        gpu_models: Iterable[str],
        speed: float | None = None,
        **known: Any,
    ) -> Self:
        """The row of a cluster by its usable nodes; `known` are further fields by name.

        Idle unless `known` says what is free; `speed` None: the plain mean.
        """
        cpu = [capacity.cpu_milli for capacity in capacities]
        memory = [capacity.memory_mib for capacity in capacities]
        gpus = [capacity.gpu_count for capacity in capacities]
        totals: dict[str, Any] = {
            "cpu_milli": sum(cpu), "memory_mib": sum(memory), "gpu_count": sum(gpus),
            "cpu_free_milli": sum(cpu), "memory_free_mib": sum(memory),
        }  # fmt: skip
        if speed is None:
            speed = float(np.mean(speeds)) if speeds else 1.0
        return cls(
            name=name,
            nodes=len(cpu),
            largest_cpu_milli=max(cpu, default=0),
            largest_memory_mib=max(memory, default=0),
            largest_gpu_count=max(gpus, default=0),
            speed=speed,
            gpu_models=tuple(sorted({model for model in gpu_models if model})),
            node_speeds=tuple(speeds),
            **totals | known,
        )


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A workflow cut into parts: `part` int32[tasks], parts numbered from 0 in an order in which no
    part depends on a later one (the quotient graph is acyclic).

    `preferred` int32[parts], -1 for none: the cluster (its index) a decomposer cut a part for. An
    assigner may start from it, and must check it: clusters change between the two.

    Raises `InputError` when the numbering is not such an order or leaves a number out.
    """

    workflow: Workflow = field(repr=False)
    part: NDArray[np.int32]
    preferred: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if len(self.part) != len(self.workflow):
            raise InputError(f"expected a part for each of {len(self.workflow)} tasks")
        used = np.unique(self.part)
        if len(used) and (used[0] != 0 or used[-1] != len(used) - 1):
            raise InputError("expected parts numbered from 0 without gaps")
        if (self.part[self.workflow.before] > self.part[self.workflow.after]).any():
            raise InputError("a part depends on a later one: the quotient is not in order")
        if self.preferred is not None and len(self.preferred) != len(used):
            raise InputError(f"expected a preferred cluster for each of {len(used)} parts")

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return int(self.part.max()) + 1 if len(self.part) else 0

    @property
    def cut_mb(self) -> float:
        """10^6 bytes that flow between parts."""
        w = self.workflow
        return float(w.volume_mb[self.part[w.before] != self.part[w.after]].sum())

    def work_core_s(self) -> NDArray[np.float64]:
        """float64[parts]: core-seconds of each part."""
        tasks = self.workflow.tasks
        cores = np.maximum(1, tasks.request("cpu_milli")) / 1000
        work = np.zeros(self.parts)
        np.add.at(work, self.part, tasks.duration_s * cores)
        return work

    @property
    def balance(self) -> float:
        """Largest part over mean part, by core-seconds: 1 is even."""
        work = self.work_core_s()
        return float(work.max() / work.mean()) if len(work) and work.sum() > 0 else 1.0

    def tasks_of(self, part: int) -> NDArray[np.int32]:
        """Tasks of a part, ascending."""
        return np.flatnonzero(self.part == part).astype(np.int32)


ClusterViews = Sequence[ClusterView]
