"""What planning writes, inside its transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from cerebrum.model.federation import Decomposition
from cerebrum.services.controller import policies
from cerebrum.services.controller._change import Change, TaskRow
from cerebrum.services.controller._reasons import Reasons
from cerebrum.services.controller._sessions import Session
from cerebrum.services.controller._specs import Shape
from cerebrum.services.controller._transitions import assign, fall, recount
from cerebrum.services.store import schema as db


@dataclass(eq=False)
class Decision:
    """A workflow's parts, the cluster of each task that needs one, and why for people."""

    shape: Shape
    cut: Decomposition
    clusters: dict[int, str]
    rank_s: NDArray[np.float64]
    decomposition: str
    assignment: str
    reasons: Reasons

    def reason(self, task: int, cluster: str) -> str:
        """Why a task goes to that cluster."""
        return self.reasons.get((int(self.cut.part[task]), cluster), self.assignment)


def store(change: Change, decision: Decision) -> bool:
    """Write the plan; False when a cluster is not to be had any more."""
    shape, cut = decision.shape, decision.cut
    rows = change.tasks(shape.id)
    pending = [rows[i] for i in range(len(shape)) if rows[i].state == "pending"]
    if any(row.idx not in decision.clusters for row in pending):
        return False  # more came back meanwhile
    targets = {decision.clusters[row.idx] for row in pending}
    if targets - _available(change, targets):
        return False
    first = all(row.part is None for row in rows.values())
    if first:
        positions = shape.positions(decision.rank_s).tolist()
        for row in rows.values():
            row.set(
                rank_s=float(decision.rank_s[row.idx]),
                position=positions[row.idx],
                part=int(cut.part[row.idx]),
            )
        _store_parts(change, decision)
    for row in pending:
        part, cluster = int(cut.part[row.idx]), decision.clusters[row.idx]
        row.reason = ""
        assign(change, shape, row, cluster, part, decision.reason(row.idx, cluster))
    recount(change, shape)
    table = db.workflows
    used = {
        "started_unix_s": change.unix_s,
        "decomposition": decision.decomposition,
        "assignment": decision.assignment,
    }
    change.connection.execute(
        update(table)
        .where(table.c.id == shape.id)
        .values(state="running", to_plan=0, reason="", **(used if first else {}))
    )
    if not first:
        _move_parts(change, decision, pending)
    return True


def _available(change: Change, wanted: set[str]) -> set[str]:
    table = db.clusters
    query = select(table.c.id).where(
        table.c.id.in_(wanted), table.c.state == "live", table.c.cordoned == 0
    )
    return set(change.connection.scalars(query))


def _store_parts(change: Change, decision: Decision) -> None:
    shape, cut = decision.shape, decision.cut
    members = {int(cut.part[task]): task for task in decision.clusters}
    clusters = {part: decision.clusters[task] for part, task in members.items()}
    sizes, work = np.bincount(cut.part, minlength=cut.parts).tolist(), cut.work_core_s().tolist()
    change.connection.execute(
        insert(db.parts),
        [
            {
                "workflow_id": shape.id,
                "part": part,
                "cluster": clusters.get(part),
                "tasks": sizes[part],
                "core_s": work[part],
                "reason": decision.reason(members[part], clusters[part]) if part in members else "",
            }
            for part in range(cut.parts)
        ],
    )
    w = shape.workflow
    ends = np.stack([cut.part[w.before], cut.part[w.after]], axis=1)
    crossing = ends[ends[:, 0] != ends[:, 1]]
    quotient: list[list[int]] = np.unique(crossing, axis=0).tolist()
    change.log(
        "planned", shape.id,
        parts=cut.parts, cut_mb=cut.cut_mb, decomposition=decision.decomposition,
        assignment=decision.assignment, quotient=quotient,
    )  # fmt: skip


def _move_parts(change: Change, decision: Decision, moved: Sequence[TaskRow]) -> None:
    table = db.parts
    moves = {int(decision.cut.part[row.idx]): row.idx for row in moved}
    for part, task in sorted(moves.items()):
        cluster = decision.clusters[task]
        change.connection.execute(
            update(table)
            .where(table.c.workflow_id == decision.shape.id, table.c.part == part)
            .values(cluster=cluster, reason=decision.reason(task, cluster))
        )


def tenant_of(connection: Connection, workflow_id: str) -> str:
    """Whose workflow it is; empty when it is gone."""
    query = select(db.workflows.c.tenant).where(db.workflows.c.id == workflow_id)
    return str(connection.execute(query).scalar_one_or_none() or "")


def nothing_to_plan(change: Change, shape: Shape) -> None:
    """The workflow has no pending task."""
    change.connection.execute(
        update(db.workflows).where(db.workflows.c.id == shape.id).values(to_plan=0)
    )


def set_reason(change: Change, workflow_id: str, reason: str) -> None:
    """Say why a workflow waits."""
    change.connection.execute(
        update(db.workflows).where(db.workflows.c.id == workflow_id).values(reason=reason)
    )


def rejecter(shape: Shape, live: Sequence[Session]) -> Callable[[Change], None]:
    """What rejects a workflow whose tasks fit none of these clusters."""
    return lambda change: _reject(change, shape, live)


def _reject(change: Change, shape: Shape, live: Sequence[Session]) -> None:
    """End the tasks that fit nowhere; the other pending ones go with them, and what is behind."""
    rows = change.tasks(shape.id)
    pending = [row for row in rows.values() if row.state == "pending"]
    unfit = policies.misfits(shape, [row.idx for row in pending], live)
    for row in pending:
        if row.idx in unfit:
            change.end(shape.id, row, "rejected", unfit[row.idx])
    for row in pending:
        if row.ended:
            fall(change, shape, row)
    if unfit:
        name = rows[next(iter(unfit))].name
        for row in pending:
            if not row.ended:
                change.end(shape.id, row, "cancelled", f"{name!r} fits no cluster")
                fall(change, shape, row)
        set_reason(change, shape.id, f"task {name!r}: {next(iter(unfit.values()))}")
        nothing_to_plan(change, shape)
    else:
        change.to_plan[shape.id] = shape.spec.priority
