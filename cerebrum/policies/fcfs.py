"""FCFS: first come, first served, by submission.

A job that does not fit blocks all behind it; `fcfs+easy` is EASY backfilling (Lifka, JSSPP'95).
Queue order counts first: jobs of higher priority go before (see `Snapshot.pending`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.queueing import Jobs, QueuePolicy


def fcfs(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
    """The queue's own order."""
    return (np.zeros(len(jobs.submit_s)),)


def make(
    backfill: str = "none", queue: str = "block", gpus: str = "best", score: str = ""
) -> QueuePolicy | dict[str, object]:
    """The policy. Without backfilling it is a profile, which the engine runs compiled."""
    if backfill != "none":
        return QueuePolicy("fcfs", fcfs, backfill, queue, True, gpus, score)
    return {"scores": [{"name": score or "constant"}], "gpus": gpus, "queue": queue}
