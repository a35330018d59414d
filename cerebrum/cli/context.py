"""`cerebrum context list|add|use|remove`: the controllers this user talks to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _contexts
from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import say
from cerebrum.model.errors import ConfigError, UnknownName

Name = Annotated[str, typer.Argument(help="The context.")]


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("list", help="List contexts; * marks the current one.")(list_)
    group.command("add", help="Add a context, or change it.")(add)
    group.command("use", help="Make a context the current one.")(use)
    group.command("remove", help="Forget a context.")(remove)
    app.add_typer(group, name="context", help=line)


def list_(output: options.Form = Output.TABLE) -> None:
    """List contexts, without their tokens."""
    contexts = _contexts.load()
    rows = [
        {"name": name, "current": "*" if name == contexts.current else "", "url": one.url,
         "token": bool(one.token), "ca": one.ca}
        for name, one in contexts.contexts.items()
    ]  # fmt: skip
    emit(rows, output, ["name", "current", "url", "token"])


def add(
    name: Name,
    server: Annotated[
        str, typer.Option("--server", help="Address of the controller, or several with commas.")
    ],
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token; - reads it from stdin.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Certificates to trust, PEM.")] = None,
) -> None:
    """Add a context. The token is read from a file, so that no process list shows it."""
    import sys

    from cerebrum.services.client import CerebrumClient

    if ca is not None and not ca.is_file():
        raise ConfigError(f"{ca}: there is no such file").at(field="ca")
    CerebrumClient(server).close()  # refuses what is no address
    token = ""
    if token_file is not None:
        text = sys.stdin.read() if str(token_file) == "-" else token_file.read_text()
        token = text.strip()
    contexts = _contexts.load()
    certificates = "" if ca is None else str(ca.resolve())
    contexts.contexts[name] = _contexts.Context(server.rstrip("/"), token, certificates)
    contexts.current = contexts.current or name
    _contexts.save(contexts)
    say(f"{_contexts.path()}: {name}")


def use(name: Name) -> None:
    """Make a context the current one."""
    contexts = _contexts.load()
    if name not in contexts.contexts:
        raise UnknownName("context", name, contexts.contexts)
    contexts.current = name
    _contexts.save(contexts)


def remove(name: Name) -> None:
    """Forget a context."""
    contexts = _contexts.load()
    if contexts.contexts.pop(name, None) is None:
        raise UnknownName("context", name, contexts.contexts)
    if contexts.current == name:
        contexts.current = ""
    _contexts.save(contexts)
