"""`cerebrum reproduce`: published tables beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import UnknownName

if TYPE_CHECKING:
    from cerebrum.experiments.reproduce import Line

_ABOUT = """Re-run published tables and print published, ours and the difference.

fgd: GPU packing on the openb traces (USENIX ATC'23). rlscheduler: queue policies on Lublin-1
(SC'20). ecsched: container placement (2018). all: every one of them.
"""


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("reproduce", help=_ABOUT, short_help=line)(reproduce)


def reproduce(
    table: Annotated[str, typer.Argument(help="fgd, rlscheduler, ecsched or all.")],
    data: options.Data = None,
    policies: Annotated[
        list[str] | None, typer.Option("--policies", "-p", help="Only these: a,b,c.")
    ] = None,
    traces: Annotated[
        list[str] | None, typer.Option("--traces", help="Only these traces: a,b,c.")
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Such as 42..51 (default: as published).")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes (default: 2).")
    ] = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Re-run published tables."""
    from cerebrum.experiments import reproduce as published

    if table not in (*published.TABLES, "all"):
        raise UnknownName("table", table, [*published.TABLES, "all"])
    names = list(published.TABLES) if table == "all" else [table]
    lines: list[published.Line] = []
    remarks: list[str] = []
    for name in names:
        folder = options.data_folder(data, published.FOLDERS[name])
        with bar(f"reproduce {name}", 0) as advance:
            found = published.reproduce(
                name, folder, options.split(policies), options.split(traces),
                options.seeds(seeds) if seeds else (), jobs, advance,
            )  # fmt: skip
        lines += found.lines
        remarks += found.remarks
    _print(lines, output)
    for remark in remarks:
        say(f"note: {remark}")


def _print(lines: list[Line], output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        emit([line.record() for line in lines], output)
        return
    rows = [{**line.record(), "difference": line.difference, "note": line.note} for line in lines]
    emit(rows, output)
