"""The tree of commands. A command's module is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import typer

COMMANDS = {
    "up": "A controller and agents of local processes, in one terminal.",
    "submit": "Give a workflow to a controller.",
    "get": "List workflows, tasks, clusters, nodes ...; runs, policies, scenarios.",
    "describe": "Why a decision came out as it did: workflow, run, task, node, cluster.",
    "logs": "What a task wrote.",
    "cancel": "End a workflow or a task.",
    "drain": "Give a cluster nothing new.",
    "uncordon": "Give a drained cluster work again.",
    "simulate": "Run policies on a scenario, or a workflow on clusters, in virtual time.",
    "bench": "Policies x scenarios x seeds: a table with means and intervals; resumable.",
    "compare": "One policy against others on the same seeds, with bootstrap intervals.",
    "train": "Make a learned policy by its recipe.",
    "models": "List, describe, verify, export and serve learned policies.",
    "evaluate": "Measure a learned policy on what it was not trained on.",
    "reproduce": "Published tables, re-run side by side.",
    "report": "One self-contained HTML page of one run or several.",
    "import": "A Kubernetes cluster as a file for simulate; changes nothing there.",
    "traces": "List, describe, validate, convert and fetch traces.",
    "demo": "A workflow and a batch of jobs on two clusters of local processes.",
    "gcc": "Run the global controller.",
    "lca": "Run the local agent of one cluster.",
    "policy": "A candidate policy on a running controller or agent: status, promote, demote.",
    "token": "Make, list and revoke the tokens of a controller.",
    "context": "The controllers this user talks to.",
    "doctor": "Versions, caches, and what is missing on this machine.",
}
"""Command -> the line of help. The module `cerebrum.cli.<command>` has `register(app, line)`."""
TOGETHER = {"cancel": "act", "drain": "act", "uncordon": "act", "logs": "act"}
"""Commands that share a file, each a function of its own name there."""
MODULES = {"import": "import_"}
"""Commands whose name Python has for itself."""

_ABOUT = """One scheduling brain: simulate, compare and explain policies on traces, and run them.

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
            _add(app, name, line)
        else:
            app.command(name, help=line)(_elsewhere)
    return typer.main.get_command(app)


def _add(app: typer.Typer, name: str, line: str) -> None:
    module = importlib.import_module(f"cerebrum.cli.{MODULES.get(name, TOGETHER.get(name, name))}")
    if name in TOGETHER:
        app.command(name, help=line)(getattr(module, name))
    else:
        module.register(app, line)


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
