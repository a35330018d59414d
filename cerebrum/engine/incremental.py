"""A policy made of filters, weighted scorers and a queue, decided by the compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import decide as kernels
from cerebrum.engine import preemption
from cerebrum.engine import state as at
from cerebrum.engine.compiled import JIT, Scorer, addresses
from cerebrum.engine.picking import normalized
from cerebrum.engine.placement import mix
from cerebrum.engine.scoring import (
    BLOCK,
    DISCIPLINE,
    KEY,
    MEMO_DTYPES,
    N_OPTIONS,
    NOT,
    SUMMED,
    TIE_RULE,
    Memo,
)
from cerebrum.engine.scoring import GPU_RULE as GPU_OPTION
from cerebrum.model.decisions import NOTHING, Bind, Decision, Preempt, Reject, Wait
from cerebrum.model.layout import NODE
from cerebrum.model.protocols import Explanation, ScoreRow
from cerebrum.model.snapshot import Snapshot

GPU_RULES = {"best": 0, "worst": 1, "first": 2, "random": 3, "score": 4, "first-used": 5}
TIE_RULES = {"first": 0, "name": 1, "random": 2, "next": 3}
DISCIPLINES = {"skip": 0, "block": 1, "reject": 2}
NORMALIZERS = {"none": 0, "minmax": 1, "max": 2, "max-reversed": 3}
MEMO_BYTES = 256 * 2**20  # what a policy may remember; more task classes than fit are evicted


@dataclass(frozen=True, slots=True)
class Weighted:
    """One scorer of a profile: weight, how it is normalised to 0..100, and whether it is truncated.

    `equal` is what minmax gives when all nodes score the same.
    """

    scorer: Scorer
    weight: float = 1.0
    normalize: str = "none"
    truncate: bool = False
    equal: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How an incremental policy picks.

    `gpus` which GPUs of the node: best fit, worst fit, first, random, or by the first score; `ties`
    first row, lowest name, random, or next (nodes take turns); `queue` what happens to a task that
    fits nowhere: skip it and go on, block all behind it, or reject it; `preempt` lower priorities.
    """

    gpus: str = "best"
    ties: str = "first"
    queue: str = "skip"
    preempt: bool = False


class Incremental:
    """Filters, scores and binds over the engine's own state; scores are remembered.

    The memo is only ever brought up to date from the snapshot's change log, so the same snapshot
    gives the same decision however the policy was used before.
    """

    def __init__(self, name: str, scores: tuple[Weighted, ...], rules: Rules | None = None) -> None:
        self.name = name
        self.scores = scores
        self.rules = rules or Rules()
        self._memo: Memo | None = None
        self._made_for: tuple[Any, ...] = ()

    # -- deciding ---------------------------------------------------------------------------

    def decide(self, snapshot: Snapshot) -> Decision:
        """One bind (or a whole gang's), rejection, refusal or preemption; empty if none is left."""
        handle = self.memo_handle(snapshot)
        found, rows, masks, tasks, out = self._work(snapshot)
        kernels.decide(snapshot.state.handle, handle, found, rows, masks, tasks, out)
        task, reason = int(found[kernels.TASK]), int(found[kernels.REASON])
        match int(found[kernels.WHAT]):
            case kernels.BINDS:
                ways = snapshot.classes["cache_ways"][snapshot.tasks.class_id[tasks]]
                count = int(found[kernels.N_BINDS])
                return Decision(
                    tuple(
                        Bind(int(tasks[i]), int(rows[i]), int(masks[i]), int(ways[i]))
                        for i in range(count)
                    )
                )
            case kernels.REJECTS:
                return Decision((Reject(task, reason),))
            case kernels.WAITS:
                return Decision((Wait(task, reason),))
            case _:
                return self._preempt(snapshot) if self.rules.preempt else NOTHING

    def _preempt(self, snapshot: Snapshot) -> Decision:
        """Make room for the first waiting task that can have it. Gangs do not preempt."""
        columns, running = snapshot.tasks, snapshot.running
        running = running[columns.preemptible[running]]
        if not len(running):
            return NOTHING
        key = (columns.started_s[running], -columns.priority[running], columns.row[running])
        running = running[np.lexsort(key)]
        lowest, tried = int(columns.priority[running].min()), set[tuple[int, int]]()
        victim = np.zeros(len(running), np.int8)
        for task in snapshot.pending:
            job, priority = int(columns.job_id[task]), int(columns.priority[task])
            kind = int(columns.class_id[task]), priority
            gang = job >= 0 and snapshot.gang(job)[0] > 1
            if priority <= lowest or gang or kind in tried:
                continue
            tried.add(kind)
            row = preemption.plan(
                snapshot.state.handle, self.memo_handle(snapshot), task, running, victim
            )
            if row >= 0:
                return self._take_place(snapshot, int(task), int(row), running[victim == 1])
        return NOTHING

    def _take_place(
        self, snapshot: Snapshot, task: int, row: int, victims: NDArray[np.int32]
    ) -> Decision:
        assert self._memo is not None
        class_id = int(snapshot.tasks.class_id[task])
        rule = GPU_RULES[self.rules.gpus]
        gpus = preemption.gpus_after(self._memo.scratch, snapshot.classes, class_id, rule)
        bind = Bind(task, row, int(gpus), int(snapshot.classes["cache_ways"][class_id]))
        return Decision((*(Preempt(int(v)) for v in victims), bind))

    # -- explaining -------------------------------------------------------------------------

    def explain(self, snapshot: Snapshot, task: int) -> Explanation:
        """Refusals and scores of every node for `task`, as if it were decided now."""
        handle, out = self.memo_handle(snapshot), np.zeros(max(1, len(self.scores)))
        refused: dict[int, int] = {}
        raws: dict[int, tuple[float, ...]] = {}
        for row in range(len(snapshot.nodes)):
            bits = int(kernels.node_scores(snapshot.state.handle, handle, task, row, out))
            if bits:
                refused[row] = bits
            else:
                raws[row] = tuple(float(v) for v in out)
        rows = self._tabulate(raws, refused)
        best = max((r.total for r in rows if not r.refusals), default=NOT)
        ties = [r.row for r in rows if not r.refusals and r.total == best]
        winner = ties[0] if ties else -1
        if self.rules.ties == "name" and ties:
            winner = min(ties, key=lambda row: int(snapshot.rank[row]))
        if self.rules.ties == "next" and ties:
            turn = int(snapshot.state.state.counts[at.TURN]) % len(snapshot.nodes)
            winner = min(ties, key=lambda row: (row < turn, row))
        if self.rules.ties == "random":
            draw = np.uint64(mix(snapshot.key, task * 1024 + int(snapshot.tasks.attempts[task])))
            for i, row in enumerate(ties, start=1):
                winner = row if int(mix(draw, i)) % i == 0 else winner
        names = tuple(w.scorer.name for w in self.scores)
        return Explanation(task, names, rows, winner, len(ties), self.rules.ties)

    def _tabulate(
        self, raws: dict[int, tuple[float, ...]], refused: dict[int, int]
    ) -> tuple[ScoreRow, ...]:
        low = np.min(list(raws.values()), axis=0) if raws else np.zeros(len(self.scores))
        high = np.max(list(raws.values()), axis=0) if raws else low
        rows: list[ScoreRow] = []
        for row in sorted({*raws, *refused}):
            if row in refused:
                rows.append(ScoreRow(row, refused[row]))
                continue
            scaled = tuple(
                float(
                    normalized(
                        raws[row][i], low[i], high[i], NORMALIZERS[w.normalize], w.equal, w.truncate
                    )
                )
                for i, w in enumerate(self.scores)
            )
            weighted = tuple(w.weight * v for w, v in zip(self.scores, scaled, strict=True))
            rows.append(ScoreRow(row, 0, raws[row], scaled, weighted, sum(weighted)))
        return tuple(rows)

    # -- remembering ------------------------------------------------------------------------

    def memo_handle(self, snapshot: Snapshot) -> Any:
        """The policy's memo for the snapshot's engine, made anew when nodes or classes came."""
        table: at.Table = snapshot.state
        rows = int(table.state.counts[at.ROWS])
        made_for = (id(table), rows, len(table.state.classes), snapshot.key)
        if self._made_for != made_for or self._table is not table:
            self._memo = self._make_memo(rows, table.state.classes, snapshot.key)
            self._addresses = addresses(tuple(self._memo))
            self._handle = self._addresses.ctypes.data if JIT else self._memo
            self._made_for, self._table = made_for, table
        return self._handle

    def _shapes(self, classes: NDArray[Any], summed: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """A shape for each class, and the shapes: classes that no score tells apart are merged."""
        apart = not summed or any(w.scorer.looks_at_memory for w in self.scores)
        if apart or not len(classes):
            return np.arange(len(classes)), classes.copy()
        merged = classes.copy()
        merged["memory_mib"] = 0
        words = merged.view(np.int64).reshape(len(classes), -1)
        _, first, shape_of = np.unique(words, axis=0, return_index=True, return_inverse=True)
        return shape_of, merged[first]

    def _make_memo(self, rows: int, classes: NDArray[Any], key: int) -> Memo:
        summed = all(w.normalize == "none" for w in self.scores)
        shape_of, shapes = self._shapes(classes, summed)
        k = len(self.scores)
        width = rows if summed else rows * k
        slots = max(1, min(len(shapes), max(8, MEMO_BYTES // (8 * max(1, width)))))
        blocks = -(-rows // BLOCK)
        table = 1 << (2 * max(4, rows)).bit_length()
        options = np.zeros(N_OPTIONS, np.int64)
        options[SUMMED] = summed
        options[GPU_OPTION] = GPU_RULES[self.rules.gpus]
        options[TIE_RULE] = TIE_RULES[self.rules.ties]
        options[DISCIPLINE] = DISCIPLINES[self.rules.queue]
        options[KEY] = key
        arrays = {
            "shape_of": shape_of,
            "shapes": shapes,
            "raw": np.zeros(slots * width),
            "refused": np.zeros(slots * rows),
            "tally": np.zeros(slots * 32),
            "best": np.full(slots * blocks, NOT),
            "slot_of": np.full(len(shapes), -1),
            "shape_in": np.full(slots, -1),
            "used": np.zeros(slots),
            "version": np.full(slots, -1),
            "failed_at": np.full(len(classes), -1),
            "seen": np.zeros(table),
            "seen_row": np.full(table, -1),
            "scorers": np.array([w.scorer.address for w in self.scores]),
            "weights": np.array([w.weight for w in self.scores]),
            "normal": np.array([NORMALIZERS[w.normalize] for w in self.scores]),
            "constant": np.array([w.equal for w in self.scores]),
            "truncate": np.array([w.truncate for w in self.scores]),
            "scratch": np.zeros(2, NODE if JIT else np.dtype((np.record, NODE))),
            "total": np.zeros(rows),
            "options": options,
        }
        return Memo(**{n: _as(arrays[n], MEMO_DTYPES[n]) for n in Memo._fields})

    def _work(self, snapshot: Snapshot) -> tuple[NDArray[np.int64], ...]:
        gang = max(1, int(snapshot.state.state.j_size.max(initial=1)))
        found = np.zeros(kernels.N_FOUND, np.int64)
        rows, masks, tasks = (np.zeros(gang, np.int64) for _ in range(3))
        return found, rows, masks, tasks, np.zeros(max(1, len(self.scores)))  # type: ignore[return-value]


def _as(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return array if array.dtype.names else np.ascontiguousarray(array, dtype)
