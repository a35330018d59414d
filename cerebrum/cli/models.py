"""`cerebrum models`: list, describe, verify, export and serve learned policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli import _server as server
from cerebrum.cli._output import Output, emit, emit_one
from cerebrum.cli._progress import say

if TYPE_CHECKING:
    from cerebrum.policies.learned.artefact import Artefact

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A shipped name, or FILE.safetensors.")]
_SHOWN = ["scenario", "policy", "metric", "value", "low", "high", "note"]


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("list", help="The models that come with Cerebrum.")(list_)
    group.command("describe", help="A model's card: how it was made, how good it was.")(describe)
    group.command("verify", help="Whether model files are sound and fit this Cerebrum.")(verify)
    group.command("export", help="A model as ONNX.")(export)
    group.command("serve", help="Answer /schedule and /score over HTTP.")(serve)
    app.add_typer(group, name="models", help=line)


def list_(output: options.Form = Output.TABLE) -> None:
    """List models."""
    from cerebrum.policies.learned import artefact as artefacts

    rows = [_line(name, artefacts.read(path)) for name, path in artefacts.shipped().items()]
    if not rows:
        say("no model ships with this version; `cerebrum train list` names what can be trained")
    emit(rows, output, ["name", "kind", "algorithm", "parameters", "about"])


def describe(model: Model, output: options.Form = Output.TABLE) -> None:
    """Describe a model."""
    artefact = _read(model)
    card = artefact.card.model_dump()
    if output in (Output.JSON, Output.YAML):
        emit_one(card | {"weights": _shapes(artefact)}, output)
        return
    features, evaluation = card["observation"].pop("features"), card.pop("evaluation")
    seeds = card.pop("seeds")
    emit_one(card | {"seeds": _seeds(seeds), "weights": _shapes(artefact)}, output)
    seen, usual = artefact.statistics, artefact.usual
    for i, feature in enumerate(features):
        feature |= {"mean": seen.mean[i], "low": seen.low[i], "high": seen.high[i]}
        feature["wander"] = None if usual is None else usual.wander[i]
    print()
    emit(features, output, ["name", "unit", "scale", "mean", "low", "high", "wander", "meaning"])
    if evaluation:
        print()
        emit(evaluation, output, _SHOWN)


def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Names or files (default: all that ship)."),
    ] = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Verify models: exit code 0 when all are sound, 2 at the first that is not."""
    from cerebrum.policies.learned import artefact as artefacts
    from cerebrum.policies.learned.serving import of_artefact, schema_of

    rows: list[dict[str, Any]] = []
    for model in models or list(artefacts.shipped()):
        artefact = _read(model)
        schema = schema_of(artefact)
        policy = of_artefact(artefact)
        rows.append(
            {"model": model, "valid": True, "kind": artefact.card.kind, "schema": schema.name,
             "hash": schema.hash, "parameters": artefact.parameters, "policy": policy.name}
        )  # fmt: skip
    emit(rows, output)


def export(
    model: Model,
    target: Annotated[Path, typer.Argument(help="File to write, NAME.onnx.")],
) -> None:
    """Export a model."""
    from cerebrum.policies.learned import onnx_export

    onnx_export.write(target, _read(model))
    print(target)


def serve(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A shipped name, or a file: a bidder or node scorer."),
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="/score by any policy that scores nodes.")
    ] = None,
    typical: Annotated[
        str | None,
        typer.Option(help="/score: the trace whose tasks fragmentation is measured against."),
    ] = None,
    host: server.Host = None,
    port: server.Port = None,
    url: server.Url = None,
    tls_cert: server.TlsCert = None,
    tls_key: server.TlsKey = None,
    log_format: server.LogFormat = None,
    log_level: server.LogLevel = None,
) -> int:
    """Serve models until SIGTERM. The token that callers need is CEREBRUM_API_TOKEN."""
    from cerebrum.services.api.models import run_models
    from cerebrum.services.api.server_settings import ModelsSettings, load

    settings = load(
        ModelsSettings, model=model, policy=policy, typical=typical, host=host, port=port, url=url,
        tls_cert=tls_cert, tls_key=tls_key, log_format=log_format, log_level=log_level,
    )  # fmt: skip
    return server.run(run_models(settings))


def _read(model: str) -> Artefact:
    from cerebrum.policies.learned import artefact as artefacts

    return artefacts.read(artefacts.find(model))


def _line(name: str, artefact: Artefact) -> dict[str, Any]:
    card = artefact.card
    return {
        "name": name, "kind": card.kind, "version": card.version, "algorithm": card.algorithm,
        "schema": card.observation.name, "schema_hash": card.observation.hash,
        "parameters": artefact.parameters, "licence": card.licence, "about": card.about,
    }  # fmt: skip


def _shapes(artefact: Artefact) -> dict[str, str]:
    return {name: f"{a.dtype}{list(a.shape)}" for name, a in artefact.weights.items()}


def _seeds(seeds: tuple[int, ...]) -> str:
    """`1000..1019` for a run of numbers, else all of them."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}..{seeds[-1]}"
    return ", ".join(map(str, seeds))
