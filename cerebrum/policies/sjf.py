"""SJF: the shortest requested run time first, then the earliest submission.

Optimal for mean completion on one machine with everything there at the start (Smith, 1956).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.queueing import Jobs, QueuePolicy


def sjf(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
    """Requested run time, then submission."""
    return jobs.requested_s, jobs.submit_s


def make(
    backfill: str = "none",
    queue: str = "block",
    final: bool = True,
    gpus: str = "best",
    score: str = "",
) -> QueuePolicy:
    """The policy; `cerebrum.policies.queueing` tells the options."""
    return QueuePolicy("sjf", sjf, backfill, queue, final, gpus, score)
