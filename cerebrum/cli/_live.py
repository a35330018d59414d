"""Lists of what a controller knows, once or watched."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cerebrum.cli._output import Output, emit, render

if TYPE_CHECKING:
    from cerebrum.services.client import CerebrumClient

Rows = Callable[["CerebrumClient", Mapping[str, Any]], list[dict[str, Any]]]

COLUMNS: dict[str, tuple[str, ...]] = {
    "workflows": ("id", "name", "state", "tasks", "succeeded", "failed", "age", "reason"),
    "tasks": ("uid", "state", "cluster", "node", "attempt", "run_s", "reason"),
    "clusters": ("id", "state", "cordoned", "nodes", "cpu_milli", "memory_mib", "held", "running"),
    "nodes": ("name", "cluster", "cpu_milli", "memory_mib", "gpu_count", "speed", "schedulable"),
    "assignments": ("id", "workflow", "part", "cluster", "generation", "state", "tasks"),
    "events": ("seq", "age", "kind", "workflow", "task", "cluster"),
    "quotas": ("tenant", "tasks", "limit", "max_tasks"),
}
"""What `get KIND` shows as a table; `-o wide` and the other forms show everything."""


def workflows(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Newest first."""
    rows = list(client.workflows(state=filters.get("state")))
    return [{**row, "age": age(row["submitted_unix_s"])} for row in rows]


def tasks(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of one workflow or of all."""
    names = ("workflow", "state", "cluster")
    rows = list(client.tasks(**{name: filters.get(name) for name in names}))
    return [{**row, "run_s": _run_s(row)} for row in rows]


def clusters(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """With how many of our tasks each holds and runs."""
    del filters
    rows: list[dict[str, Any]] = []
    for row in client.clusters():
        counts = row["tasks"]
        held = sum(counts.get(state, 0) for state in ("offered", "held", "running"))
        rows.append({**row, "held": held, "running": counts.get("running", 0)})
    return rows


def nodes(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of one cluster or of all."""
    return client.nodes(filters.get("cluster"))


def assignments(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was given to whom."""
    names = ("workflow", "cluster")
    return list(client.assignments(**{name: filters.get(name) for name in names}))


def events(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    rows = list(client.events(workflow=filters.get("workflow")))
    return [{**row, "age": age(row["unix_s"])} for row in rows]


def quotas(client: CerebrumClient, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By tenant."""
    return list(client.quotas())


KINDS: dict[str, Rows] = {
    "workflows": workflows, "tasks": tasks, "clusters": clusters, "nodes": nodes,
    "assignments": assignments, "events": events, "quotas": quotas,
}  # fmt: skip


def show(
    kind: str, client: CerebrumClient, filters: Mapping[str, Any], output: Output, watch: bool
) -> None:
    """Print the list; when watching, then each row that has changed, until interrupted."""
    rows = KINDS[kind](client, filters)
    emit(rows, output, COLUMNS[kind])
    key = COLUMNS[kind][0]
    while watch:
        time.sleep(1.0)
        known = {row[key]: _without_age(row) for row in rows}
        rows = KINDS[kind](client, filters)
        changed = [row for row in rows if known.get(row[key]) != _without_age(row)]
        if changed:
            text = render(changed, output, COLUMNS[kind])
            tabular = output in (Output.TABLE, Output.WIDE)
            sys.stdout.write(text.partition("\n")[2] if tabular else text)
            sys.stdout.flush()


def age(unix_s: float | None) -> str:
    """How long ago, in the two largest units that say something: 3h12m."""
    if unix_s is None:
        return ""
    left = max(0, int(time.time() - unix_s))
    words: Sequence[tuple[int, str]] = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    parts: list[str] = []
    for size, letter in words:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{letter}")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def _run_s(row: Mapping[str, Any]) -> float | None:
    started, ended = row.get("started_unix_s"), row.get("ended_unix_s")
    if started is None:
        return None
    return (time.time() if ended is None else ended) - started


def _without_age(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("age", "run_s")}
