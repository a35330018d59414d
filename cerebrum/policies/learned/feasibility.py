# pyright: basic, reportPrivateImportUsage=false
"""Whether the engine would carry out a decision, found out before anything is done.

The engine refuses what cannot be done, but by then a decision is half applied and the pass over
the queue is over. Here a decision is tried on copies: the rules are the engine's own kernels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peer_views import ImaginedPeers
from cerebrum.engine.placement import fits, take
from cerebrum.engine.transitions import gpus_free
from cerebrum.model.decisions import Action, Bind, Decision, Defer, Wait
from cerebrum.model.events import REFUSAL_TEXT, TaskState
from cerebrum.model.snapshot import Snapshot

_STARTED = (TaskState.BOUND, TaskState.RUNNING, TaskState.SUCCEEDED)
_NO_ROOM, _BAD_GPUS = 1, 2


class Misfit(NamedTuple):
    """What cannot be done. `out-of-mask`: the node is none that the task may go to now."""

    kind: Literal["out-of-mask", "infeasible"]
    problem: str


def misfit(snapshot: Snapshot, decision: Decision) -> Misfit | None:
    """The first action that the engine would refuse, or that changes nothing; None: all can be
    done. Values must be whole numbers and finite times; `Preempt` and `Reject` are not judged."""
    binds = [action for action in decision.actions if isinstance(action, Bind)]
    return (
        _queued(snapshot, decision)
        or _masked(snapshot, binds)
        or _crowded(snapshot, binds)
        or _partial(snapshot, binds)
    )


def _queued(snapshot: Snapshot, decision: Decision) -> Misfit | None:
    """Bound, deferred and refused tasks wait in the queue, and something comes of it."""
    seen: set[int] = set()
    for action in decision.actions:
        if not isinstance(action, Bind | Defer | Wait):
            continue
        problem = "" if 0 <= action.task < len(snapshot.tasks.state) else "there is no such task"
        problem = problem or _idle(snapshot, action)
        if action.task in seen:
            problem = problem or "it is decided on twice"
        if problem:
            return Misfit("infeasible", f"task {action.task}: {problem}")
        seen.add(action.task)
    return None


def _idle(snapshot: Snapshot, action: Action) -> str:
    columns, task = snapshot.tasks, action.task
    if columns.state[task] != TaskState.PENDING or columns.not_before_s[task] > snapshot.time_s:
        return "it does not wait in the queue"
    if isinstance(action, Wait) and columns.refused[task]:
        return "it was told to wait already"
    if isinstance(action, Defer) and not action.until_s > snapshot.time_s:
        return f"it is deferred until {action.until_s:g} s, and it is {snapshot.time_s:g} s"
    return ""


def _masked(snapshot: Snapshot, binds: list[Bind]) -> Misfit | None:
    """Each node is there and takes the task as things are."""
    for bind in binds:
        name = snapshot.task_names[bind.task]
        if not 0 <= bind.row < len(snapshot.nodes):
            return Misfit("out-of-mask", f"task {name!r}: there is no node in row {bind.row}")
        bits = int(snapshot.refusals(bind.task)[bind.row])
        if bits or not snapshot.usable[bind.row]:
            why = [text for flag, text in REFUSAL_TEXT.items() if bits > 0 and bits & int(flag)]
            node = snapshot.node_names[bind.row]
            text = f"task {name!r} on node {node!r}: {', '.join(why) or 'the node is gone'}"
            return Misfit("out-of-mask", text)
    return None


@kernel
def _place(nodes, classes, class_id, row, gpus, ways):
    node, task = nodes[row], classes[class_id]
    if ways < task.cache_ways or node.cache_ways_free < ways or not fits(node, task):
        return _NO_ROOM
    if not gpus_free(node, task, gpus):
        return _BAD_GPUS
    take(node, task, gpus, ways)
    return 0


def _crowded(snapshot: Snapshot, binds: list[Bind]) -> Misfit | None:
    """The binds fit one after the other, with the GPUs and cache ways they name."""
    if not binds:
        return None
    rows = sorted({bind.row for bind in binds})
    nodes, place = snapshot.nodes[rows].copy(), {row: i for i, row in enumerate(rows)}
    peers = ImaginedPeers(snapshot.state) if len(binds) > 1 else None
    for bind in binds:
        name = snapshot.task_names[bind.task]
        if not (0 <= bind.gpus < 2**63 and 0 <= bind.cache_ways < 128):
            return Misfit("infeasible", f"task {name!r}: GPUs {bind.gpus}, {bind.cache_ways} ways")
        if peers is not None and _barred(peers, bind):
            return Misfit("infeasible", f"task {name!r}: barred by those bound with it")
        kind = int(snapshot.tasks.class_id[bind.task])
        found = _place(nodes, snapshot.classes, kind, place[bind.row], bind.gpus, bind.cache_ways)
        if found:
            what = "no room is left" if found == _NO_ROOM else f"GPUs {bind.gpus:#b} are not free"
            node = snapshot.node_names[bind.row]
            return Misfit("infeasible", f"task {name!r} on node {node!r}: {what}")
        if peers is not None:
            peers.count(bind.task, bind.row, 1)
    return None


def _barred(peers: ImaginedPeers, bind: Bind) -> bool:
    return peers.concerns(bind.task) and not peers.admitted(bind.task)[bind.row]


def room_for(snapshot: Snapshot, task: int, row: int, gpus: int) -> bool:
    """Whether a node has the room and exactly these GPUs for a task, which need not be queued."""
    if not (0 <= row < len(snapshot.nodes) and 0 <= gpus < 2**63):
        return False
    kind = int(snapshot.tasks.class_id[task])
    ways = int(snapshot.classes["cache_ways"][kind])
    return not _place(snapshot.nodes[[row]].copy(), snapshot.classes, kind, 0, gpus, ways)


def _partial(snapshot: Snapshot, binds: list[Bind]) -> Misfit | None:
    """A gang starts as a whole."""
    bound = {bind.task for bind in binds}
    for job in {int(snapshot.tasks.job_id[task]) for task in bound} - {-1}:
        need, members = snapshot.gang(job)
        begun = sum(int(m) in bound or snapshot.tasks.state[m] in _STARTED for m in members)
        if begun < need:
            return Misfit("infeasible", f"a gang needs {need} tasks at once, {begun} would run")
    return None
