"""`cerebrum simulate`: policies on scenarios, or a workflow on clusters; a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("simulate", help=line)(simulate)


def simulate(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, or names such as openb-like.", metavar="SCENARIO..."),
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option("-f", "--cluster-config", help="cluster.yaml of `simon apply`.")
    ] = None,
    scheduler: Annotated[
        Path | None,
        typer.Option("-s", "--scheduler-config", help="KubeSchedulerConfiguration in YAML."),
    ] = None,
    extended: Annotated[
        str, typer.Option("--extended-resources", help="As `simon apply`: only `gpu` is known.")
    ] = "gpu",
    policy: options.Policies = None,
    seed: options.Seed = 42,
    format: options.Format = None,
    settings: options.Settings = None,
    runs_dir: options.RunsDir = Path("runs"),
    rebind: Annotated[
        bool,
        typer.Option(help="Kubernetes: forget where pods are, and place all of them anew."),
    ] = False,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    output: options.Form = Output.TABLE,
    explain: Annotated[
        str | None,
        typer.Option(help="Also tell why this task went where it went; `auto` picks one."),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(help="Run WORKFLOW files on clusters: 2x4, east:4,west:8, federation.yaml."),
    ] = None,
    decomposition: Annotated[
        list[str] | None, typer.Option(help="With --clusters: decomposers. Repeat, or a,b,c.")
    ] = None,
    assignment: Annotated[
        list[str] | None, typer.Option(help="With --clusters: assigners. Repeat, or a,b,c.")
    ] = None,
    failure_rate: Annotated[
        float, typer.Option(min=0, max=0.99, help="With --clusters: chance that an attempt fails.")
    ] = 0.0,
    straggler_share: Annotated[
        float, typer.Option(min=0, max=1, help="With --clusters: share of tasks that run slow.")
    ] = 0.0,
) -> None:
    """Run policies on scenarios, or with --clusters workflows on a federation."""
    given = options.split(policy)
    if clusters is not None:
        from cerebrum.cli._simulate_workflow import simulate_workflow

        page = runs_dir / "workflow.html" if report else None
        simulate_workflow(
            scenarios or [], clusters, options.split(decomposition), options.split(assignment),
            given, failure_rate, straggler_share, seed, page, output,
        )  # fmt: skip
        return
    reader = options.reader_options(settings)
    if rebind:
        reader["bindings"] = "forget"
    wanted = _sources(scenarios, cluster, scheduler, extended, reader)
    if scheduler is not None and cluster is None:
        given.append(str(scheduler))
    saved = [
        _one(scenario, name, seed, runs_dir, report)
        for scenario, name in _plan(wanted, given, seed, format)
    ]
    _print(saved, output)
    if explain is not None:
        from cerebrum.cli.describe import print_decision

        for run in saved:
            print_decision(run, explain, Output.TABLE if output is Output.CSV else output)


def _sources(
    scenarios: list[str] | None,
    cluster: Path | None,
    scheduler: Path | None,
    extended: str,
    reader: dict[str, Any],
) -> list[tuple[str, dict[str, Any]]]:
    """What to read, each with its reader's options."""
    for name in filter(None, extended.split(",")):
        if name.strip() != "gpu":
            raise ConfigError(f"only gpu is known, got {name.strip()!r}").at(
                field="--extended-resources"
            )
    found = [(source, dict(reader)) for source in scenarios or []]
    if cluster is not None:
        extra = {"scheduler": str(scheduler)} if scheduler is not None else {}
        found.append((str(cluster), {**reader, **extra}))
    if not found:
        raise ConfigError("expected a scenario: a file, a folder, openb-like, or -f cluster.yaml")
    return found


def _plan(
    wanted: list[tuple[str, dict[str, Any]]], given: list[str], seed: int, format: str | None
) -> list[tuple[Any, str | None]]:
    """Every scenario with every policy; all of them are found before the first runs."""
    from cerebrum.experiments.simulate import find_policy, find_scenario

    names: list[str | None] = list(given) or [None]
    scenarios = [find_scenario(source, seed, format, **how) for source, how in wanted]
    for scenario in scenarios:
        for name in names:
            find_policy(name, scenario)
    return [(scenario, name) for scenario in scenarios for name in names]


def _one(scenario: Any, policy: str | None, seed: int, runs_dir: Path, report: bool) -> Any:
    from cerebrum.experiments.simulate import simulate

    label = f"{scenario.name}, {policy or 'its own policy'}"
    with bar(label, len(scenario.tasks)) as advance:
        run = simulate(
            scenario, policy, seed, progress=lambda _, ended: advance(ended, len(scenario.tasks))
        )
    saved = run.save(runs_dir, report=report)
    say(f"{runs_dir / saved.id}/: {len(saved.log):,} events in {saved.meta.wall_s:.2f} s")
    return saved


def _print(runs: list[Any], output: Output) -> None:
    from cerebrum.experiments import table

    if output in (Output.JSON, Output.YAML):
        records = [
            {"run": r.id, **r.meta.model_dump(), "digest": r.digest, "summary": r.summary}
            for r in runs
        ]
        emit(records, output)
        return
    rows = [{"run": r.id, **table.row(r)} for r in runs]
    known = [n for n in table.HEADLINE if any(row.get(n) is not None for row in rows)]
    emit(rows, output, ["run", *(n for n in known if n not in ("scenario", "seed"))])
