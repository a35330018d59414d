"""`cerebrum traces`: list, describe, validate, convert, fetch, topology."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit, emit_one
from cerebrum.cli._progress import say

if TYPE_CHECKING:
    from cerebrum.model.scenario import Scenario

Source = Annotated[str, typer.Argument(help="File, folder, or a name such as openb-like.")]


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("list", help="Formats that can be read, and scenarios that need no file.")(list_)
    group.command("describe", help="What a trace holds, in numbers.")(describe)
    group.command("validate", help="Read a trace and say whether it is sound.")(validate)
    group.command("convert", help="Write a trace in another format.")(convert)
    group.command("fetch", help="Download a public trace, checksum verified.")(fetch)
    group.command("topology", help="Add rack and server labels to node lists.")(topology)
    app.add_typer(group, name="traces", help=line)


def list_(output: options.Form = Output.TABLE) -> None:
    """List formats."""
    from cerebrum import traces

    rows: list[dict[str, Any]] = []
    for name in traces.FORMATS:
        found = traces.load_format(name)
        endings = " ".join(found.EXTENSIONS)
        writes = "read, write" if traces.writable(name) else "read"
        rows.append({"format": name, "can": writes, "files": endings, "about": found.DESCRIPTION})
    emit(rows, output)


def describe(
    source: Source, format: options.Format = None, settings: options.Settings = None,
    output: options.Form = Output.TABLE,
) -> None:  # fmt: skip
    """Describe a trace."""
    emit_one(facts(_read(source, format, settings)), output)


def validate(
    source: Source, format: options.Format = None, settings: options.Settings = None,
    output: options.Form = Output.TABLE,
) -> None:  # fmt: skip
    """Validate a trace: exit code 0 when it can be read, 2 when not."""
    scenario = _read(source, format, settings)
    report = scenario.report
    counts = {"read": report.read, "kept": report.kept, "dropped": dict(report.dropped)}
    emit_one({"trace": source, "valid": True, **counts, "notes": list(report.notes)}, output)


def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(help="File or folder to write.")],
    to: Annotated[str, typer.Option("--to", help="Format to write (see `traces list`).")] = "table",
    format: options.Format = None,
    settings: options.Settings = None,
) -> None:
    """Convert a trace."""
    from cerebrum import traces

    scenario = _read(source, format, settings)
    traces.write(scenario, target, to)
    say(f"{len(scenario.tasks):,} tasks, {len(scenario.cluster):,} nodes")
    print(target)


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Files or groups (openb, jobs); none: list them."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder to put them in.")] = Path("data"),
    output: options.Form = Output.TABLE,
) -> None:
    """Download public traces."""
    from cerebrum.traces import catalog

    if not names:
        rows = [
            {"name": f.name, "group": f.group, "bytes": f.size, "licence": f.origin.licence,
             "origin": f"{f.origin.repository}@{f.origin.commit[:7]}", "sha256": f.sha256}
            for f in catalog.FILES
        ]  # fmt: skip
        emit(rows, output, ["name", "group", "bytes", "licence"])
        return
    chosen = catalog.choose(names)
    for path in catalog.fetch(chosen, to, tell=lambda file, what: say(f"{file.name}: {what}")):
        print(path)


def topology(
    data: Annotated[
        Path, typer.Option("--data-dir", help="Folder of node lists in CSV or YAML.")
    ] = Path("data"),
    servers: Annotated[int, typer.Option("--servers-per-rack", min=1, help="Nodes in a rack.")] = 4,
) -> None:
    """Node i gets labels rack-{i // k} and srv-{i % k}; writes `*-hier` beside the originals."""
    from cerebrum.traces.simon import add_topology

    for path in add_topology(data, servers):
        print(path)


def _read(source: str, format: str | None, settings: list[str] | None) -> Scenario:
    from cerebrum import traces

    return traces.read(source, format, **options.reader_options(settings))


def facts(scenario: Scenario) -> dict[str, Any]:
    """A scenario in numbers, units in their names."""
    import numpy as np

    tasks, nodes = scenario.tasks, scenario.cluster.nodes
    finite = tasks.duration_s[np.isfinite(tasks.duration_s)]
    out: dict[str, Any] = {
        "name": scenario.name, "source": scenario.source, "nodes": len(nodes),
        "cpu_milli": sum(n.capacity.cpu_milli for n in nodes),
        "memory_mib": sum(n.capacity.memory_mib for n in nodes),
        "gpus": scenario.cluster.gpu_capacity,
        "gpu_models": dict(Counter(n.gpu_model for n in nodes if n.gpu_model).most_common()),
        "tasks": len(tasks), "task_classes": len(tasks.classes), "jobs": len(tasks.jobs),
        "gpu_tasks": int((tasks.request("gpu_count") > 0).sum()),
        "requested_cpu_milli": int(tasks.request("cpu_milli").sum()),
        "requested_gpu_milli": int(tasks.request("gpu_milli_total").sum()),
    }  # fmt: skip
    if len(tasks):
        out["first_submit_s"] = float(tasks.submit_s.min())
        out["last_submit_s"] = float(tasks.submit_s.max())
    if len(finite):
        out["duration_s_mean"] = float(finite.mean())
        out["duration_s_p50"] = float(np.median(finite))
    out["endless_tasks"] = int(len(tasks) - len(finite))
    out["node_events"] = len(scenario.node_events)
    report = scenario.report
    out["rows"] = {"read": report.read, "kept": report.kept, "dropped": dict(report.dropped)}
    out["notes"] = list(report.notes)
    return out
