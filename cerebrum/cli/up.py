"""`cerebrum up`: a controller and agents as processes of this machine, shown in one terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _contexts
from cerebrum.cli._progress import say, watched

if TYPE_CHECKING:
    from cerebrum.services.client import CerebrumClient
    from cerebrum.services.local import LocalFederation

CONTEXT = "local"


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("up", help=line)(up)


def up(
    clusters: Annotated[
        str, typer.Option(help="2x4: two clusters of four nodes; east:4,west:2; @8: cores a node.")
    ] = "2x2",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The controller's; 0: any.")] = 8000,
    state: Annotated[Path, typer.Option(help="Folder of databases, runs and logs.")] = Path(
        "cerebrum-up"
    ),
    policy: Annotated[str, typer.Option(help="Placement policy of the agents.")] = "best-fit",
    executor: Annotated[str, typer.Option(help="local (processes) or simulated.")] = "local",
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
) -> int:
    """Start everything, show it until interrupted, stop it. Runs go on and are found again."""
    from cerebrum.services.local import LocalFederation, parse_clusters

    federation = LocalFederation(state, parse_clusters(clusters, policy), port, executor=executor)
    say(f"starting a controller and {len(federation.clusters)} agents ({state}/)")
    try:
        with federation, federation.client() as client:
            _remember(federation.url)
            say(f"controller at {federation.url}, API at {federation.url}/docs; Ctrl-C stops it")
            say("try: cerebrum submit montage-like --wait")
            _show(federation, client, seconds)
    except KeyboardInterrupt:
        say("stopped; what was accepted is in " + str(state))
    return 0


def _remember(url: str) -> None:
    """Make it the context `local`, and the current one if there is none."""
    contexts = _contexts.load()
    contexts.contexts[CONTEXT] = _contexts.Context(url)
    contexts.current = contexts.current or CONTEXT
    _contexts.save(contexts)


def _show(federation: LocalFederation, client: CerebrumClient, seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    if not watched():
        while end is None or time.monotonic() < end:
            federation.check()
            time.sleep(0.2)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=2) as live:
        while end is None or time.monotonic() < end:
            federation.check()
            live.update(overview(client))
            time.sleep(0.5)


def overview(client: CerebrumClient, title: str = "") -> Any:
    """Clusters and the last workflows, as a Rich table."""
    from rich.table import Table

    from cerebrum.services.errors import Unreachable

    table = Table(title=title or None, expand=False)
    for heading in ("", "state", "tasks", "running", "done", "failed"):
        table.add_column(heading)
    try:
        for row in client.clusters():
            counts = row["tasks"]
            table.add_row(
                f"cluster {row['id']} ({row['nodes']} nodes)", str(row["state"]),
                str(sum(counts.values())), str(counts.get("running", 0)),
                str(counts.get("succeeded", 0)), str(counts.get("failed", 0)),
            )  # fmt: skip
        for _, row in zip(range(8), client.workflows(), strict=False):
            table.add_row(
                f"{row['kind']} {row['name']} ({row['id']})", str(row["state"]),
                str(row["tasks"]), "", str(row["succeeded"]), str(row["failed"]),
            )  # fmt: skip
    except Unreachable as problem:
        table.caption = str(problem)
    return table
