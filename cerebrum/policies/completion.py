# pyright: basic, reportPrivateImportUsage=false
"""When each node could start a task: a plan of the future from requested run times.

A node's plan is its free room and a list of releases (running and planned tasks by their requested
end). A task starts on a node when enough has been released; tasks planned on one node start in the
order they were planned, as in the model of Maheswaran et al. (HCW'99), where a machine works off
its list. A task that runs longer than requested is taken to end a moment from now.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import choose_gpus, fits, give_back, take
from cerebrum.model.decisions import Bind
from cerebrum.policies.room import Room


@kernel
def _earliest(nodes, open_, classes, class_id, ready_s, head, after, end_s, held, gpus, scratch,
              first, last, out):  # fmt: skip
    """Earliest start of a task of the class on rows first..last-1; inf where it never fits."""
    task = classes[class_id]
    for row in range(first, last):
        out[row] = np.inf
        if not open_[row]:
            continue
        scratch[0] = nodes[row]
        node, when, release = scratch[0], ready_s[row], head[row]
        while not fits(node, task) and release >= 0:
            holder = classes[held[release]]
            give_back(node, holder, gpus[release], holder.cache_ways)
            when = max(when, end_s[release])
            release = after[release]
        if fits(node, task):
            out[row] = when


@kernel
def _commit(nodes, classes, class_id, row, start_s, ends_s, ready_s, head, after, end_s, held, gpus,
            entry):  # fmt: skip
    """Plan a task: what ends by its start is released, the task's own end is entered."""
    task = classes[class_id]
    while head[row] >= 0 and not (fits(nodes[row], task) and end_s[head[row]] > start_s):
        done = head[row]
        give_back(nodes[row], classes[held[done]], gpus[done], classes[held[done]].cache_ways)
        head[row] = after[done]
    gpus[entry] = choose_gpus(nodes[row], task, 0, np.uint64(0))
    take(nodes[row], task, gpus[entry], task.cache_ways)
    ready_s[row], end_s[entry], held[entry] = start_s, ends_s, class_id
    _enter(head, after, end_s, row, entry)
    return gpus[entry]


@kernel
def _enter(head, after, end_s, row, entry):
    """Put a release into its node's list, by time."""
    if head[row] < 0 or end_s[entry] < end_s[head[row]]:
        after[entry], head[row] = head[row], entry
        return
    at = head[row]
    while after[at] >= 0 and end_s[after[at]] <= end_s[entry]:
        at = after[at]
    after[entry], after[at] = after[at], entry


class Plan:
    """Earliest starts by class and node, kept while tasks are planned one by one."""

    def __init__(self, room: Room, more: int) -> None:
        snapshot = room.snapshot
        self.room, self.now_s = room, snapshot.time_s
        self.speed: NDArray[np.float64] = snapshot.nodes["speed"].astype(np.float64)
        n, running, columns = len(room.nodes), snapshot.running, snapshot.tasks
        self._nodes, self._scratch = room.nodes.copy(), room.nodes[:1].copy()
        self._ready = np.full(n, self.now_s)
        self._head, self._after = np.full(n, -1), np.full(len(running) + more, -1)
        self._end = np.zeros(len(running) + more)
        self._held, self._gpus = np.zeros((2, len(running) + more), np.int64)
        self._entries = len(running)
        rows = columns.row[running]
        begun = columns.started_s[running]
        begun = np.where(np.isnan(begun), self.now_s, begun)
        self._soon = np.nextafter(self.now_s, np.inf)
        ends = np.maximum(begun + columns.requested_s[running] / self.speed[rows], self._soon)
        self._end[: len(running)] = ends
        self._held[: len(running)] = columns.class_id[running]
        self._gpus[: len(running)] = columns.gpus[running]
        for entry in np.argsort(ends, kind="stable").tolist():
            _enter(self._head, self._after, self._end, int(rows[entry]), entry)
        self._start: dict[int, NDArray[np.float64]] = {}

    def start_s(self, class_id: int) -> NDArray[np.float64]:
        """Earliest start of one more task of the class on each node: float64[rows]."""
        if class_id not in self._start:
            self._start[class_id] = np.empty(len(self._nodes))
            self._renew(class_id, 0, len(self._nodes))
        return self._start[class_id]

    def commit(self, class_id: int, row: int, requested_s: float) -> bool:
        """Plan a task on a node; whether it starts now."""
        start = float(self.start_s(class_id)[row])
        end = max(start + requested_s / self.speed[row], self._soon)
        _commit(
            self._nodes, self.room.snapshot.classes, class_id, row, start, end, self._ready,
            self._head, self._after, self._end, self._held, self._gpus, self._entries,
        )  # fmt: skip
        self._entries += 1
        for known in self._start:
            self._renew(known, row, row + 1)
        return start <= self.now_s

    def occupied(self, bind: Bind, requested_s: float) -> None:
        """Enter the end of a task that was bound before the plan was made."""
        entry = self._entries
        self._end[entry] = max(self.now_s + requested_s / self.speed[bind.row], self._soon)
        self._held[entry], self._gpus[entry] = self.room.class_of(bind.task), bind.gpus
        _enter(self._head, self._after, self._end, bind.row, entry)
        self._entries += 1

    def _renew(self, class_id: int, first: int, last: int) -> None:
        _earliest(
            self._nodes, self.room.open_to(class_id), self.room.snapshot.classes, class_id,
            self._ready, self._head, self._after, self._end, self._held, self._gpus,
            self._scratch, first, last, self._start[class_id],
        )  # fmt: skip
