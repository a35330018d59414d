"""UNICEP: wait over run time and the logarithm of size (Tang et al., CLUSTER'09).

    -(w + 1e-15) / (log2(n + 1e-15) r), smallest first

w wait so far, r requested run time, n processors. The 1e-15 is RLScheduler's (SC'20) and puts
serial jobs first: their logarithm is about 1.6e-15. Less than a core counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.queueing import Jobs, QueuePolicy

_TINY = 1e-15
_SHORTEST_S = 1e-9


def unicep(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
    """Minus wait / (log2(processors) x requested)."""
    size = np.log2(np.maximum(jobs.processors, 1.0) + _TINY)
    requested = np.maximum(jobs.requested_s, _SHORTEST_S)
    return (-(jobs.wait_s + _TINY) / (size * requested),)


def make(
    backfill: str = "none",
    queue: str = "block",
    final: bool = True,
    gpus: str = "best",
    score: str = "",
) -> QueuePolicy:
    """The policy; `cerebrum.policies.queueing` tells the options."""
    return QueuePolicy("unicep", unicep, backfill, queue, final, gpus, score)
