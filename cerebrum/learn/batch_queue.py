# pyright: basic, reportPrivateImportUsage=false
"""One machine and its queue of batch jobs in compiled code: a window of 1,024 jobs in milliseconds.

What `policies.queueing.QueuePolicy` does in the engine, for training: everything of an instant
happens, then the queue is decided; the chosen head waits until it fits; `easy` lets jobs that fit
and end before the head's shadow time pass, in queue order. Tests hold it to the engine's results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.policies.learned.job_features import FLOOR_S, observe, rate
from cerebrum.policies.learned.job_order import Network

SJF, NETWORK = 0, 1


@dataclass(frozen=True)
class Window:
    """Jobs in submit order on a machine of `machine` processors: float64[jobs], seconds."""

    submit_s: NDArray[np.float64]
    run_s: NDArray[np.float64]
    requested_s: NDArray[np.float64]
    processors: NDArray[np.float64]
    machine: int

    def __len__(self) -> int:
        return len(self.submit_s)


def starts(window: Window, network: Network | None, easy: bool) -> NDArray[np.float64]:
    """When each job starts, s: the highest rated first, shortest request first without network."""
    chosen = network or Network.of(np.zeros(Network.size(1)))
    begun = np.full(len(window), np.nan)
    _run(
        window.submit_s, window.run_s, window.requested_s, window.processors, window.machine,
        SJF if network is None else NETWORK, easy,
        chosen.inner, chosen.bias, chosen.outer, chosen.direct, begun,
    )  # fmt: skip
    return begun


def bounded_slowdown(window: Window, begun: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per job max(1, (wait + run) / max(run, 10 s))."""
    taken = begun - window.submit_s + window.run_s
    return np.maximum(1.0, taken / np.maximum(window.run_s, FLOOR_S))


@kernel
def _run(
    submit, run, requested, processors, machine, rule, easy, inner, bias, outer, direct, begun
):
    jobs = len(submit)
    queue, queued, arrived = np.empty(jobs, np.int64), 0, 0
    # What runs, by requested end; true ends beside it. A machine runs few jobs at a time.
    ends, held, true_ends = np.empty(jobs), np.empty(jobs), np.empty(jobs)
    running, free, head, now = 0, float(machine), -1, 0.0
    columns = np.empty((3, jobs))
    features, values = np.empty((jobs, len(direct))), np.empty(jobs)
    while arrived < jobs or queued > 0:
        now = np.inf
        for k in range(running):
            now = min(now, true_ends[k])
        if arrived < jobs:
            now = min(now, submit[arrived])
        kept = 0
        for k in range(running):
            if true_ends[k] <= now:
                free += held[k]
            else:
                ends[kept], held[kept], true_ends[kept] = ends[k], held[k], true_ends[k]
                kept += 1
        running = kept
        while arrived < jobs and submit[arrived] <= now:
            queue[queued] = arrived
            queued += 1
            arrived += 1
        while queued > 0:
            if head < 0:
                for i in range(queued):
                    j = queue[i]
                    columns[0, i], columns[1, i] = submit[j], requested[j]
                    columns[2, i] = processors[j]
                if rule == 0:
                    best = 0
                    for i in range(1, queued):
                        if columns[1, i] < columns[1, best]:
                            best = i
                else:
                    seen = features[:queued]
                    observe(
                        now, columns[0, :queued], columns[1, :queued], columns[2, :queued],
                        free, float(machine), ends[:running], held[:running], seen,
                    )  # fmt: skip
                    rate(seen, inner, bias, outer, direct, values)
                    best = 0
                    for i in range(1, queued):
                        if values[i] > values[best]:
                            best = i
                head = queue[best]
            if processors[head] > free:
                break
            queued = _leave(queue, queued, head)
            running = _enter(ends, held, true_ends, running, now, requested, run, processors, head)
            free -= processors[head]
            begun[head] = now
            head = -1
        if head >= 0 and easy and queued > 1:
            shadow = _shadow(processors[head], free, ends, held, running)
            i = 0
            while i < queued:
                j = queue[i]
                if j != head and processors[j] <= free and now + requested[j] < shadow:
                    queued = _leave(queue, queued, j)
                    running = _enter(
                        ends, held, true_ends, running, now, requested, run, processors, j
                    )
                    free -= processors[j]
                    begun[j] = now
                else:
                    i += 1


@kernel
def _leave(queue, queued, job):
    i = 0
    while queue[i] != job:
        i += 1
    for k in range(i, queued - 1):
        queue[k] = queue[k + 1]
    return queued - 1


@kernel
def _enter(ends, held, true_ends, running, now, requested, run, processors, job):
    """Insert by requested end, behind equal ones."""
    end, k = now + requested[job], running
    while k > 0 and ends[k - 1] > end:
        ends[k], held[k], true_ends[k] = ends[k - 1], held[k - 1], true_ends[k - 1]
        k -= 1
    ends[k], held[k], true_ends[k] = end, processors[job], now + run[job]
    return running + 1


@kernel
def _shadow(wanted, free, ends, held, running):
    """When as many processors are free if all lasts as requested."""
    for k in range(running):
        free += held[k]
        if free >= wanted and (k + 1 == running or ends[k + 1] != ends[k]):
            return ends[k]
    return np.inf
