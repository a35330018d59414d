"""FGD's tables (Weng et al., USENIX ATC'23): how full six policies pack the openb GPU cluster.

The published side is `expected/analysis_*_discrete.csv`; the protocol, to the last rounding, is in
docs/reference/openb-protocol.md. One cell is one trace and seed: arrivals are replayed once (Go's
generator) and every policy packs them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerebrum.experiments._parallel import each
from cerebrum.experiments.reproduce import Advance, Line, Reproduction, chosen
from cerebrum.model.errors import NotFound, TraceError

POLICIES = {
    "Random": "random",
    "DotProd": "dot-product",
    "GpuClustering": "gpu-clustering",
    "GpuPacking": "gpu-packing",
    "BestFit": "best-fit",
    "FGD": "fgd-original:{tasks}",
}
"""Published name -> our policy with the original's rounding; `tasks` of the trace it is about."""

POINTS = (80, 90, 95, 100, 110, 120, 130)
SEEDS = tuple(range(42, 52))
RATIO = 1.3
METRICS = {
    "gpu_allocation_pct": ("analysis_allo_discrete.csv", "allocation_pct"),
    "fragmentation_pct": ("analysis_frag_discrete.csv", "fragmentation_pct"),
}
"""Metric -> published file, and the name `by_load` has for it."""

_POD_FILE = re.compile(r"openb_pod_list_(\w+)\.csv(?:\.gz)?")
_RANDOM = "drawn at random"
REMARKS = {
    "Random": "Random cannot be replayed: the original draws from a list that 16 threads fill in "
    "any order. Means over ten seeds differ by noise of up to 0.3 points.",
}

Published = dict[tuple[str, str, str, int], dict[int, float]]
Curves = dict[str, dict[int, float]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One trace and seed under some policies (published names)."""

    path: str
    trace: str
    seed: int
    ratio: float
    policies: tuple[str, ...]


def reproduce(
    data: Path,
    policies: Sequence[str] = (),
    traces: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int | None = None,
    advance: Advance = lambda done, total: None,
) -> Reproduction:
    """Re-run the table on the traces of a folder laid out like the openb data."""
    folder = _folder(data)
    files = pod_lists(folder)
    names = chosen("trace", traces, sorted(files, key=lambda n: (n != "default", n)))
    picked = chosen("policy", [_published_name(p) for p in policies], list(POLICIES))
    published, ratios = read_published(folder / "expected")
    cells = [
        Cell(str(files[name]), name, seed, ratios.get(name, RATIO), tuple(picked))
        for name in names
        for seed in (seeds or SEEDS)
    ]
    ours: dict[tuple[str, str, int], Curves] = {}
    for cell, found in each(measure, cells, jobs or 2, advance):
        for policy, curves in found.items():
            ours[cell.trace, policy, cell.seed] = curves
    lines = [
        _line(metric, name, policy, point, tuple(seeds or SEEDS), ours, published)
        for metric in METRICS
        for name in names
        for policy in picked
        for point in POINTS
    ]
    remarks = [REMARKS[name] for name in picked if name in REMARKS]
    missing = sorted({name for name in names if not any(k[1] == name for k in published)})
    if missing:
        remarks.append(f"Nothing is published here for {', '.join(missing)}.")
    return Reproduction(tuple(lines), tuple(remarks))


def _folder(data: Path) -> Path:
    """The folder with the lists: `data` itself, or `openb` in it."""
    for folder in (data, data / "openb"):
        if folder.is_dir() and pod_lists(folder):
            return folder
    raise NotFound(f"{data}: no openb_pod_list_*.csv here")


def pod_lists(folder: Path) -> dict[str, Path]:
    """The traces of a folder, by name: the part of the file name after `openb_pod_list_`."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _POD_FILE.fullmatch(path.name):
            found.setdefault(match[1], path)
    return found


def _published_name(policy: str) -> str:
    """A policy's published name, also from ours (`best-fit`, `fgd`)."""
    ours = {ours: name for name, ours in POLICIES.items()} | {"fgd": "FGD"}
    return ours.get(policy.lower(), policy)


def read_published(folder: Path) -> tuple[Published, dict[str, float]]:
    """Curves by (metric, trace, policy, seed), and the arrival ratio of each trace."""
    published: Published = {}
    ratios: dict[str, float] = {}
    for metric, (name, _) in METRICS.items():
        path = folder / name
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    trace = row["workload"].removeprefix("openb_pod_list_")
                    policy = re.sub(r"^\d+-", "", row["sc_policy"])
                    ratios[trace] = float(row["tune"])
                    points = {k: float(row[str(k)]) for k in POINTS if row.get(str(k))}
                    published[metric, trace, policy, int(row["seed"])] = points
                except (KeyError, ValueError, AttributeError) as problem:
                    raise TraceError(f"expected a row of published results: {problem}").at(
                        path, number
                    ) from None
    return published, ratios


def measure(cell: Cell) -> tuple[Cell, dict[str, Curves]]:
    """Allocation and fragmentation at the load points, by policy, rounded as published."""
    from cerebrum import policies, traces
    from cerebrum.engine.metrics import by_load
    from cerebrum.engine.series import series
    from cerebrum.executors.simulated import Simulation

    scenario = traces.read(
        cell.path, "openb", arrivals="fgd", seed=cell.seed, ratio=cell.ratio, oversized="keep"
    )
    out: dict[str, Curves] = {}
    for name in cell.policies:
        simulation = Simulation(scenario, np.random.default_rng(cell.seed))
        # A task that fits nowhere is dropped for good, as in the original.
        policy = POLICIES[name].format(tasks=scenario.report.kept)
        simulation.run(policies.get_policy(policy, queue="reject"))
        at = by_load(series(scenario, simulation.engine.log), POINTS)
        out[name] = {
            metric: {k: round(values[key], 2) for k, values in at.items()}
            for metric, (_, key) in METRICS.items()
        }
    return cell, out


def _line(
    metric: str, trace: str, policy: str, point: int, seeds: tuple[int, ...],
    ours: dict[tuple[str, str, int], Curves], published: Published,
) -> Line:  # fmt: skip
    """The means over the seeds. Ours covers the seeds that are published, where any are."""
    theirs = {s: published.get((metric, trace, policy, s), {}).get(point) for s in seeds}
    known = [s for s in seeds if theirs[s] is not None]
    mine = [ours[trace, policy, s][metric].get(point) for s in (known or seeds)]
    return Line(
        table="fgd",
        case=f"{trace}/{policy} at {point} %",
        metric=metric,
        published=_mean([theirs[s] for s in known]),
        ours=_mean(mine),
        note=_RANDOM if policy in REMARKS else "",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), 4) if known else None
