"""How far a published table is from ours, for one table and some of its lines."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import Progress

from benchmarks._harness import console, need_data
from cerebrum.experiments.reproduce import FOLDERS, Line, reproduce


def lines(table: str, **choice: tuple[str, ...]) -> tuple[Line, ...]:
    """Every line of a table, re-run."""
    data = need_data(FOLDERS[table])
    with Progress(console=console) as progress:
        bar = progress.add_task(table, total=None)
        found = reproduce(
            table, data, advance=lambda done, all: progress.update(bar, completed=done, total=all),
            **choice,
        )  # fmt: skip
    return found.lines


def largest(
    found: tuple[Line, ...], gap: Callable[[Line], float], only: Callable[[Line], bool]
) -> float:
    """The largest gap among the lines that count; both sides of which must be there."""
    counted = [line for line in found if only(line) and None not in (line.published, line.ours)]
    if not counted:
        raise AssertionError("the table has no such line")
    return max(gap(line) for line in counted)


def points(line: Line) -> float:
    """Absolute difference."""
    return abs(line.difference or 0.0)


def percent(line: Line) -> float:
    """Relative difference in percent of the published value."""
    return 100 * points(line) / abs(line.published or 1.0)
