"""`compare`: policies side by side on one scenario, means with 95 % intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from cerebrum.experiments.bench import bench

METRICS = (
    "gpu_allocation_pct", "cpu_allocation_pct", "fragmentation_pct", "wait_s_mean", "wait_s_p99",
    "bounded_slowdown_mean", "makespan_s", "waiting", "rejected",
)  # fmt: skip


def compare(
    scenario: str,
    policies: Sequence[str],
    seeds: Sequence[int] = (42, 43, 44),
    metrics: Sequence[str] = METRICS,
    **how: Any,
) -> pl.DataFrame:
    """One row a policy: the mean of each metric, and `<metric>_ci95`, its 95 % half width.

    `how` goes to `bench`: `folder`, `jobs`, `backend`, `options` and so on.
    """
    return wide(bench(scenario, policies, seeds, **how).summary, metrics)


def wide(summary: pl.DataFrame, metrics: Sequence[str] = METRICS) -> pl.DataFrame:
    """The long table of means as one row for each scenario and policy, in the order given."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in summary.iter_rows(named=True):
        name = one["metric"]
        row = rows.setdefault(
            (one["scenario"], one["policy"]),
            {"scenario": one["scenario"], "policy": one["policy"], "seeds": 0},
        )
        row["seeds"] = max(row["seeds"], one["n"])
        if name in metrics:
            row[name], row[f"{name}_ci95"] = one["mean"], one["ci95"]
    return pl.DataFrame(list(rows.values()), infer_schema_length=None)
