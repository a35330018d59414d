# pyright: basic, reportPrivateImportUsage=false
"""Dot product: keep away from nodes whose free vector points where the task's does.

    score = 100 x (1 - d / 2), cut
    d = (CPU left / 128000) x (CPU / 128000) + (GPU left / 8000) x (GPU / 8000)

Tetris' alignment score (Grandl et al., SIGCOMM'14), turned round as openb's DotProd does it: the
smallest product wins.
"""

from __future__ import annotations

from cerebrum.engine.compiled import scorer
from cerebrum.policies.best_fit import LARGEST_CPU_MILLI, LARGEST_GPU_MILLI


@scorer
def dot_product(before, after, task, typical):
    """100 less half the product of what is left and what is asked, each over the largest node."""
    gpu = task.gpu_count * task.gpu_milli
    product = before.cpu_free / LARGEST_CPU_MILLI * (task.cpu_milli / LARGEST_CPU_MILLI)
    product += before.gpu_free_sum / LARGEST_GPU_MILLI * (gpu / LARGEST_GPU_MILLI)
    return 100.0 * (1.0 - product / 2.0)


PROFILE = {"scores": [{"name": "dot-product", "rounding": "truncate"}], "gpus": "best"}
