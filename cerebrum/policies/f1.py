"""F1: a score found by regression on simulated schedules (Carastan-Santos & de Camargo, SC'17).

    log10(r) n + 870 log10(s), smallest first

r requested run time, n processors, s submission, in the trace's own time: starting a log at another
second changes the order. r or s that is not positive counts as 0.1 (RLScheduler, SC'20).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.queueing import Jobs, QueuePolicy

_FLOOR = 0.1


def f1(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
    """log10(requested) x processors + 870 x log10(submission)."""
    requested = np.log10(np.where(jobs.requested_s > 0, jobs.requested_s, _FLOOR))
    submit = np.log10(np.where(jobs.submit_s > 0, jobs.submit_s, _FLOOR))
    return (requested * jobs.processors + 870.0 * submit,)


def make(
    backfill: str = "none",
    queue: str = "block",
    final: bool = True,
    gpus: str = "best",
    score: str = "",
) -> QueuePolicy:
    """The policy; `cerebrum.policies.queueing` tells the options."""
    return QueuePolicy("f1", f1, backfill, queue, final, gpus, score)
