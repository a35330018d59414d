"""`cerebrum demo gpu`: policies compared on a GPU cluster: table, plots, reasons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, aligned, emit
from cerebrum.cli._progress import bar, say

if TYPE_CHECKING:
    from cerebrum.experiments.run import Run

POLICIES = (
    "fgd", "best-fit", "gpu-packing", "gpu-clustering", "dot-product", "kubernetes-default",
    "random",
)  # fmt: skip
COLUMNS = (
    "policy", "started", "waiting", "gpu_allocation_pct", "fragmentation_pct",
    "cpu_allocation_pct", "decisions_per_cpu_s",
)  # fmt: skip
WIDTH = 56


def compare(
    policy: list[str] | None, nodes: int, seed: int, runs_dir: Path, output: Output
) -> None:
    """Fill a cluster like Alibaba's with GPU tasks until they ask for 130 % of it."""
    from cerebrum.experiments import table
    from cerebrum.experiments.report import write_report
    from cerebrum.experiments.simulate import find_scenario

    scenario = find_scenario("openb-like", seed, nodes=nodes)
    names = options.split(policy) or list(POLICIES)
    _warn_of_compiling()
    with bar("simulating", len(names)) as advance:
        runs = [_run(scenario, name, seed, runs_dir, advance, i, len(names))
                for i, name in enumerate(names)]  # fmt: skip
    page = runs_dir / "demo.html"
    write_report(runs, page)
    rows = [{**table.row(run), "decisions_per_cpu_s": _speed(run)} for run in runs]
    rows.sort(key=lambda row: -(row["gpu_allocation_pct"] or 0.0))
    if output is not Output.TABLE:
        emit(rows, output)
        say(f"report: {page}")
        return
    runs.sort(key=lambda run: [row["policy"] for row in rows].index(run.meta.policy))
    print(
        f"{len(scenario.tasks):,} tasks ask for 130 % of {scenario.cluster.gpu_capacity:,} GPUs on "
        f"{len(scenario.cluster):,} nodes. How much does each policy place?\n"
    )
    sys.stdout.write(aligned(rows, COLUMNS))
    sys.stdout.write("\n" + curves(runs))
    _reasons(runs)
    print(f"\nPlots, heat map, Gantt and decision explorer: {page}")


def _warn_of_compiling() -> None:
    from cerebrum.engine.compiled import cache_folder

    if not cache_folder().exists():
        say("compiling the engine: once on this machine, about two minutes")


def _run(
    scenario: Any, policy: str, seed: int, runs_dir: Path, advance: Any, done: int, total: int
) -> Run:
    from cerebrum.experiments.simulate import simulate

    run = simulate(scenario, policy, seed).save(runs_dir, report=False)
    advance(done + 1, total)
    return run


def _speed(run: Run) -> int:
    """Decisions a CPU-second, rounded."""
    return int(round(len(run.decisions) / max(run.meta.cpu_s, 1e-9), -3))


def curves(runs: list[Run]) -> str:
    """GPU allocation and fragmentation over the load, a line a policy."""
    import numpy as np

    out: list[str] = []
    for title, first, pick in (
        ("GPU allocation", 80, _allocation),
        ("Fragmented GPUs", 0, _fragmentation),
    ):
        lines = [_resample(run, pick(run), first, np) for run in runs]
        low, high = min(min(line) for line in lines), max(max(line) for line in lines)
        out.append(
            f"{title}, {low:.0f} to {high:.0f} % of capacity, while {first} to 130 % are asked for"
        )
        for run, line in zip(runs, lines, strict=True):
            out.append(f"  {run.meta.policy:<20}{sparkline(line, low, high)} {line[-1]:6.2f}")
        out.append("")
    return "\n".join(out)


def _allocation(run: Run) -> Any:
    return run.series.percent("gpu")


def _fragmentation(run: Run) -> Any:
    return run.series.fragmented_percent


def _resample(run: Run, values: Any, first: float, np: Any) -> list[float]:
    arrived = run.series.columns["arrived_gpu_milli"]
    at = np.searchsorted(arrived, np.linspace(first / 130 * arrived[-1], arrived[-1], WIDTH))
    return [float(v) for v in values[np.minimum(at, len(values) - 1)]]


def sparkline(values: list[float], low: float, high: float) -> str:
    """A curve in one line of text."""
    encoding = sys.stdout.encoding or "ascii"
    marks = "▁▂▃▄▅▆▇█" if "utf" in encoding.lower() else "_.-=+*%#"
    scale = (len(marks) - 1) / ((high - low) or 1.0)
    return "".join(marks[max(0, min(len(marks) - 1, round((v - low) * scale)))] for v in values)


def _reasons(runs: list[Run]) -> None:
    """One telling bind of the first policy, and one task that found no place."""
    from cerebrum.cli.describe import decision_text
    from cerebrum.experiments.explain import explain, interesting, most_telling

    run = runs[0]
    decided = explain(run, interesting(run, 16), top=6)
    telling = most_telling(decided)
    refused = next((d for d in decided if d.action != "bind"), None)
    print(f"\nWhy? Two decisions of {run.meta.policy}, replayed from its log:")
    for one in (telling, refused):
        if one is not None:
            sys.stdout.write(decision_text(one))
    task = telling.task if telling else run.scenario.tasks.names[0]
    print(f"\nAny other: cerebrum describe task {run.id} {task}")
