"""`cerebrum gcc`: the global controller as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _server as server


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("gcc", help=line)(gcc)


def gcc(
    host: server.Host = None,
    port: server.Port = None,
    database: Annotated[
        str | None,
        typer.Option(help="sqlite:///FILE (default: cerebrum.db), or postgresql://..."),
    ] = None,
    url: server.Url = None,
    name: Annotated[str | None, typer.Option(help="Tells replicas apart.")] = None,
    tls_cert: server.TlsCert = None,
    tls_key: server.TlsKey = None,
    decomposition: Annotated[
        str | None, typer.Option(help="Decomposer of workflows that name none.")
    ] = None,
    assignment: Annotated[
        str | None, typer.Option(help="Assigner of workflows that name none.")
    ] = None,
    candidate: server.Candidate = None,
    rollout: server.RolloutMode = None,
    candidate_deadline: server.CandidateDeadline = None,
    lease: Annotated[
        float | None, typer.Option(help="Seconds of silence after which a cluster counts as lost.")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(help="Seconds that `wait`ing workflows wait beyond that.")
    ] = None,
    leader_ttl: Annotated[
        float | None, typer.Option(help="Seconds until a standby takes over from a dead leader.")
    ] = None,
    max_tasks: Annotated[
        int | None, typer.Option(help="Unended tasks in all; more are refused with 429.")
    ] = None,
    tokens_file: Annotated[
        Path | None, typer.Option(help="Tokens from a mounted secret, JSON.")
    ] = None,
    amqp_exchange: Annotated[
        str | None, typer.Option(help="Topic exchange of the bus (address: CEREBRUM_AMQP_URL).")
    ] = None,
    log_format: server.LogFormat = None,
    log_level: server.LogLevel = None,
) -> int:
    """Run the controller until SIGTERM. Each option is also a variable, such as CEREBRUM_PORT."""
    from cerebrum.services.api.gcc import run_gcc
    from cerebrum.services.api.settings import GccSettings, load

    settings = load(
        GccSettings, host=host, port=port, database=database, url=url, name=name,
        tls_cert=tls_cert, tls_key=tls_key, decomposition=decomposition, assignment=assignment,
        candidate=candidate, rollout=rollout, candidate_deadline_s=candidate_deadline,
        lease_s=lease, patience_s=patience, leader_ttl_s=leader_ttl, max_tasks=max_tasks,
        tokens_file=tokens_file, amqp_exchange=amqp_exchange, log_format=log_format,
        log_level=log_level,
    )  # fmt: skip
    return server.run(run_gcc(settings))
