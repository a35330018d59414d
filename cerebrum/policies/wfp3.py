"""WFP3: wait over run time, cubed, times size (Tang et al., CLUSTER'09).

    -(w / r)^3 n, smallest first

w wait so far, r requested run time, n processors: favours old and short jobs, and wide ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.queueing import Jobs, QueuePolicy

_SHORTEST_S = 1e-9


def wfp3(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
    """Minus (wait / requested)^3 x processors."""
    ratio = jobs.wait_s / np.maximum(jobs.requested_s, _SHORTEST_S)
    return (-(ratio**3) * jobs.processors,)


def make(
    backfill: str = "none",
    queue: str = "block",
    final: bool = True,
    gpus: str = "best",
    score: str = "",
) -> QueuePolicy:
    """The policy; `cerebrum.policies.queueing` tells the options."""
    return QueuePolicy("wfp3", wfp3, backfill, queue, final, gpus, score)
