"""An auction: each cluster bids for a part from what it knows itself, the highest bid wins.

The contract net (Smith, IEEE Trans. Computers C-29(12), 1980) with a sealed bid for one part at a
time. `bid` and `award` are pure functions: agents call `bid` on their own view, the controller
calls `award`, and `Auction.assign` does both in one place, for simulation. A learned bidder takes
the place of `bid`: `auction:bidder=./mine.py:bid`.

Our bid is the negated time at which the cluster expects to have finished the part: when its
backlog is done and the data is there, plus the run time, which is bounded by the part's critical
path and by its work over the capacity that the forecast leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import ClusterView, ClusterViews, Decomposition, Network
from cerebrum.policies.assignment._checks import held
from cerebrum.policies.decomposition._feasible import feasible_parts
from cerebrum.policies.decomposition._problem import core_seconds
from cerebrum.policies.decomposition.report import part_critical_path_s

_LEAST_LEFT = 0.05  # of the CPU, whatever is forecast: a full cluster bids low, not never


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What bidders are told of a part. `core_s` core-seconds and `critical_path_s` seconds, both at
    speed 1; `largest_*` what its largest task asks for; `data_mb` 10^6 bytes it reads, by the name
    of the cluster they lie in."""

    tasks: int
    core_s: float
    critical_path_s: float
    largest_cpu_milli: int = 0
    largest_memory_mib: int = 0
    largest_gpu_count: int = 0
    data_mb: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Bid:
    """`value`: higher wins. `finish_s` seconds from now until the bidder expects to be done."""

    value: float
    finish_s: float


Bidder = Callable[[ClusterView, PartSummary, Network, Sequence[str]], Bid | None]
"""(own view, part, network, cluster names in the network's order) -> a bid, None for no bid."""


def bid(view: ClusterView, part: PartSummary, network: Network, names: Sequence[str]) -> Bid | None:
    """The expected finish of a part in a cluster; None when its largest task fits on no node.

    Data in a cluster that is not in `names` counts as if it were here already.
    """
    if (
        view.nodes < 1
        or part.largest_cpu_milli > view.largest_cpu_milli
        or part.largest_memory_mib > view.largest_memory_mib
        or part.largest_gpu_count > view.largest_gpu_count
    ):
        return None
    speed = view.speed * max(_LEAST_LEFT, 1.0 - view.forecast_cpu)
    rate = max(1e-9, speed * view.cpu_milli / 1000)  # core-seconds a second
    run_s = max(part.critical_path_s / speed, part.core_s / rate)
    finish_s = max(view.backlog_core_s / rate, _arrival_s(view, part, network, names)) + run_s
    return Bid(-finish_s, finish_s)


def award(bids: Sequence[Bid | float | None]) -> int:
    """Index of the highest bid, the first of equal ones; -1 when there is none.

    A bid that is not a finite number is none: a broken bidder must not win.
    """
    best, highest = -1, -math.inf
    for i, one in enumerate(bids):
        value = one.value if isinstance(one, Bid) else one
        if value is not None and math.isfinite(value) and value > highest:
            best, highest = i, value
    return best


def summaries(decomposition: Decomposition) -> list[PartSummary]:
    """Every part as bidders see it, without the places of its data, which are not known yet."""
    w, part, parts = decomposition.workflow, decomposition.part, decomposition.parts
    work = np.bincount(part, weights=core_seconds(w), minlength=parts)
    path, size = part_critical_path_s(decomposition), np.bincount(part, minlength=parts)
    largest: dict[str, NDArray[np.int64]] = {}
    for name in ("cpu_milli", "memory_mib", "gpu_count"):
        largest[name] = np.zeros(parts, np.int64)
        np.maximum.at(largest[name], part, w.tasks.request(name))
    return [
        PartSummary(
            int(size[i]),
            float(work[i]),
            float(path[i]),
            int(largest["cpu_milli"][i]),
            int(largest["memory_mib"][i]),
            int(largest["gpu_count"][i]),
        )
        for i in range(parts)
    ]


class Auction:
    """Parts are auctioned in topological order; what was awarded is backlog in later bids.

    `bidder` replaces `bid`: a function, `./mine.py:function` or `learned:MODEL`. No randomness:
    `key` is not used.
    """

    name = "auction"

    def __init__(self, bidder: Bidder | str = bid) -> None:
        self.bidder = load_bidder(bidder)

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: NDArray[np.int32] | None = None,
        key: int = 0,
    ) -> NDArray[np.int32]:
        """int32[parts]: index of the cluster, -1 where none can hold the part's tasks."""
        chosen = held(decomposition, clusters, placed)
        names = [view.name for view in clusters]
        views: list[ClusterView] = list(clusters)
        can = feasible_parts(decomposition.workflow.tasks, decomposition.part, clusters)
        data = _Data(decomposition, names)
        for number, summary in enumerate(summaries(decomposition)):
            if chosen[number] < 0:
                part = replace(summary, data_mb=data.of(number, chosen))
                bids = [
                    self.bidder(view, part, network, names) if can[number, c] else None
                    for c, view in enumerate(views)
                ]
                chosen[number] = award(bids)
            winner = int(chosen[number])
            if winner >= 0:
                backlog = views[winner].backlog_core_s + summary.core_s
                views[winner] = replace(views[winner], backlog_core_s=backlog)
        return chosen


class _Data:
    """Where the inputs of a part lie, once the parts before it have clusters."""

    def __init__(self, decomposition: Decomposition, names: Sequence[str]) -> None:
        w = decomposition.workflow
        source, target = decomposition.part[w.before], decomposition.part[w.after]
        crossing = np.flatnonzero(source != target)
        order = crossing[np.argsort(target[crossing], kind="stable")]
        self._source, self._volume_mb, self._names = source[order], w.volume_mb[order], names
        self._first = np.searchsorted(target[order], np.arange(decomposition.parts + 1))

    def of(self, part: int, chosen: NDArray[np.int32]) -> dict[str, float]:
        """10^6 bytes by the name of a cluster."""
        rows = slice(int(self._first[part]), int(self._first[part + 1]))
        at, volume = chosen[self._source[rows]], self._volume_mb[rows]
        known = at >= 0
        total = np.bincount(at[known], weights=volume[known], minlength=len(self._names))
        return {name: float(mb) for name, mb in zip(self._names, total, strict=True) if mb > 0}


def _arrival_s(
    view: ClusterView, part: PartSummary, network: Network, names: Sequence[str]
) -> float:
    """When the slowest input is here; all come at the same time."""
    if view.name not in names:
        return 0.0
    here = names.index(view.name)
    transfers = (
        network.transfer_s(names.index(name), here, mb)
        for name, mb in part.data_mb.items()
        if name in names and name != view.name
    )
    return max(transfers, default=0.0)


def load_bidder(bidder: Bidder | str) -> Bidder:
    """A bidder by `./mine.py:function` or `learned:MODEL`, or as it is."""
    if isinstance(bidder, str):
        from cerebrum.policies import loading
        from cerebrum.policies.assignment.learned_bids import PREFIX, LearnedBids

        if bidder.startswith(PREFIX):
            return LearnedBids(bidder.removeprefix(PREFIX))
        bidder = cast(Bidder, loading.load(bidder))
    if not callable(bidder):
        raise ConfigError(f"expected a function, got {bidder!r}").at(field="bidder")
    return bidder
