"""`cerebrum report`: one self-contained HTML page of one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _options as options


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("report", help=line)(report)


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", help="Run ids, folders, or `latest` (the default)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write (default: report.html of the run).")
    ] = None,
    runs_dir: options.RunsDir = Path("runs"),
) -> None:
    """Write the page and print its path."""
    from cerebrum.experiments.report import write_report
    from cerebrum.experiments.run import REPORT, find_run, load

    folders = [find_run(name, runs_dir) for name in (names or ["latest"])]
    target = to or (folders[0] / REPORT if len(folders) == 1 else runs_dir / "comparison.html")
    write_report([load(folder) for folder in folders], target)
    print(target)
