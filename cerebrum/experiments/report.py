"""One self-contained HTML page of one run or several: no network, strict content security policy.

Every name goes through Jinja's escaping or, in the data, through JSON with `<`, `>` and `&` written
as escapes; the script only ever sets text, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerebrum.experiments import _figures as figures
from cerebrum.experiments import _store, table
from cerebrum.experiments._page import asset, policy_hash, template
from cerebrum.experiments.explain import (
    Decided,
    explain,
    interesting,
    most_telling,
    telling_columns,
)
from cerebrum.experiments.run import Run
from cerebrum.model.errors import ConfigError

MAX_RUNS = 16
DECISIONS = 40
"""Decisions explained on a page of one run; several runs share 60."""

_COMPARED = (
    ("gpu_allocation_pct", "GPU allocation, %", 1),
    ("cpu_allocation_pct", "CPU allocation, %", 1),
    ("fragmentation_pct", "fragmented GPUs, %", -1),
    ("started", "tasks started", 1),
    ("waiting", "still waiting", -1),
    ("rejected", "rejected", -1),
    ("wait_s_mean", "mean wait, s", -1),
    ("wait_s_p99", "99th percentile wait, s", -1),
    ("completion_s_mean", "mean completion, s", -1),
    ("bounded_slowdown_mean", "bounded slowdown", -1),
    ("makespan_s", "makespan, s", -1),
    ("preemptions", "preemptions", 0),
    ("cpu_s", "CPU time of the simulation, s", 0),
)
"""Metric, its heading, and whether more (1) or less (-1) is better."""


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write the page, whole or not at all."""
    _store.write_whole(path, render(runs))


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    if not 1 <= len(runs) <= MAX_RUNS:
        raise ConfigError(f"a report shows 1 to {MAX_RUNS} runs, got {len(runs)}")
    css, js = asset("report.css"), asset("report.js")
    first = runs[0]
    same = len({run.meta.scenario for run in runs}) == 1
    return template("report.html.j2").render(
        title=f"Cerebrum: {first.meta.scenario}",
        heading=_heading(runs),
        subtitle=_subtitle(runs) if same else f"{len(runs)} runs",
        tiles=_tiles(runs[0]) if len(runs) == 1 else [],
        comparison=_comparison(runs) if len(runs) > 1 else None,
        records=[_record(run) for run in runs],
        created=first.meta.created,
        css=css,
        js=js,
        css_hash=policy_hash(css),
        js_hash=policy_hash(js),
        data=_embedded(_payload(runs)),
    )


def _embedded(value: object) -> str:
    """JSON that cannot end the element it stands in, whatever the names in it."""
    text = json.dumps(_store.plain(value), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# -- text -----------------------------------------------------------------------------------


def _heading(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return f"{runs[0].meta.policy} on {runs[0].meta.scenario}"
    scenarios = {run.meta.scenario for run in runs}
    where = scenarios.pop() if len(scenarios) == 1 else f"{len(scenarios)} scenarios"
    return f"{len(runs)} runs compared on {where}"


def _subtitle(runs: Sequence[Run]) -> str:
    run = runs[0]
    gpus = run.scenario.cluster.gpu_capacity
    parts = [f"{len(run.scenario.tasks):,} tasks", f"{len(run.scenario.cluster):,} nodes"]
    if gpus:
        parts.append(f"{gpus:,} GPUs")
    if len(runs) == 1:
        parts.append(f"seed {run.meta.seed}")
        parts.append(f"simulated in {run.meta.wall_s:.2f} s")
    return ", ".join(parts)


def _tiles(run: Run) -> list[dict[str, str]]:
    row, s = table.row(run), run.summary
    when = "mean over time" if s.get("succeeded") else "at the end"
    left = f"{row['waiting']:,} waiting, {row['rejected']:,} rejected"
    wanted = (
        ("GPU allocation", row["gpu_allocation_pct"], "%", when),
        ("CPU allocation", row["cpu_allocation_pct"], "%", when),
        ("Fragmented GPUs", row["fragmentation_pct"], "%", f"of capacity, {when}"),
        ("Tasks started", row["started"], f"of {len(run.scenario.tasks):,}", left),
        ("Mean wait", s["wait_s_mean"], "s", f"99 % waited at most {_short(s['wait_s_p99'])} s"),
        ("Bounded slowdown", s["bounded_slowdown_mean"], "", "mean; run times under 10 s as 10 s"),
        ("Makespan", s["makespan_s"], "s", "first submission to last end"),
    )
    return [
        {"label": label, "value": _short(value), "unit": unit, "hint": hint}
        for label, value, unit, hint in wanted
        if value is not None
    ]


def _short(value: float | None) -> str:
    """A number as people read it."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _comparison(runs: Sequence[Run]) -> dict[str, Any]:
    rows = [table.row(run) for run in runs]
    known = [c for c in _COMPARED if any(row.get(c[0]) is not None for row in rows)]
    best = {name: _best([row.get(name) for row in rows], sign) for name, _, sign in known}
    return {
        "note": "Best of each column marked. Allocation and fragmentation are means over time "
        "where tasks end, otherwise the state at the end.",
        "columns": ["run", *(heading for _, heading, _ in known)],
        "rows": [
            [{"text": label}]
            + [
                {"text": _short(row.get(name)), "best": row.get(name) == best[name] is not None}
                for name, _, _ in known
            ]
            for label, row in zip(_labels(runs), rows, strict=True)
        ],
    }


def _best(values: list[Any], sign: int) -> Any:
    """The best value, unless all are the same or the metric has no better."""
    known = [v for v in values if v is not None]
    if not sign or len(set(known)) < 2:
        return None
    return max(known, key=lambda v: sign * v)


def _labels(runs: Sequence[Run]) -> list[str]:
    """What tells the runs apart: policy, and scenario and seed where these differ."""
    several = [len({getattr(run.meta, name) for run in runs}) > 1 for name in ("scenario", "seed")]
    out: list[str] = []
    for run in runs:
        label = run.meta.policy
        if several[0]:
            label += f", {run.meta.scenario}"
        if several[1]:
            label += f", seed {run.meta.seed}"
        out.append(label)
    return [f"{label} ({i + 1})" if out.count(label) > 1 else label for i, label in enumerate(out)]


def _record(run: Run) -> dict[str, Any]:
    versions = ", ".join(f"{name} {version}" for name, version in run.meta.versions.items())
    commit = f", commit {run.meta.commit[:12]}" if run.meta.commit else ""
    return {
        "id": run.id, "policy": run.meta.policy, "scenario": run.meta.source or run.meta.scenario,
        "seed": run.meta.seed, "digest": run.digest, "made": versions + commit,
    }  # fmt: skip


# -- data -----------------------------------------------------------------------------------


def _payload(runs: Sequence[Run]) -> dict[str, Any]:
    packing = all(not run.summary.get("succeeded") for run in runs)
    gpus = any(run.scenario.cluster.gpu_capacity for run in runs)
    by_load = packing and gpus
    each = DECISIONS if len(runs) == 1 else max(4, 60 // len(runs))
    return {
        "time": not by_load,
        "x_label": "GPUs asked for so far, % of capacity" if by_load else "time since start",
        "gpus": gpus,
        "runs": [
            _run_data(run, label, by_load, each)
            for run, label in zip(runs, _labels(runs), strict=True)
        ],
    }


def _run_data(run: Run, label: str, by_load: bool, decisions: int) -> dict[str, Any]:
    decided = explain(run, interesting(run, decisions), top=8)
    first = most_telling(decided)
    return {
        "label": label,
        "nodes": len(run.series.nodes),
        **figures.curves(run, by_load),
        "wait": figures.waits(run),
        "heat": figures.heat(run),
        "gantt": figures.gantt(run),
        "decisions": [_decision(d) for d in decided],
        "first_decision": decided.index(first) if first else 0,
        "explorer_note": f"{len(decided)} of {len(run.decisions):,} decisions are kept on this "
        "page; `cerebrum describe task RUN TASK` explains any other.",
        "waiting": run.summary["unschedulable_by_reason"],
        "rejected": run.summary["rejected_by_reason"],
    }


def _decision(d: Decided) -> dict[str, Any]:
    columns = telling_columns(d.scores)
    shown = {name: getattr(d, name) for name in d.__slots__}
    return {**shown, "scores": [{name: row[name] for name in columns} for row in d.scores]}
