"""Why a decision came out as it did: replay the log up to it, then ask the policy.

The same snapshot gives the same decision, so the table is the one the policy saw, whether the run
was made a second or a year ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import metrics
from cerebrum.engine.engine import Engine
from cerebrum.engine.log import EventLog
from cerebrum.experiments.run import Run
from cerebrum.experiments.simulate import find_policy
from cerebrum.model.errors import CerebrumError, NotFound, nearest
from cerebrum.model.events import EventKind
from cerebrum.model.protocols import Explains, Explanation, Policy, ScoreRow

ACTIONS = {
    EventKind.BOUND: "bind",
    EventKind.REJECTED: "reject",
    EventKind.UNSCHEDULABLE: "wait",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, explained.

    `event` its place in the log; `action` bind, reject or wait; `node` where to ('' nowhere);
    `summary` the filters in one line; `scores` node, total, and raw, normalised and weighted number
    of each of `scorers`, for the best nodes and then one for each lower total; `refused` reason ->
    nodes; `scored` nodes that fit; `agrees` whether the policy, asked again, gives the logged node.
    """

    task: str
    event: int
    time_s: float
    action: str
    node: str
    gpus: str
    summary: str
    scorers: tuple[str, ...]
    scores: tuple[dict[str, Any], ...]
    refused: dict[str, int]
    scored: int
    ties: int
    tie_rule: str
    agrees: bool
    note: str = ""


def find_task(run: Run, name: str) -> int:
    """The id of a task by name. Raises `NotFound` with the nearest name."""
    names = run.scenario.tasks.names
    try:
        return list(names).index(name)
    except ValueError:
        near = nearest(name, list(names)[:20_000])
        hint = f", did you mean {near!r}?" if near else ""
        raise NotFound(f"run {run.id or 'here'} has no task {name!r}{hint}") from None


def find_node(run: Run, name: str) -> int:
    """The row of a node by name. Raises `NotFound` with the nearest name."""
    names = run.node_names
    if name in names:
        return names.index(name)
    near = nearest(name, names[:20_000])
    hint = f", did you mean {near!r}?" if near else ""
    raise NotFound(f"run {run.id or 'here'} has no node {name!r}{hint}")


def decisions_of(run: Run, task: int) -> NDArray[np.int64]:
    """Places in the log where something was decided about a task."""
    rows = run.log.rows
    mine = (rows["subject"] == task) & np.isin(rows["kind"], [int(kind) for kind in ACTIONS])
    return np.flatnonzero(mine)


def explain(
    run: Run, events: Iterable[int], policy: Policy | None = None, top: int = 10
) -> list[Decided]:
    """Explain decisions by their places in the log, in log order, in one pass over the log."""
    chosen, note = _explainer(run, policy)
    engine = Engine(run.scenario, run.meta.key)
    rows, applied = run.log.rows, 0
    out: list[Decided] = []
    for event in sorted({int(e) for e in events}):
        engine.replay(EventLog(rows[applied:event]))
        applied = event
        snapshot = engine.snapshot()
        table = chosen.explain(snapshot, int(rows[event]["subject"]))
        out.append(_decided(run, engine, event, table, top, note))
    return out


def _explainer(run: Run, policy: Policy | None) -> tuple[Explains, str]:
    """The run's policy, or one that only knows the filters when it cannot explain itself."""
    note = ""
    if policy is None:
        try:
            policy = find_policy(run.meta.policy, run.scenario)
        except CerebrumError as problem:
            note = f"policy {run.meta.policy!r} is not here any more ({problem}): filters only"
    if policy is not None and isinstance(policy, Explains):
        return policy, ""
    note = note or f"policy {run.meta.policy!r} does not explain its scores: filters only"
    filters = find_policy("first-fit", run.scenario)
    assert isinstance(filters, Explains)
    return filters, note


def _decided(
    run: Run, engine: Engine, event: int, table: Explanation, top: int, note: str
) -> Decided:
    row = run.log.rows[event]
    kind, names = EventKind(int(row["kind"])), engine.node_names
    logged = int(row["row"]) if kind == EventKind.BOUND else -1
    fitting = sorted(
        (r for r in table.rows if not r.refusals), key=lambda r: (-r.total, r.row != logged, r.row)
    )
    refusals = [r.refusals for r in table.rows]
    scorers = () if note else table.scorers
    return Decided(
        task=run.scenario.tasks.names[int(row["subject"])],
        event=event,
        time_s=float(row["time_s"]),
        action=ACTIONS[kind],
        node=names[logged] if logged >= 0 else "",
        gpus=metrics.gpu_text(int(row["gpus"])),
        summary=metrics.no_node_text(refusals),
        scorers=scorers,
        scores=tuple(_score(r, scorers, names) for r in _shown(fitting, top)),
        refused=metrics.count_reasons(refusals),
        scored=len(fitting),
        ties=table.ties,
        tie_rule=table.tie_rule,
        agrees=table.winner == logged,
        note=note or table.note,
    )


def _shown(fitting: list[ScoreRow], top: int) -> list[ScoreRow]:
    """The best nodes, and then one node for each lower total: what else there was to choose."""
    head = fitting[: max(1, top // 2)]
    lower: list[ScoreRow] = []
    for row in fitting[len(head) :]:
        if row.total < (lower or head)[-1].total and len(head) + len(lower) < top:
            lower.append(row)
    fill = [r for r in fitting[len(head) :] if r not in lower][: top - len(head) - len(lower)]
    return [*head, *fill, *lower]


def _score(row: Any, scorers: tuple[str, ...], names: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {"node": names[row.row]}
    if scorers:
        out["total"] = row.total
    for i, name in enumerate(scorers):
        out[f"{name} raw"] = row.raw[i]
        out[f"{name} normalized"] = row.normalized[i]
        out[f"{name} weighted"] = row.weighted[i]
    return out


def telling_columns(scores: Sequence[dict[str, Any]]) -> list[str]:
    """The columns of a score table that say something: not those that repeat the one before."""
    kept: list[str] = []
    for name in scores[0] if scores else ():
        if not kept or any(row[name] != row[kept[-1]] for row in scores):
            kept.append(name)
    return kept


def interesting(run: Run, count: int = 40) -> list[int]:
    """Places in the log of decisions worth a look, at most `count`.

    Some refusals of every kind, and binds spread over the run with a preference for its fuller
    second half, GPU tasks first: where there was a choice to make.
    """
    rows = run.log.rows
    refused = np.flatnonzero(
        (rows["kind"] == EventKind.UNSCHEDULABLE) | (rows["kind"] == EventKind.REJECTED)
    )
    picked: list[int] = []
    for reason in np.unique(rows["reason"][refused]):
        mine = refused[rows["reason"][refused] == reason]
        picked += [int(mine[i]) for i in _spread(len(mine), max(1, count // 8))]
    picked = picked[: count // 2]
    bound = np.flatnonzero(rows["kind"] == EventKind.BOUND)
    gpu = bound[rows["gpus"][bound] != 0]
    source = gpu if len(gpu) else bound
    later = source[len(source) // 2 :]
    room = count - len(picked)
    picked += [int(later[i]) for i in _spread(len(later), room - room // 3)]
    picked += [int(bound[i]) for i in _spread(len(bound), room // 3)]
    return sorted(set(picked))[:count]


def _spread(n: int, count: int) -> list[int]:
    """At most `count` places of 0..n-1, evenly apart, the last one included."""
    if n <= count:
        return list(range(n))
    return [int(i) for i in np.linspace(0, n - 1, count).round()] if count > 0 else []


def most_telling(decided: Iterable[Decided]) -> Decided | None:
    """The bind with most kinds of refusal among those where scores had to decide."""
    binds = [d for d in decided if d.action == "bind" and d.scored > 1]
    contested = [d for d in binds if d.refused] or binds
    return max(contested, key=lambda d: (d.ties < d.scored, len(d.refused), -d.ties), default=None)


def history_of(run: Run, task: int) -> list[dict[str, Any]]:
    """Every event of a task: when, what, where, why."""
    rows, names = run.log.rows, run.node_names
    mine = rows[(rows["subject"] == task) & ~np.isin(rows["kind"], _NODE_KINDS)]
    return [
        {
            "time_s": float(row["time_s"]),
            "event": EventKind(int(row["kind"])).name.lower(),
            "node": names[int(row["row"])] if row["row"] >= 0 else "",
            "gpus": metrics.gpu_text(int(row["gpus"])),
            "reason": metrics.reason_text(int(row["reason"])),
        }
        for row in mine
    ]


_NODE_KINDS = [
    int(kind)
    for kind in (
        EventKind.NODE_ADDED, EventKind.NODE_CHANGED, EventKind.NODE_REMOVED,
        EventKind.SIGNAL_CHANGED,
    )
]  # fmt: skip


def tasks_on(run: Run, row: int) -> list[dict[str, Any]]:
    """Every attempt that ran on a node, by start: task, start_s, end_s (None: still runs), GPUs."""
    from cerebrum.experiments._figures import intervals

    found = intervals(run)
    mine = np.flatnonzero(found["row"] == row)
    names = run.scenario.tasks.names
    order = mine[np.argsort(found["start_s"][mine], kind="stable")]
    return [
        {
            "task": names[int(found["task"][i])],
            "start_s": float(found["start_s"][i]),
            "end_s": float(found["end_s"][i]) if found["ended"][i] else None,
            "gpus": metrics.gpu_text(int(found["gpus"][i])),
        }
        for i in order
    ]
