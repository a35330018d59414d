"""`cerebrum compare`: one policy against others on the same seeds, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError

_ABOUT = """One policy against others on the same seeds: mean differences, 95 % bootstrap intervals.

The first policy is the candidate. `better` and `worse` are said where the interval leaves out zero.
"""
_SHOWN = (
    "scenario", "metric", "baseline", "seeds", "candidate_mean", "baseline_mean", "difference",
    "low", "high", "wins", "losses", "verdict",
)  # fmt: skip


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("compare", help=_ABOUT, short_help=line)(compare)


def compare(
    scenarios: Annotated[
        list[str], typer.Argument(help="Files, folders, or names such as openb-like.",
                                  metavar="SCENARIO..."),
    ],
    policy: options.Policies = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Such as 1..20; at least two.")] = "1..20",
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Metrics: a,b,c. Repeat.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--to", help="Folder that keeps finished runs; resumable.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes (default: one a core).")
    ] = None,
    format: options.Format = None,
    settings: options.Settings = None,
    output: options.Form = Output.TABLE,
) -> None:  # fmt: skip
    """Run both sides and compare them in pairs."""
    from cerebrum.experiments.bench import bench
    from cerebrum.experiments.paired import paired

    policies = options.split(policy)
    if len(policies) < 2:
        raise ConfigError("expected a candidate and a baseline at least: -p learned:mine,fgd")
    drawn = options.seeds(seeds)
    if len(drawn) < 2:
        raise ConfigError("expected at least two seeds: --seeds 1..20").at(field="seeds")
    metrics = options.split(metric) or ["gpu_allocation_pct", "wait_s_mean", "rejected"]
    total = len(scenarios) * len(policies) * len(drawn)
    with bar(f"{total} runs", total) as advance:
        found = bench(
            scenarios, policies, drawn, folder=folder, jobs=jobs, format=format,
            options=options.reader_options(settings), advance=advance,
        )  # fmt: skip
    rows = paired(found.rows, policies[0], metrics)
    emit([row.record() for row in rows], output, _SHOWN)
    if output is Output.TABLE:
        say(f"candidate: {policies[0]}; difference = candidate - baseline")
