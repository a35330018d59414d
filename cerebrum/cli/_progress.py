"""Progress and remarks on stderr; silent unless a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

Advance = Callable[[int, int], None]


def watched() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def say(message: str) -> None:
    """A remark for the person at the terminal, or for the log."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def bar(label: str, total: int) -> Generator[Advance]:
    """A progress bar; call with (done, total). Nothing where no person watches."""
    if not watched():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total or None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
