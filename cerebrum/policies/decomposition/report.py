"""What a decomposition looks like in figures: bytes cut, balance, critical path of the quotient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.federation import Decomposition, Link


@dataclass(frozen=True, slots=True)
class DecompositionReport:
    """`cut_mb` 10^6 bytes between parts, `cut_share` of all bytes on dependencies (0..1);
    `balance` largest part over mean part by core-seconds (1 is even); `critical_path_s` longest
    chain of parts, each as long as its own critical path at speed 1, with the transfers between;
    `quotient_edges` pairs of parts with a dependency."""

    parts: int
    quotient_edges: int
    cut_mb: float
    cut_share: float
    balance: float
    critical_path_s: float


def report(decomposition: Decomposition, link: Link | None = None) -> DecompositionReport:
    """The figures of a decomposition; `link` is what transfers between parts take (None: free)."""
    w, part = decomposition.workflow, decomposition.part
    crossing = part[w.before] != part[w.after]
    total = float(w.volume_mb.sum())
    pairs, volume = _quotient(decomposition, crossing)
    return DecompositionReport(
        parts=decomposition.parts,
        quotient_edges=len(pairs),
        cut_mb=decomposition.cut_mb,
        cut_share=decomposition.cut_mb / total if total > 0 else 0.0,
        balance=decomposition.balance,
        critical_path_s=_longest(part_critical_path_s(decomposition), pairs, volume, link),
    )


def part_critical_path_s(decomposition: Decomposition) -> NDArray[np.float64]:
    """float64[parts]: the longest chain of durations inside each part, at speed 1, s."""
    w = decomposition.workflow
    part: list[int] = decomposition.part.tolist()
    end: list[float] = w.tasks.duration_s.tolist()
    longest: list[float] = [0.0] * decomposition.parts
    first: list[int] = w.predecessors[0].tolist()
    edges: list[int] = w.predecessors[1].tolist()
    before: list[int] = w.before.tolist()
    order: list[int] = w.order.tolist()
    for task in order:
        own = part[task]
        inside: list[int] = [before[e] for e in edges[first[task] : first[task + 1]]]
        ready = [end[source] for source in inside if part[source] == own]
        end[task] += max(ready, default=0.0)
        longest[own] = max(longest[own], end[task])
    return np.asarray(longest)


def _quotient(
    decomposition: Decomposition, crossing: NDArray[np.bool_]
) -> tuple[list[tuple[int, int]], list[float]]:
    """Pairs of parts with a dependency, by the first and then the second, and MB on each."""
    w, part = decomposition.workflow, decomposition.part.astype(np.int64)
    parts = max(1, decomposition.parts)
    key = part[w.before[crossing]] * parts + part[w.after[crossing]]
    found, which = np.unique(key, return_inverse=True)
    volume = np.bincount(which, weights=w.volume_mb[crossing], minlength=len(found))
    return [divmod(int(k), parts) for k in found], volume.tolist()


def _longest(
    length_s: NDArray[np.float64],
    pairs: list[tuple[int, int]],
    volume_mb: list[float],
    link: Link | None,
) -> float:
    """Parts are numbered in topological order, so one pass over the sorted pairs will do."""
    start = [0.0] * len(length_s)
    for (a, b), mb in zip(pairs, volume_mb, strict=True):
        move = link.latency_s + mb / link.bandwidth_mb_s if link is not None and mb > 0 else 0.0
        start[b] = max(start[b], start[a] + float(length_s[a]) + move)
    return max((s + float(d) for s, d in zip(start, length_s, strict=True)), default=0.0)
