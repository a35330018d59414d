# pyright: basic, reportPrivateImportUsage=false
"""Best fit: the node with least left over (openb's BestFit, USENIX ATC'23, section 6.1).

    score = 100 x (1 - s), cut;  s = 0.5 x CPU left after / 128000 + 0.5 x GPU left after / 8000

The divisors are openb's largest node, in thousandths; they only weigh CPU against GPUs.
"""

from __future__ import annotations

from cerebrum.engine.compiled import scorer

LARGEST_CPU_MILLI = 128_000
LARGEST_GPU_MILLI = 8_000


@scorer
def best_fit(before, after, task, typical):
    """Percent of the largest node that is not left over, CPU and GPU alike."""
    gpu = task.gpu_count * task.gpu_milli
    left = (before.cpu_free - task.cpu_milli) / LARGEST_CPU_MILLI * 0.5
    left += (before.gpu_free_sum - gpu) / LARGEST_GPU_MILLI * 0.5
    return (1.0 - left) * 100.0


PROFILE = {"scores": [{"name": "best-fit", "rounding": "truncate"}], "gpus": "best"}
