"""The tree of commands. A command's module is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import typer

COMMANDS = {
    "simulate": "Run policies on a scenario and keep the runs.",
    "bench": "Policies x scenarios x seeds: a table with means and intervals; resumable.",
    "reproduce": "Published tables, re-run side by side.",
    "describe": "Why a decision came out as it did: run, task or node.",
    "report": "One self-contained HTML page of one run or several.",
    "get": "List runs, policies or scenarios.",
    "traces": "List, describe, validate, convert and fetch traces.",
    "demo": "Compare policies on a GPU cluster: table, plots, reasons. No download.",
    "doctor": "Versions, caches, and what is missing on this machine.",
}
"""Command -> the line of help. The module `cerebrum.cli.<command>` has `register(app)`."""

_ABOUT = """Simulate, compare and explain scheduling policies on real cluster traces.

Start with `cerebrum demo`. Results go to stdout, progress to stderr.
"""


def build(arguments: Sequence[str]) -> Any:
    """The command tree; only the command that `arguments` name gets its body."""
    app = typer.Typer(
        name="cerebrum", help=_ABOUT, no_args_is_help=True, add_completion=False,
        rich_markup_mode=None, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_root)
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    for name, line in COMMANDS.items():
        if name == wanted:
            importlib.import_module(f"cerebrum.cli.{name}").register(app, line)
        else:
            app.command(name, help=line)(_elsewhere)
    return typer.main.get_command(app)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"cerebrum {version('cerebrum')}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version.", is_eager=True, callback=_show_version
    ),
) -> None:
    del version


def _elsewhere() -> None:
    """Stands for a command that was not asked for."""
