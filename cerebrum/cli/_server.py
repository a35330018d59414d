"""Options that both servers have, and how they are run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

Host = Annotated[str | None, typer.Option(help="Address to bind to (default: 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Url = Annotated[
    str | None, typer.Option(help="How others reach this server (default: from host and port).")
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate chain, PEM: turns TLS on.")]
TlsKey = Annotated[Path | None, typer.Option(help="Its private key, PEM.")]
LogFormat = Annotated[str | None, typer.Option(help="json, text, or auto (text on a terminal).")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]

Candidate = Annotated[
    str | None, typer.Option(help="A policy to try beside the other, such as learned:NAME.")
]
RolloutMode = Annotated[
    str | None,
    typer.Option(
        "--rollout",
        help="Where the candidate begins: off, shadow, advise, canary:SHARE or on. Later: "
        "`cerebrum policy`.",
    ),
]
Explore = Annotated[
    float | None, typer.Option(help="Part of the choices made at random, in canary and on.")
]
CandidateDeadline = Annotated[
    float | None, typer.Option(help="Seconds that a candidate may take for a decision.")
]
CandidatePatience = Annotated[
    float | None,
    typer.Option(
        help="Seconds that a candidate may let a task wait which the policy would start (a learned "
        "job order needs hours; default 0)."
    ),
]


def run(serving: Coroutine[Any, Any, int], many_requests: bool = False) -> int:
    """Serve to the end; on uvloop where it sends many small requests itself."""
    from cerebrum.services.computing import leave

    if not many_requests:
        return leave(asyncio.run(serving))
    import uvloop

    return leave(uvloop.run(serving))
