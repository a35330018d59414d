# pyright: basic, reportPrivateImportUsage=false
"""GPU clustering: tasks of one GPU kind together (Gandiva, Xiao et al., OSDI'18, as in openb).

    b = 25 x (8000 - GPU left) / 8000, in whole numbers
    b + 75  the node hosts the task's kind and no other      b + 25  it hosts no GPU task
    b + 50  it hosts the task's kind and others              b       it hosts other kinds only

A kind is "shared", or the number of whole GPUs. A task without GPUs scores 0 everywhere.
"""

from __future__ import annotations

from cerebrum.engine.compiled import scorer
from cerebrum.policies.best_fit import LARGEST_GPU_MILLI


@scorer
def gpu_clustering(before, after, task, typical):
    """0..100: how well the node's GPU tasks match this one's kind, fuller nodes first."""
    if task.gpu_count == 0:
        return 0.0
    base = 25 * (LARGEST_GPU_MILLI - before.gpu_free_sum) // LARGEST_GPU_MILLI
    kinds = 0
    for k in range(len(before.gpu_kinds)):
        if before.gpu_kinds[k] > 0:
            kinds += 1
    if before.gpu_kinds[task.gpu_kind] > 0:
        return base + (75.0 if kinds == 1 else 50.0)
    return base + (25.0 if kinds == 0 else 0.0)


PROFILE = {"scores": [{"name": "gpu-clustering"}], "gpus": "best"}
