# pyright: basic, reportPrivateImportUsage=false
"""GPU packing: used GPUs first, then free GPUs of used nodes, then free nodes (openb's GpuPacking).

    only used GPUs needed        max(100 - (left x 100 / 1000) / 10, 50), of the GPU it takes
    k free GPUs of a used node   max(50 - k, 33)
    node with all f GPUs free    max(33 - f, f)

In whole numbers, dropping remainders. The task takes the fitting GPUs with least left. After Antman
(Xiao et al., OSDI'20). A task without GPUs scores 0 everywhere.
"""

from __future__ import annotations

from cerebrum.engine.compiled import kernel, scorer
from cerebrum.engine.placement import gpus_with

WHOLE = 1000


@kernel
def _used_gpu_left(node, milli):
    """What is left of the fullest GPU in use that has room; -1 if there is none."""
    least = -1
    for g in range(node.gpu_count):
        left = int(node.gpu_free[g])
        if milli <= left < WHOLE and (least < 0 or left < least):
            least = left
    return least


@scorer
def gpu_packing(before, after, task, typical):
    """0..100: 50 and more on GPUs in use, 33 and more on used nodes, else a free node."""
    if task.gpu_count == 0:
        return 0.0
    free = gpus_with(before, WHOLE)
    if free == before.gpu_count:
        return float(max(33 - free, free))
    left = _used_gpu_left(before, task.gpu_milli) if task.gpu_kind == 0 else -1
    if left < 0:
        return float(max(50 - task.gpu_count, 33))
    return float(max(100 - left * 100 // WHOLE // 10, 50))


PROFILE = {"scores": [{"name": "gpu-packing"}], "gpus": "best"}
