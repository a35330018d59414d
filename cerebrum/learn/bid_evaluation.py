"""Bidders against heuristics and each other on the same episodes, seed by seed.

Every policy places the same tasks at the same times on the same nodes. Heuristics are the engine's
own scorers; ties of all go to the first node by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cerebrum.engine.compiled import kernel
from cerebrum.learn.bid_team import REWARD, cost_kwh
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import Encoder, get_encoder
from cerebrum.learn.rewards import NAMES
from cerebrum.learn.sources import Source
from cerebrum.model.bootstrap import interval
from cerebrum.policies.allocation import least_allocated, most_allocated
from cerebrum.policies.best_fit import best_fit
from cerebrum.policies.fgd import fgd
from cerebrum.policies.learned.bidder import HIGHEST_BID, Bidder, award
from cerebrum.policies.learned.schema import Feature, Schema
from cerebrum.policies.pwr import pwr

Observed = NDArray[np.float32]


@dataclass(frozen=True)
class Chooser:
    """Who decides. `encoder` is what it looks at of each node, nothing beside it, as all nodes are
    looked at for every task; `rows` gives the rows to bind to, int64[E], -1 to pass."""

    encoder: Encoder
    rows: Callable[[Clusters], NDArray[np.int64]]


_best_fit, _fgd, _pwr = kernel(best_fit.function), kernel(fgd.function), kernel(pwr.function)
_least, _most = kernel(least_allocated.function), kernel(most_allocated.function)


def _by_best_fit(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    out[0] = _best_fit(before, after, task, typical)


def _by_least(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    out[0] = _least(before, after, task, typical)


def _by_most(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    out[0] = _most(before, after, task, typical)


def _by_fgd(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    out[0] = _fgd(before, after, task, typical)


def _by_pwr(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    out[0] = _pwr(before, after, task, typical)


_SCORES = {
    "best-fit": _by_best_fit,
    "least-allocated": _by_least,
    "most-allocated": _by_most,
    "fgd": _by_fgd,
    "pwr": _by_pwr,
}
HEURISTICS = tuple(_SCORES)


@cache
def _scored(name: str) -> Encoder:
    """A node as the scorer sees it: one number."""
    return Encoder(Schema(name, 1, (Feature("score", "1", 1.0, "of the scorer"),)), _SCORES[name])


def highest(encoder: Encoder, worth: Callable[[Observed], NDArray[np.floating]]) -> Chooser:
    """The node with the highest `worth`, [E, N] of what `encoder` shows of all, [E, N, F]."""

    def rows(clusters: Clusters) -> NDArray[np.int64]:
        scores = np.where(clusters.mask, worth(clusters.observation), -np.inf)
        return scores.argmax(axis=1)

    return Chooser(encoder, rows)


def heuristic(name: str) -> Chooser:
    """The node that a scorer likes best."""
    return highest(_scored(name), lambda seen: seen[..., 0])


def random_bids(seed: int) -> Chooser:
    """Every node bids 1..10 by lot."""
    rng = np.random.default_rng(seed)

    def rows(clusters: Clusters) -> NDArray[np.int64]:
        return award(rng.integers(1, HIGHEST_BID + 1, clusters.mask.shape), clusters.mask)

    return Chooser(_scored("best-fit"), rows)


def learned(bidder: Bidder, encoder: Encoder | None = None) -> Chooser:
    """Every node bids what its network says of what `encoder` (None: `bid`) shows of it."""

    def rows(clusters: Clusters) -> NDArray[np.int64]:
        mask = clusters.mask
        bids = np.zeros(mask.shape, np.int64)
        seen = clusters.observation[mask]  # a node without room need not be asked
        bids[mask] = bidder.values(seen).argmax(axis=-1)
        return award(bids, mask)

    return Chooser(encoder or get_encoder("bid"), rows)


def seen(
    clusters: Clusters, chooser: Chooser, seeds: Sequence[int], steps: int, every: int = 1
) -> NDArray[np.float32]:
    """float32[n, features]: what nodes with room see at every so many steps, while it decides."""
    clusters.reset(seeds)
    found: list[NDArray[np.float32]] = []
    for step in range(steps):
        if step % every == 0:
            found.append(clusters.observation[clusters.mask])
        clusters.step(chooser.rows(clusters))
    return np.concatenate(found)


@dataclass(frozen=True)
class Outcome:
    """By episode, [each, seeds]: `cost_kwh` the team objective, `energy_kwh`, `rejected_nodes` the
    work rejected, in nodes, and how many nodes and decisions there were."""

    cost_kwh: NDArray[np.float64]
    energy_kwh: NDArray[np.float64]
    rejected_nodes: NDArray[np.float64]
    nodes: NDArray[np.int64]
    decisions: NDArray[np.int64]

    @property
    def per_node(self) -> NDArray[np.float64]:
        """float64[seeds]: cost in kWh a node, the mean of a seed's episodes."""
        return (self.cost_kwh / self.nodes).mean(0)


def evaluate(
    source: Source, seeds: Sequence[int], chooser: Chooser, each: int = 1, batch: int = 32
) -> Outcome:
    """`each` episodes for every seed, at most `batch` episodes side by side.

    Episode k of a seed has the number seed + k x number of seeds, so that consecutive seeds share
    none.
    """
    numbers = [seed + k * len(seeds) for k in range(each) for seed in seeds]
    # Layers as small as these are seven times as slow on two BLAS threads that other work disturbs.
    with threadpool_limits(1, user_api="blas"):
        parts = [
            _episodes(source, numbers[i : i + batch], chooser)
            for i in range(0, len(numbers), batch)
        ]
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Outcome(*(column.reshape(each, len(seeds)) for column in columns))


def _episodes(source: Source, seeds: list[int], chooser: Chooser) -> tuple[NDArray[Any], ...]:
    clusters = Clusters(
        source,
        len(seeds),
        source.rows,
        chooser.encoder,
        REWARD,
        passed="reject",
        unplaceable="reject",
    )
    clusters.reset(seeds)
    nodes = clusters.present.sum(1)
    terms = np.zeros_like(clusters.terms)
    decisions, live = np.zeros(len(seeds), np.int64), np.ones(len(seeds), bool)
    while live.any():
        _, done = clusters.step(chooser.rows(clusters))
        terms[live] += clusters.terms[live]
        decisions += live
        live &= ~done
    energy, rejected = -terms[:, NAMES.index("power")], -terms[:, NAMES.index("rejected")]
    return cost_kwh(terms, nodes), energy, rejected * nodes, nodes, decisions


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def wins(self) -> bool:
        """Whether the first costs less, beyond chance."""
        return self.high < 0

    def __format__(self, spec: str) -> str:
        """In percent, each number by `spec`, such as `+.2f`."""
        return f"{self.mean:{spec}} % [{self.low:{spec}}, {self.high:{spec}}]"


def compare(ours: NDArray[np.float64], other: NDArray[np.float64]) -> Difference:
    """Ours less the other, pair by pair, relative to the mean of the other, in percent."""
    relative = 100.0 * (ours - other) / other.mean()
    return Difference(float(relative.mean()), *interval(relative))


def table(outcomes: Mapping[str, Outcome], ours: str) -> str:
    """Markdown: every policy's objective a node, and how far ours is from it."""
    lines = ["| policy | cost, kWh a node | energy | rejected, % of nodes | ours against it |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, found in outcomes.items():
        against = ""
        if name != ours:
            against = f"{compare(outcomes[ours].per_node, found.per_node):+.2f}"
        lines.append(
            f"| {name} | {found.per_node.mean():.3f} "
            f"| {np.mean(found.energy_kwh / found.nodes):.3f} "
            f"| {100 * np.mean(found.rejected_nodes / found.nodes):.1f} | {against} |"
        )
    return "\n".join(lines)
