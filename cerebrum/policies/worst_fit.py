# pyright: basic, reportPrivateImportUsage=false
"""Worst fit: the node with most left over, the mirror of `best_fit` (Johnson, 1973).

score = 100 x s, cut;  s = 0.5 x CPU left after / 128000 + 0.5 x GPU left after / 8000
"""

from __future__ import annotations

from cerebrum.engine.compiled import scorer
from cerebrum.policies.best_fit import LARGEST_CPU_MILLI, LARGEST_GPU_MILLI


@scorer
def worst_fit(before, after, task, typical):
    """Percent of the largest node that is left over, CPU and GPU alike."""
    left = after.cpu_free / LARGEST_CPU_MILLI * 0.5 + after.gpu_free_sum / LARGEST_GPU_MILLI * 0.5
    return left * 100.0


PROFILE = {"scores": [{"name": "worst-fit", "rounding": "truncate"}], "gpus": "worst"}
