"""`cerebrum cancel|drain|uncordon|logs`: what one says to a controller about one thing."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import Annotated

import typer

from cerebrum.cli import _contexts
from cerebrum.cli._progress import say


class Stream(StrEnum):
    """What a task writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


def cancel(
    name: Annotated[str, typer.Argument(help="Workflow id, or WORKFLOW/TASK for one task.")],
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """Cancel: what runs is ended, what waits never starts. It is over when `get` says so."""
    with _contexts.client(server, context) as client:
        client.cancel(name)
    say(f"{name}: cancelling")


def drain(
    cluster: Annotated[str, typer.Argument(help="Cluster id.")],
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """Nothing new goes to the cluster; what it has not confirmed goes elsewhere."""
    with _contexts.client(server, context) as client:
        client.drain(cluster)
    say(f"{cluster}: drained")


def uncordon(
    cluster: Annotated[str, typer.Argument(help="Cluster id.")],
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """The cluster gets work again."""
    with _contexts.client(server, context) as client:
        client.uncordon(cluster)
    say(f"{cluster}: takes work")


def logs(
    task: Annotated[str, typer.Argument(help="WORKFLOW/TASK.")],
    stream: Annotated[Stream, typer.Option(help="stdout or stderr.")] = Stream.STDOUT,
    run: Annotated[str | None, typer.Option(help="An earlier run of it, by id.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """Print what a task wrote, as it is."""
    from cerebrum.services.wire import TERMINAL

    offset = 0
    with _contexts.client(server, context) as client:
        while True:
            ended = client.task(task)["state"] in TERMINAL if follow else True
            while text := client.logs(task, stream.value, offset, run):
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
                offset += len(text)
            if ended:
                return
            time.sleep(0.5)
