"""`cerebrum bench`: policies x scenarios x seeds, resumable."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError

if TYPE_CHECKING:
    from cerebrum.experiments.bench import Cell


class Backend(StrEnum):
    """Where cells run."""

    LOCAL = "local"
    DASK = "dask"
    RAY = "ray"


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("bench", help=line)(bench)


def bench(
    scenarios: Annotated[
        list[str], typer.Argument(help="Files, folders, or names such as openb-like.",
                                  metavar="SCENARIO..."),
    ],
    policy: options.Policies = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Such as 42..51 or 1,2,3.")] = "42..44",
    folder: Annotated[
        Path | None,
        typer.Option("--to", help="Folder of the results (default: runs/bench-<plan>)."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes (default: one a core).")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where the runs are made.")] = Backend.LOCAL,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of the Dask or Ray cluster (default: a local one).")
    ] = None,
    format: options.Format = None,
    settings: options.Settings = None,
    every: Annotated[bool, typer.Option("--all", help="A line a run, not means.")] = False,
    output: options.Form = Output.TABLE,
) -> None:  # fmt: skip
    """Run the bench; the same command goes on where a killed one stopped."""
    from cerebrum.experiments import bench as running
    from cerebrum.experiments.compare import wide

    policies = options.split(policy)
    if not policies:
        raise ConfigError("expected policies: -p fgd,best-fit")
    reader = options.reader_options(settings)
    cells = running.plan(scenarios, policies, options.seeds(seeds), format, reader)
    target = folder or Path("runs") / f"bench-{_name(cells)}"
    with bar(f"{len(cells)} runs", len(cells)) as advance:
        found = running.bench(
            scenarios, policies, options.seeds(seeds), folder=target, jobs=jobs,
            backend=backend.value, scheduler=scheduler, format=format, options=reader,
            advance=advance,
        )  # fmt: skip
    say(f"{len(found.rows)} runs in {target}/")
    if every:
        emit(found.rows, output, ["scenario", "policy", "seed", *_shown(found.rows)])
    else:
        rows = wide(found.summary).to_dicts()
        emit([_merged(row) for row in rows] if output is Output.TABLE else rows, output)


def _merged(row: dict[str, Any]) -> dict[str, Any]:
    """Mean and half width of the 95 % interval in one cell, for people."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        half = row.get(f"{name}_ci95")
        if not name.endswith("_ci95"):
            out[name] = value if half is None else f"{value:.2f} ± {half:.2f}"
    return out


def _shown(rows: tuple[dict[str, Any], ...]) -> list[str]:
    from cerebrum.experiments.table import HEADLINE

    return [name for name in HEADLINE[3:] if any(row.get(name) is not None for row in rows)]


def _name(cells: list[Cell]) -> str:
    """A short name of the plan, so that the same command finds its folder again."""
    return hashlib.blake2b(repr(cells).encode(), digest_size=5).hexdigest()
