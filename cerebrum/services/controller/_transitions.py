"""How tasks change state, and what that does to the tasks around them.

`waits_remote` of an assigned task counts the predecessors that keep it from being offered: those
elsewhere that have not succeeded, and those in its own cluster that themselves cannot be offered
yet. Thus what is offered to an agent never waits for something that happens elsewhere, and the
tasks that may be offered, in the order of `position`, are closed under "comes before".
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from cerebrum.services.controller._change import Change, TaskRow
from cerebrum.services.controller._specs import Shape
from cerebrum.services.store import schema as db


def assign(
    change: Change, shape: Shape, task: TaskRow, cluster: str, part: int, reason: str
) -> None:
    """Give a task to a cluster, under a new generation."""
    task.set(
        state="assigned",
        cluster=cluster,
        part=part,
        assignment=None,
        generation=task.generation + 1,
    )
    change.log(
        "assigned", shape.id, task.name, cluster,
        assignment="", generation=task.generation, part=part, cluster=cluster, reason=reason,
    )  # fmt: skip
    change.woken.add(cluster)


def succeed(change: Change, shape: Shape, task: TaskRow) -> None:
    """After a task that was out under its current generation has succeeded: free the next ones."""
    freed: list[TaskRow] = []
    for follower in change.tasks(shape.id, shape.successors(task.idx)).values():
        if follower.state == "assigned" and follower.cluster != task.cluster:
            _one_less(follower, freed)
    for row in freed:  # grows while it is walked
        change.woken.add(row.cluster or "")
        for follower in change.tasks(shape.id, shape.successors(row.idx)).values():
            if follower.state == "assigned" and follower.cluster == row.cluster:
                _one_less(follower, freed)


def _one_less(task: TaskRow, freed: list[TaskRow]) -> None:
    if task.waits_remote > 0:
        task.set(waits_remote=task.waits_remote - 1)
        if task.waits_remote == 0:
            freed.append(task)


def recount(change: Change, shape: Shape) -> None:
    """Every `waits_remote` of a workflow anew, after tasks moved."""
    rows = change.tasks(shape.id)
    for idx in shape.order:
        task = rows[idx]
        if task.state != "assigned":
            continue
        waits = sum(_holds_up(rows[before], task) for before in shape.predecessors(idx))
        if waits != task.waits_remote:
            task.set(waits_remote=waits)
        if waits == 0:
            change.woken.add(task.cluster or "")


def _holds_up(before: TaskRow, task: TaskRow) -> bool:
    if before.state == "succeeded":
        return False
    if before.cluster != task.cluster or before.state == "pending":
        return True
    return before.state == "assigned" and before.waits_remote > 0


def fall(change: Change, shape: Shape, task: TaskRow) -> None:
    """After a task ended without success: nothing behind it will run."""
    behind = shape.descendants(task.idx)
    if not behind:
        return
    cancel(change, shape, behind, f"{task.name!r} before it {task.state}")


def cancel(change: Change, shape: Shape, wanted: Iterable[int], reason: str) -> None:
    """End what nobody runs, ask for the end of the rest (rule 12). Ended ones stay as they are."""
    rows = change.tasks(shape.id, wanted)
    for task in rows.values():
        if task.state == "offered" and task.assignment is not None:
            withdraw(change, shape, task.assignment, reason, rows)
    for task in rows.values():
        if task.out:
            if not task.cancel_requested:
                task.set(cancel_requested=1, reason=reason)
            change.woken.add(task.cluster or "")
        elif not task.ended:
            change.end(shape.id, task, "cancelled", reason)


def withdraw(
    change: Change, shape: Shape, assignment: str, reason: str, leaving: Iterable[int] = ()
) -> list[TaskRow]:
    """Take back an offer nobody acked: its tasks are assigned again, under the next generation.
    What becomes of those `leaving` is for the caller to say."""
    change.connection.execute(
        update(db.assignments).where(db.assignments.c.id == assignment).values(state="withdrawn")
    )
    rows, leaving = offered_under(change, shape, assignment), set(leaving)
    for task in rows:
        if task.idx in leaving:
            task.set(state="assigned", assignment=None)
        else:
            _again(change, shape, task, reason)
    return rows


def take_back(
    change: Change, shape: Shape, taken: Iterable[TaskRow], reason: str, *, stay: bool
) -> None:
    """Nobody runs these any more, or never did. `stay`: they are assigned to their cluster anew;
    otherwise they are pending. Those that were to be cancelled have their end with that.
    """
    taken = list(taken)
    leaving = [] if stay else [task.idx for task in taken]
    for assignment in sorted(
        {t.assignment for t in taken if t.state == "offered" and t.assignment}
    ):
        withdraw(change, shape, assignment, reason, leaving)
    moved: list[TaskRow] = []
    for task in taken:
        if task.ended or task.state == "pending":
            continue
        if task.cancel_requested:
            change.end(shape.id, task, "cancelled", task.reason)
        elif stay and task.out:
            _again(change, shape, task, reason)
        elif not stay:
            moved.append(task)
    if moved:
        _pull_behind(change, shape, moved)
        for task in moved:
            _release(change, shape, task, reason)
        plan_again(change, shape)
    recount(change, shape)


def forget_dispatched_behind(change: Change, shape: Shape, task: TaskRow, cluster: str) -> None:
    """`task` got its result from elsewhere while `cluster` had it and tasks that wait for it there:
    its run is to end as cancelled, and theirs would never begin. But it may have succeeded there
    already, and theirs have begun, with the news on its way. So they are only asked back, as runs
    to end, and stay what they are until their agent says what became of them."""
    withdrawn: list[TaskRow] = []
    for follower in change.tasks(shape.id, shape.successors(task.idx)).values():
        if follower.cluster != cluster or follower.cancel_requested:
            continue
        if follower.state == "offered" and follower.assignment is not None:
            withdrawn += withdraw(change, shape, follower.assignment, "its predecessor moved")
        elif follower.out:
            stray(change, shape, follower, cluster)
    if withdrawn:
        _pull(change, shape, withdrawn, cluster)
        recount(change, shape)


def _again(change: Change, shape: Shape, task: TaskRow, reason: str) -> None:
    change.log("taken_back", shape.id, task.name, task.cluster,
               generation=task.generation, reason=reason)  # fmt: skip
    assign(change, shape, task, task.cluster or "", task.part or 0, reason)


def _release(change: Change, shape: Shape, task: TaskRow, reason: str) -> None:
    change.log("taken_back", shape.id, task.name, task.cluster,
               generation=task.generation, reason=reason)  # fmt: skip
    if task.cluster is not None:
        change.woken.add(task.cluster)
    change.slots_freed = True
    task.set(state="pending", cluster=None, assignment=None, waits_remote=0, reason=reason)


def _pull_behind(change: Change, shape: Shape, moved: list[TaskRow]) -> None:
    """An agent would wait for ever for a predecessor that leaves its cluster: take back what of
    its followers was dispatched there. They cannot have started."""
    for cluster in sorted({task.cluster for task in moved if task.cluster}):
        _pull(change, shape, [task for task in moved if task.cluster == cluster], cluster)


def _pull(change: Change, shape: Shape, walk: list[TaskRow], cluster: str) -> None:
    pulled, walk = {task.idx for task in walk}, list(walk)
    for task in walk:
        for follower in change.tasks(shape.id, shape.successors(task.idx)).values():
            if follower.idx in pulled or follower.cluster != cluster or follower.cancel_requested:
                continue  # what is to be cancelled has nothing to wait for but its end
            if follower.state == "offered" and follower.assignment is not None:
                for row in withdraw(change, shape, follower.assignment, "its predecessor moved"):
                    if row.idx not in pulled:
                        pulled.add(row.idx)
                        walk.append(row)
            elif follower.out:
                stray(change, shape, follower, cluster)
                _again(change, shape, follower, "its predecessor moved")
                pulled.add(follower.idx)
                walk.append(follower)


def stray(change: Change, shape: Shape, task: TaskRow, cluster: str) -> None:
    """`cluster` has a run of this task to end; until it says so, it is not offered the task."""
    row = {
        "cluster": cluster,
        "workflow_id": shape.id,
        "idx": task.idx,
        "name": task.name,
        "generation": task.generation,
    }
    dialect = sqlite if change.connection.dialect.name == "sqlite" else postgresql
    change.connection.execute(
        dialect.insert(db.strays)
        .values(row)
        .on_conflict_do_update(
            index_elements=["cluster", "workflow_id", "idx"],
            set_={"generation": task.generation},
        )
    )
    change.woken.add(cluster)


def plan_again(change: Change, shape: Shape) -> None:
    """The workflow has pending tasks: the planner has to look at it."""
    change.connection.execute(
        update(db.workflows).where(db.workflows.c.id == shape.id).values(to_plan=1)
    )
    change.to_plan[shape.id] = shape.spec.priority


def offered_under(change: Change, shape: Shape, assignment: str) -> list[TaskRow]:
    """Tasks of an open offer, by what this change has made of them."""
    ids = change.connection.scalars(
        select(db.tasks.c.idx).where(db.tasks.c.assignment == assignment, db.IS_OUT)
    )
    rows = change.tasks(shape.id, sorted(ids)).values()
    return [row for row in rows if row.assignment == assignment and row.state == "offered"]
