# pyright: basic, reportPrivateImportUsage=false
"""How a workflow's ready tasks find their nodes when no policy is given.

`EarliestFinish` plans what is ready around what runs, each time anew, and starts what it planned
for now; `Planned` starts each node's tasks in the order of a plan. Both take room only where the
engine's own kernels see it, so memory and GPUs are kept like CPU.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine._schedule_kernels import place_ready
from cerebrum.engine.compiled import kernel
from cerebrum.engine.peer_views import ImaginedPeers
from cerebrum.engine.placement import BEST_FIT, choose_gpus, fits, take
from cerebrum.model.decisions import NOTHING, Bind, Decision
from cerebrum.model.snapshot import Snapshot

WINDOW = 256
"""Ready tasks that are planned at one time, highest rank first; the rest could hardly start now."""


@kernel
def _mask(nodes, usable, classes, class_id, length_s):
    """Close the nodes whose memory, GPUs or slots are taken now though there is CPU to wait for."""
    for i in range(len(class_id)):
        task = classes[class_id[i]]
        for row in range(len(nodes)):
            full = nodes[row].cpu_free >= task.cpu_milli and not fits(nodes[row], task)
            if full or not usable[row]:
                length_s[i, row] = np.inf


@kernel
def _claim(nodes, classes, class_id, row, gpus):
    """Take the rows that fit, in order, from a copy of the nodes; a row of -1 where none does."""
    for i in range(len(row)):
        if row[i] < 0:
            continue
        task = classes[class_id[i]]
        if not fits(nodes[row[i]], task):
            row[i] = -1
            continue
        gpus[i] = choose_gpus(nodes[row[i]], task, BEST_FIT, np.uint64(0))
        take(nodes[row[i]], task, gpus[i], task.cache_ways)


def _binds(snapshot: Snapshot, tasks: NDArray[np.int32], rows: NDArray[np.int64]) -> Decision:
    """Bind tasks to rows as far as they fit."""
    class_id, gpus = snapshot.tasks.class_id[tasks], np.zeros(len(tasks), np.int64)
    _drop_unwelcome(ImaginedPeers(snapshot.state), tasks, rows)
    _claim(snapshot.nodes.copy(), snapshot.classes, class_id, rows, gpus)
    ways = snapshot.classes["cache_ways"][class_id]
    return Decision(
        tuple(
            Bind(int(tasks[i]), int(rows[i]), int(gpus[i]), int(ways[i]))
            for i in np.flatnonzero(rows >= 0)
        )
    )


def _drop_unwelcome(
    peers: ImaginedPeers, tasks: NDArray[np.int32], rows: NDArray[np.int64]
) -> None:
    """A row of -1 where rules about other tasks keep a task away, those before it being bound."""
    if not peers.any:
        return
    for i in np.flatnonzero(rows >= 0).tolist():
        task, row = int(tasks[i]), int(rows[i])
        if peers.concerns(task) and not peers.admitted(task)[row]:
            rows[i] = -1
        else:
            peers.count(task, row, 1)


class EarliestFinish:
    """Each ready task, highest rank first, where it would end first, data and queues included.

    A task whose best node is busy waits for it and is planned again at the next event; tasks
    behind it see its place taken. `length_s` float64[tasks, rows] is inf where a task may not run;
    `ends_s` says when running tasks are expected to end; `need` and `lanes` as in a `Platform`.
    """

    name = "earliest-finish"

    def __init__(
        self,
        length_s: NDArray[np.float64],
        ends_s: Callable[[NDArray[np.int32], float], NDArray[np.float64]],
        need: NDArray[np.int64],
        lanes: NDArray[np.int64],
    ) -> None:
        self._length_s, self._ends_s, self._need, self._lanes = length_s, ends_s, need, lanes

    def decide(self, snapshot: Snapshot) -> Decision:
        """All starts of this moment in one decision."""
        tasks = snapshot.pending[:WINDOW]
        if not len(tasks):
            return NOTHING
        length = self._length_s[tasks]
        class_id = snapshot.tasks.class_id[tasks]
        _mask(snapshot.nodes, snapshot.usable, snapshot.classes, class_id, length)
        running = snapshot.running
        start, row = np.zeros(len(tasks)), np.full(len(tasks), -1, np.int64)
        place_ready(
            snapshot.time_s, length, self._need[tasks], self._lanes,
            snapshot.tasks.row[running].astype(np.int64), self._ends_s(running, snapshot.time_s),
            self._need[running], start, row,
        )  # fmt: skip
        row[start > snapshot.time_s] = -1
        return _binds(snapshot, tasks, row)


class Planned:
    """Each node's tasks in the order of a plan: none starts before one that stands before it.

    `row` int[tasks] is the node of each task, `position` its place in the plan. On `exclusive`
    nodes one task runs at a time.
    """

    name = "planned"

    def __init__(
        self,
        row: NDArray[np.int32],
        position: NDArray[np.int64],
        rows: int,
        exclusive: bool,
    ) -> None:
        self._row, self._position, self._exclusive = row, position, exclusive
        self._waiting: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
        for task in np.argsort(position, kind="stable").tolist():
            self._waiting[row[task]].append((int(position[task]), task))  # sorted: a heap

    def decide(self, snapshot: Snapshot) -> Decision:
        """The first waiting task of each node, if it is ready and fits."""
        pending = set(snapshot.pending.tolist())
        busy = set(snapshot.tasks.row[snapshot.running].tolist()) if self._exclusive else set()
        heads = [
            queue[0][1]
            for row, queue in enumerate(self._waiting)
            if queue and queue[0][1] in pending and row not in busy
        ]
        tasks = np.array(sorted(heads), np.int32)
        decision = _binds(snapshot, tasks, self._row[tasks].astype(np.int64))
        for action in decision.actions:
            assert isinstance(action, Bind)
            heapq.heappop(self._waiting[action.row])
        return decision

    def put_back(self, task: int) -> None:
        """The task failed and will be started again, in its old place."""
        heapq.heappush(self._waiting[self._row[task]], (int(self._position[task]), task))

    def drop(self, task: int) -> None:
        """The task will never run."""
        queue = self._waiting[self._row[task]]
        queue.remove((int(self._position[task]), task))
        heapq.heapify(queue)
