"""`cerebrum get`: runs, policies, scenarios; workflows, tasks, clusters ... of a controller."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cerebrum.cli import _contexts
from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit


class Kind(StrEnum):
    """What can be listed."""

    RUNS = "runs"
    POLICIES = "policies"
    SCENARIOS = "scenarios"
    FORECASTERS = "forecasters"
    WORKFLOWS = "workflows"
    TASKS = "tasks"
    CLUSTERS = "clusters"
    NODES = "nodes"
    ASSIGNMENTS = "assignments"
    EVENTS = "events"
    QUOTAS = "quotas"


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("get", help=line)(get)


def get(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    workflow: Annotated[
        str | None, typer.Argument(help="Only of this workflow (tasks, assignments, events).")
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only of this cluster.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with what changes.")] = False,
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
    runs_dir: options.RunsDir = Path("runs"),
    output: options.Form = Output.TABLE,
) -> None:
    """List what there is."""
    from cerebrum.cli import _live

    if kind.value in _live.KINDS:
        filters = {"workflow": workflow, "state": state, "cluster": cluster}
        with _contexts.client(server, context) as client:
            _live.show(kind.value, client, filters, output, watch)
        return
    if kind is Kind.RUNS:
        _runs(runs_dir, output)
    elif kind is Kind.POLICIES:
        emit(_policies(), output)
    elif kind is Kind.FORECASTERS:
        from cerebrum.forecast import FORECASTERS

        emit([{"name": n, "about": _about(FORECASTERS[n])} for n in FORECASTERS], output)
    else:
        emit(_scenarios(), output)


def _runs(runs_dir: Path, output: Output) -> None:
    from cerebrum.experiments.run import list_runs

    names = ("id", "policy", "scenario", "seed", "created", "digest")
    rows = [{name: record.get(name) for name in names} for record in list_runs(runs_dir)]
    emit(rows, output, names[:-1])


def _policies() -> list[dict[str, Any]]:
    from cerebrum.policies import POLICIES, policy_names

    return [{"name": n, "about": _about(POLICIES.get(n, ""))} for n in policy_names()]


def _about(home: str) -> str:
    """The first line of what the policy's file says about itself."""
    import importlib

    if not home:
        return "from an installed package"
    doc = importlib.import_module(home.partition(":")[0]).__doc__ or ""
    return doc.strip().splitlines()[0] if doc.strip() else ""


def _scenarios() -> list[dict[str, Any]]:
    from cerebrum import traces
    from cerebrum.traces.synthetic import openb_like, plain

    makers = {"openb-like": openb_like, "synthetic": plain}
    rows = [
        {"name": name, "kind": "generated", "about": (makers[name].__doc__ or "").split("\n")[0]}
        for name in traces.GENERATED
    ]
    return rows + [
        {"name": name, "kind": "format", "about": traces.load_format(name).DESCRIPTION}
        for name in traces.FORMATS
    ]
