"""Why a part went to its cluster, in one line for people, from what the decision saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.federation import ClusterView, Decomposition

Reasons = Mapping[tuple[int, str], str]
"""Part and cluster -> the reason."""


def reasons(
    policy: str,
    cut: Decomposition,
    placed: Mapping[int, str],
    given: Mapping[int, str],
    views: Sequence[ClusterView],
    able: Mapping[int, frozenset[int]],
) -> Reasons:
    """For each part and cluster of `given` (task -> cluster, as decided).

    `placed` are the clusters of tasks that stay where they are; `able` says of each part which
    views (by index) can hold all of it. E.g. `cerebrum: 12.3 MB of its inputs are there; backlog
    3 s per core (west 41 s)`.
    """
    index = {view.name: i for i, view in enumerate(views)}
    where = {**placed, **given}
    data_mb = _data_mb(cut, where, index)
    backlog_s = [_backlog_s(view) for view in views]
    pairs = sorted({(int(cut.part[task]), cluster) for task, cluster in given.items()})
    return {
        (part, cluster): f"{policy}: " + "; ".join(
            _facts(views, index[cluster], data_mb[part], backlog_s, able[part])
        )
        for part, cluster in pairs
    }  # fmt: skip


def _facts(
    views: Sequence[ClusterView],
    chosen: int,
    data_mb: NDArray[np.float64],
    backlog_s: Sequence[float],
    able: frozenset[int],
) -> list[str]:
    facts: list[str] = []
    total_mb = float(data_mb.sum())
    if total_mb > 0:
        here_mb = float(data_mb[chosen])
        of = "its inputs" if here_mb == total_mb else f"{total_mb:.4g} MB of inputs"
        facts.append(f"{here_mb:.4g} MB of {of} are there")
    others = [c for c in range(len(views)) if c != chosen and c in able]
    text = f"backlog {backlog_s[chosen]:.3g} s per core"
    if others:
        best = min(others, key=lambda c: (backlog_s[c], c))
        text += f" ({views[best].name} {backlog_s[best]:.3g} s)"
    facts.append(text)
    if able == frozenset((chosen,)) and len(views) > 1:
        facts.append("only cluster that fits")
    return facts


def _backlog_s(view: ClusterView) -> float:
    """Seconds of work before each core of a cluster."""
    return view.backlog_core_s / max(1e-9, view.cpu_milli / 1000 * view.speed)


def _data_mb(
    cut: Decomposition, where: Mapping[int, str], index: Mapping[str, int]
) -> NDArray[np.float64]:
    """float64[parts, clusters + 1]: MB that each part reads from other parts, by where they ran or
    will run; the last column is elsewhere."""
    w, elsewhere = cut.workflow, len(index)
    at = np.full(len(w), elsewhere, np.int64)
    for task, cluster in where.items():
        at[task] = index.get(cluster, elsewhere)
    found = np.zeros((cut.parts, elsewhere + 1))
    crossing = cut.part[w.before] != cut.part[w.after]
    before, after = w.before[crossing], w.after[crossing]
    np.add.at(found, (cut.part[after], at[before]), w.volume_mb[crossing])
    return found
