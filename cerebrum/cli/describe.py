"""`cerebrum describe`: what happened to a run, task, node, workflow or cluster, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _contexts
from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, aligned, emit, emit_one, text
from cerebrum.model.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from cerebrum.experiments.explain import Decided
    from cerebrum.experiments.run import Run

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, the start of one, a folder, or `latest`.")
]
Top = Annotated[int, typer.Option("--top", min=1, max=100_000, help="Nodes in the score table.")]


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("run", help="The run in numbers: states, waits, allocation, reasons.")(run)
    group.command("task", help="A task's history and why: RUN TASK, or WORKFLOW/TASK.")(task)
    group.command("node", help="A node's use over time, and the tasks it ran.")(node)
    group.command("workflow", help="A workflow of a controller: parts, clusters, energy.")(workflow)
    group.command("cluster", help="A cluster of a controller: nodes and tasks.")(cluster)
    app.add_typer(group, name="describe", help=line)


def run(
    name: RunName = "latest", runs_dir: options.RunsDir = Path("runs"),
    output: options.Form = Output.TABLE,
) -> None:  # fmt: skip
    """Describe a run."""
    found = _load(name, runs_dir)
    record = {"id": found.id, **found.meta.model_dump(), "digest": found.digest}
    emit_one({**record, "summary": found.summary}, output)


def task(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run, or WORKFLOW/TASK.")],
    task_name: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The task of the run, or `auto`.")
    ] = None,
    runs_dir: options.RunsDir = Path("runs"),
    top: Top = 10,
    every: Annotated[
        bool, typer.Option("--all", help="Every decision about the task, not only the last.")
    ] = False,
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Describe a task of a run, or one that a controller knows."""
    if task_name is None:
        if "/" not in name:
            raise ConfigError(f"expected RUN TASK or WORKFLOW/TASK, got {name!r}").at(field="task")
        _live_task(name, server, context, output)
        return
    print_decision(_load(name, runs_dir), task_name, output, top, every)


def node(
    name: RunName,
    node_name: Annotated[str, typer.Argument(metavar="NODE", help="The node.")],
    runs_dir: options.RunsDir = Path("runs"),
    output: options.Form = Output.TABLE,
) -> None:
    """Describe a node."""
    from cerebrum.experiments import explain

    found = _load(name, runs_dir)
    row = explain.find_node(found, node_name)
    facts = found.nodes.row(row, named=True)
    tasks = explain.tasks_on(found, row)
    if output in (Output.JSON, Output.YAML):
        emit_one({**facts, "ran": tasks}, output)
        return
    emit_one(facts, output)
    sys.stdout.write("\n")
    emit(tasks, output)


def workflow(
    id: Annotated[str, typer.Argument(help="Workflow id.")],
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Describe a workflow of a controller."""
    with _contexts.client(server, context) as client:
        found = client.workflow(id)
    _print(found, "parts", output)


def cluster(
    id: Annotated[str, typer.Argument(help="Cluster id.")],
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Describe a cluster of a controller."""
    with _contexts.client(server, context) as client:
        found = next((row for row in client.clusters() if row["id"] == id), None)
        if found is None:
            raise NotFound(f"there is no cluster {id!r}")
        found = {**found, "node_list": client.nodes(id)}
    _print(found, "node_list", output)


def _live_task(uid: str, server: str | None, context: str | None, output: Output) -> None:
    from cerebrum.cli._live import age

    with _contexts.client(server, context) as client:
        found = client.task(uid)
    events = [
        {"age": age(e["unix_s"]), "kind": e["kind"], "cluster": e["cluster"], "why": _said(e)}
        for e in found["events"]
    ]
    whole = output in (Output.JSON, Output.YAML)
    _print({**found, "events": found["events"] if whole else events}, "events", output)


def _said(event: dict[str, Any]) -> str:
    data: dict[str, Any] = event["data"]
    return ", ".join(f"{k}={v}" for k, v in data.items() if k != "epoch" and v not in (None, ""))


def _print(record: dict[str, Any], rows: str, output: Output) -> None:
    """A record with a list inside: one document, or the record and below it the list."""
    if output in (Output.JSON, Output.YAML):
        emit_one(record, output)
        return
    emit_one({k: v for k, v in record.items() if k != rows and v not in (None, "")}, output)
    sys.stdout.write("\n")
    emit(record[rows], output)


def _load(name: str, runs_dir: Path) -> Run:
    from cerebrum.experiments.run import find_run, load

    return load(find_run(name, runs_dir))


def print_decision(
    found: Run, task_name: str, output: Output, top: int = 10, every: bool = False
) -> None:
    """The history of a task and the decisions about it; `auto` picks a telling one."""
    from cerebrum.experiments import explain

    if task_name == "auto":
        picked = explain.most_telling(
            explain.explain(found, explain.interesting(found, 24), top=top)
        )
        task_name = picked.task if picked else found.scenario.tasks.names[0]
    task_id = explain.find_task(found, task_name)
    places = explain.decisions_of(found, task_id)
    decided = explain.explain(found, places if every else places[-1:], top=top)
    facts = found.tasks.row(task_id, named=True)
    history = explain.history_of(found, task_id)
    if output in (Output.JSON, Output.YAML):
        decisions = [{n: getattr(d, n) for n in d.__slots__} for d in decided]
        emit_one({**facts, "history": history, "decisions": decisions}, output)
        return
    if output is Output.CSV:
        emit([score for d in decided for score in d.scores], output)
        return
    emit_one({k: v for k, v in facts.items() if v not in (None, "")}, output)
    sys.stdout.write("\n" + aligned(history, list(history[0]) if history else []))
    for one in decided:
        sys.stdout.write(decision_text(one))
    if not decided:
        sys.stdout.write("\nNothing was decided about it.\n")


def decision_text(d: Decided) -> str:
    """One decision for people: where to, which filters refused, what the best nodes scored."""
    went = {
        "bind": f"went to {d.node}" + (f", GPU {d.gpus}" if d.gpus else ""),
        "wait": "had to wait",
        "reject": "was rejected",
    }[d.action]
    lines = ["", f"{text(d.task)} {went} at {d.time_s:g} s.", d.summary]
    if d.scores:
        from cerebrum.experiments.explain import telling_columns

        columns = telling_columns(d.scores)
        rows: list[dict[str, Any]] = [
            {" ": ">" if s["node"] == d.node else " ", **s} for s in d.scores
        ]
        lines += ["", aligned(rows, [" ", *columns]).rstrip("\n")]
    if d.ties > 1:
        lines.append(f"{d.ties:,} nodes share the highest total; tie rule: {d.tie_rule}.")
    if d.note:
        lines.append(f"Note: {d.note}.")
    return "\n".join(lines) + "\n"
