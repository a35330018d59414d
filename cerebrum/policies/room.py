# pyright: basic, reportPrivateImportUsage=false
"""A working copy of the nodes for policies in plain Python: what fits where, and what is left.

Feasibility and the choice of GPUs are the engine's own kernels, so a plan made here is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import Scorer, call_scorer, kernel
from cerebrum.engine.incremental import GPU_RULES
from cerebrum.engine.peer_views import ImaginedPeers
from cerebrum.engine.placement import (
    choose_gpus,
    fits,
    fragmentation,
    give_back,
    mix,
    refusals,
    take,
)
from cerebrum.model.decisions import Bind
from cerebrum.model.events import Refusal
from cerebrum.model.snapshot import Snapshot


@kernel
def _fitting(nodes, open_, classes, class_id, out):
    task = classes[class_id]
    for row in range(len(nodes)):
        out[row] = open_[row] and fits(nodes[row], task)


@kernel
def _first(nodes, open_, classes, class_id):
    task = classes[class_id]
    for row in range(len(nodes)):
        if open_[row] and fits(nodes[row], task):
            return row
    return -1


@kernel
def _best(nodes, open_, classes, class_id, typical, address, rule, scratch):
    """The fitting row with the highest score, the first on ties."""
    task = classes[class_id]
    best, best_score = -1, -np.inf
    for row in range(len(nodes)):
        if not open_[row] or not fits(nodes[row], task):
            continue
        scratch[0] = nodes[row]
        after = scratch[0]
        take(after, task, choose_gpus(nodes[row], task, rule, np.uint64(0)), task.cache_ways)
        value = call_scorer(address, nodes[row], after, task, typical)
        if best < 0 or value > best_score:
            best, best_score = row, value
    return best


@kernel
def _take(nodes, classes, class_id, row, typical, rule, key, counter):
    task = classes[class_id]
    gpus = choose_gpus(nodes[row], task, rule, mix(key, counter))
    take(nodes[row], task, gpus, task.cache_ways)
    if len(typical):
        nodes[row].fragmentation = fragmentation(nodes[row], typical)
    return gpus


@kernel
def _give_back(nodes, classes, class_id, row, typical, gpus):
    task = classes[class_id]
    give_back(nodes[row], task, gpus, task.cache_ways)
    if len(typical):
        nodes[row].fragmentation = fragmentation(nodes[row], typical)


@kernel
def _copies(nodes, open_, classes, class_id, most, rule, scratch, out):
    """How many tasks of the class each node could take, at most `most`."""
    task = classes[class_id]
    for row in range(len(nodes)):
        out[row] = 0
        if not open_[row]:
            continue
        scratch[0] = nodes[row]
        node = scratch[0]
        while out[row] < most and fits(node, task):
            take(node, task, choose_gpus(node, task, rule, np.uint64(0)), task.cache_ways)
            out[row] += 1


@kernel
def _reasons(nodes, open_, classes, class_id, out):
    for row in range(len(nodes)):
        out[row] = refusals(nodes[row], classes[class_id]) if open_[row] else 0


class Room:
    """Free capacity as if the binds planned so far had been carried out.

    `score` picks among the nodes that fit (the first one without); `gpus` is the rule for GPUs.
    """

    def __init__(self, snapshot: Snapshot, gpus: str = "best", score: Scorer | None = None) -> None:
        self.snapshot = snapshot
        self.nodes = snapshot.nodes.copy()
        self._rule = GPU_RULES["best" if gpus == "score" else gpus]
        self._score = score
        self._open: dict[int, NDArray[np.bool_]] = {}
        self._peers = ImaginedPeers(snapshot.state)
        self._scratch = self.nodes[:1].copy()

    def class_of(self, task: int) -> int:
        """The class of a task."""
        return int(self.snapshot.tasks.class_id[task])

    def ruled(self, task: int) -> bool:
        """Whether rules about other tasks can keep the task away: its class says too little.

        Such a task is placed by itself: where it may go depends on each bind before it.
        """
        return self._peers.concerns(task)

    def kind_of(self, task: int) -> int:
        """A number that tasks share if one fits nowhere when another did: the class, if it can."""
        return -1 - int(task) if self.ruled(task) else self.class_of(task)

    def open_to(self, class_id: int, task: int | None = None) -> NDArray[np.bool_]:
        """Nodes that take new tasks and whose labels and taints admit the class: bool[rows].

        With a `task`, also only those which rules about other tasks leave to it, here and below.
        """
        if task is not None and self.ruled(task):
            return self.open_to(class_id) & self._peers.admitted(task)
        found = self._open.get(class_id)
        if found is None:
            found = self.snapshot.usable & self.snapshot.allowed(class_id)
            self._open[class_id] = found
        return found

    def fitting(self, class_id: int, task: int | None = None) -> NDArray[np.bool_]:
        """Nodes the class fits on now: bool[rows]."""
        out = np.zeros(len(self.nodes), np.bool_)
        _fitting(self.nodes, self.open_to(class_id, task), self.snapshot.classes, class_id, out)
        return out

    def copies(
        self, class_id: int, most: int, within: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """How many more tasks of the class each node takes, up to `most`: int64[rows]."""
        out, open_ = np.zeros(len(self.nodes), np.int64), self.open_to(class_id)
        if within is not None:
            open_ = open_ & within
        classes = self.snapshot.classes
        _copies(self.nodes, open_, classes, class_id, most, self._rule, self._scratch, out)
        return out

    def pick(self, class_id: int, score: Scorer | None = None, task: int | None = None) -> int:
        """The node for one more task of the class; -1 if it fits nowhere."""
        open_, classes = self.open_to(class_id, task), self.snapshot.classes
        chosen = score or self._score
        if chosen is None:
            return int(_first(self.nodes, open_, classes, class_id))
        return int(
            _best(
                self.nodes, open_, classes, class_id, self.snapshot.typical, chosen.address,
                self._rule, self._scratch,
            )
        )  # fmt: skip

    def bind(self, task: int, row: int) -> Bind:
        """Take the room on a node it fits on."""
        class_id, columns = self.class_of(task), self.snapshot.tasks
        counter = int(task) * 1024 + int(columns.attempts[task])
        gpus = _take(
            self.nodes, self.snapshot.classes, class_id, int(row), self.snapshot.typical,
            self._rule, self.snapshot.key, counter,
        )  # fmt: skip
        self._peers.count(task, row, 1)
        ways = int(self.snapshot.classes["cache_ways"][class_id])
        return Bind(int(task), int(row), int(gpus), ways)

    def give_back(self, task: int, row: int, gpus: int) -> None:
        """Free what a task holds: a plan taken back, or a running task imagined to end."""
        classes, typical = self.snapshot.classes, self.snapshot.typical
        _give_back(self.nodes, classes, self.class_of(task), int(row), typical, int(gpus))
        self._peers.count(task, row, -1)

    def place(self, tasks: Sequence[int]) -> list[Bind]:
        """All of the tasks or none: the binds, and their room taken; empty if one does not fit."""
        binds: list[Bind] = []
        for task in tasks:
            row = self.pick(self.class_of(task), task=task)
            if row < 0:
                self.undo(binds)
                return []
            binds.append(self.bind(task, row))
        return binds

    def undo(self, binds: Sequence[Bind]) -> None:
        """Take planned binds back."""
        for planned in binds:
            self.give_back(planned.task, planned.row, planned.gpus)

    def why_nowhere(self, task: int) -> int:
        """The commonest Refusal, of nodes with one reason if there are any, for a `Wait`."""
        class_id = self.class_of(task)
        bits, open_ = np.zeros(len(self.nodes), np.int64), self.open_to(class_id)
        _reasons(self.nodes, open_, self.snapshot.classes, class_id, bits)
        bits[~self.snapshot.allowed(class_id)] = int(Refusal.SELECTOR)
        bits[~self.snapshot.usable] = int(Refusal.UNSCHEDULABLE)
        if self.ruled(task):
            bits |= self._peers.coarse(task)
        counts = [(int((bits == 1 << b).sum()), int(((bits >> b) & 1).sum())) for b in range(15)]
        if not any(every for _, every in counts):
            return int(Refusal.NO_NODE)
        return 1 << max(range(15), key=lambda b: (counts[b], -b))
