"""`cerebrum demo`: a workflow and a batch on two clusters of real processes; or `demo gpu`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output


class Which(StrEnum):
    """What is shown."""

    FEDERATION = "federation"
    GPU = "gpu"


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("demo", help=line)(demo)


def demo(
    which: Annotated[
        Which, typer.Argument(help="federation: run a workflow; gpu: compare placement policies.")
    ] = Which.FEDERATION,
    clusters: Annotated[str, typer.Option(help="federation: as `cerebrum up` takes.")] = "2x2@4",
    seconds: Annotated[
        float, typer.Option(min=0.5, max=3600, help="federation: length of the critical path.")
    ] = 8.0,
    policy: options.Policies = None,
    nodes: Annotated[
        int, typer.Option(min=1, max=100_000, help="gpu: nodes of the cluster.")
    ] = 1213,
    seed: options.Seed = 42,
    runs_dir: options.RunsDir = Path("runs"),
    output: options.Form = Output.TABLE,
) -> int:
    """Show what Cerebrum does, from start to end, on this machine alone."""
    if which is Which.GPU:
        from cerebrum.cli._demo_gpu import compare

        compare(policy, nodes, seed, runs_dir, output)
        return 0
    from cerebrum.cli._demo_federation import play

    chosen = options.split(policy)
    return play(clusters, seconds, chosen[0] if chosen else "best-fit", seed, runs_dir, output)
