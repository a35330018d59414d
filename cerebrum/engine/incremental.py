"""A policy made of filters, weighted scorers and a queue, decided by the compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import decide as kernels
from cerebrum.engine import preemption
from cerebrum.engine import state as at
from cerebrum.engine.memory import (
    DISCIPLINES,
    GPU_RULES,
    NORMALIZERS,
    TIE_RULES,
    Memory,
    Rules,
    Weighted,
)
from cerebrum.engine.picking import normalized
from cerebrum.engine.placement import mix
from cerebrum.engine.scoring import NOT
from cerebrum.engine.totals import task_gpus, task_totals
from cerebrum.model.decisions import NOTHING, Bind, Decision, Preempt, Reject, Wait
from cerebrum.model.protocols import Explanation, ScoreRow
from cerebrum.model.snapshot import Snapshot

__all__ = ["DISCIPLINES", "GPU_RULES", "TIE_RULES", "Incremental", "Rules", "Weighted"]


class Incremental:
    """Filters, scores and binds over the engine's own state; scores are remembered.

    The memo is only ever brought up to date from the snapshot's change log, so the same snapshot
    gives the same decision however the policy was used before.
    """

    def __init__(self, name: str, scores: tuple[Weighted, ...], rules: Rules | None = None) -> None:
        self.name = name
        self.scores = scores
        self.rules = rules or Rules()
        self._memory: Memory | None = None
        self._made_for: tuple[int, ...] = ()

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
        lowest, tried = int(columns.priority[running].min()), set[tuple[int, ...]]()
        victim = np.zeros(len(running), np.int8)
        for task in snapshot.pending:
            job, priority = int(columns.job_id[task]), int(columns.priority[task])
            labels = int(snapshot.state.state.t_labels[task])
            kind = int(columns.class_id[task]), priority, labels
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
        assert self._memory is not None
        class_id = int(snapshot.tasks.class_id[task])
        rule = GPU_RULES[self.rules.gpus]
        gpus = preemption.gpus_after(self._memory.memo.scratch, snapshot.classes, class_id, rule)
        bind = Bind(task, row, int(gpus), int(snapshot.classes["cache_ways"][class_id]))
        return Decision((*(Preempt(int(v)) for v in victims), bind))

    # -- explaining -------------------------------------------------------------------------

    def explain(self, snapshot: Snapshot, task: int) -> Explanation:
        """Refusals and scores of every node there for `task`, as if it were decided now."""
        handle, out = self.memo_handle(snapshot), np.zeros(max(1, len(self.scores)))
        by_row = snapshot.refusals(task)
        refused: dict[int, int] = {}
        raws: dict[int, tuple[float, ...]] = {}
        for row in range(len(snapshot.nodes)):
            if by_row[row] > 0:
                refused[row] = int(by_row[row])
            elif by_row[row] == 0:
                kernels.node_scores(snapshot.state.handle, handle, task, row, out)
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

    def totals(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """Each row's score for `task`, as a decision would see it now; -inf where it does not fit.

        The task need not wait in the queue. Whole-cluster work of a few microseconds a thousand
        nodes while the scores are remembered.
        """
        totals = np.empty(len(snapshot.nodes))
        handle, out = self.memo_handle(snapshot), np.zeros(max(1, len(self.scores)))
        task_totals(snapshot.state.handle, handle, task, out, totals)
        return totals

    def gpus_on(self, snapshot: Snapshot, task: int, row: int) -> int:
        """The mask of GPUs that `task` would get on a node; -1 where that node lacks room."""
        handle, out = self.memo_handle(snapshot), np.zeros(max(1, len(self.scores)))
        return int(task_gpus(snapshot.state.handle, handle, task, row, out))

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
        """The policy's memo for the snapshot's engine. Classes that came get their place in it;
        it is made anew only for another engine, or once that has no room for another node."""
        table: at.Table = snapshot.state
        made_for = (int(table.state.counts[at.STRIDE]), snapshot.key)
        if self._memory is None or self._made_for != made_for or self._table is not table:
            self._memory = Memory(self.scores, self.rules, *made_for)
            self._made_for, self._table = made_for, table
        return self._memory.handle(snapshot.classes)

    def _work(self, snapshot: Snapshot) -> tuple[NDArray[np.int64], ...]:
        gang = max(1, int(snapshot.state.state.j_size.max(initial=1)))
        found = np.zeros(kernels.N_FOUND, np.int64)
        rows, masks, tasks = (np.zeros(gang, np.int64) for _ in range(3))
        return found, rows, masks, tasks, np.zeros(max(1, len(self.scores)))  # type: ignore[return-value]
