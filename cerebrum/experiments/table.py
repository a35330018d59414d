"""One run as one row, and many rows as means with their spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import polars as pl

from cerebrum.experiments.run import Run

HEADLINE = (
    "scenario", "policy", "seed", "started", "waiting", "rejected", "gpu_allocation_pct",
    "cpu_allocation_pct", "fragmentation_pct", "wait_s_mean", "wait_s_p99",
    "bounded_slowdown_mean", "makespan_s", "cpu_s",
)  # fmt: skip
"""What a table shows of a run unless it is asked for more."""

_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t for 1..30 degrees of freedom; beyond, the normal's and a term."""


def row(run: Run) -> dict[str, Any]:
    """A run as flat numbers: what `bench` keeps and tables show.

    Allocation and fragmentation in % of capacity: over time where tasks end, else at the end.
    """
    s = run.summary
    ends = s.get("succeeded", 0) > 0
    started = int((run.columns["attempts"] > 0).sum())
    out: dict[str, Any] = {
        "scenario": run.meta.scenario,
        "policy": run.meta.policy,
        "seed": run.meta.seed,
        "started": started,
        "waiting": s.get("pending", 0),
        "rejected": s.get("rejected", 0),
        "gpu_allocation_pct": s["gpu_utilisation_pct" if ends else "gpu_allocation_pct_end"],
        "cpu_allocation_pct": s["cpu_utilisation_pct" if ends else "cpu_allocation_pct_end"],
        "fragmentation_pct": s["fragmentation_pct_mean" if ends else "fragmentation_pct_end"],
    }
    if not any(node.capacity.gpu_count for node in run.scenario.cluster):
        out |= {"gpu_allocation_pct": None, "fragmentation_pct": None}
    scalars = {k: v for k, v in s.items() if not isinstance(v, Mapping) and k not in out}
    loads = {
        f"gpu_allocation_pct_at_{k}": v["allocation_pct"]
        for k, v in cast(dict[str, dict[str, float]], s["at_load"]).items()
    }
    cost = {"wall_s": run.meta.wall_s, "cpu_s": run.meta.cpu_s}
    return {**out, **scalars, **loads, **cost, "digest": run.digest}


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % confidence interval of the mean (Student's t); None for one value."""
    n = len(values)
    if n < 2:
        return None
    spread = float(np.std(values, ddof=1))
    return quantile(n - 1) * spread / math.sqrt(n)


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with `freedom` degrees of freedom."""
    if freedom <= len(_T975):
        return _T975[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom)  # the first term of its expansion in 1 / freedom


def aggregate(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None
) -> pl.DataFrame:
    """Mean, standard deviation and 95 % half width over seeds, for each scenario and policy.

    One row for each metric: `scenario`, `policy`, `metric`, `n`, `mean`, `sd`, `ci95`. Seeds in
    which a metric has no value do not count.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in rows:
        groups.setdefault((str(one["scenario"]), str(one["policy"])), []).append(one)
    out: list[dict[str, Any]] = []
    for (scenario, policy), members in groups.items():
        for name in metrics or _numeric(members):
            values = [float(m[name]) for m in members if m.get(name) is not None]
            if values:
                out.append(_line(scenario, policy, name, values))
    schema = {
        "scenario": pl.String, "policy": pl.String, "metric": pl.String, "n": pl.Int64,
        "mean": pl.Float64, "sd": pl.Float64, "ci95": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(out, schema=schema)


def _line(scenario: str, policy: str, metric: str, values: list[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "scenario": scenario, "policy": policy, "metric": metric, "n": len(values),
        "mean": float(np.mean(values)), "sd": spread, "ci95": half_width(values),
    }  # fmt: skip


def _numeric(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for one in rows for name in one)
    return [
        name
        for name in names
        if name != "seed"
        and any(isinstance(one.get(name), int | float) for one in rows)
        and not any(isinstance(one.get(name), str) for one in rows)
    ]
