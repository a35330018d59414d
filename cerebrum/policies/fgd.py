# pyright: basic, reportPrivateImportUsage=false
"""FGD: fragmentation gradient descent (Weng et al., USENIX ATC'23, sections 4 and 5).

    score = 100 x sigmoid((F_n before - F_n after) / 1000), cut to a whole number

F_n is the GPU the typical task could not use on node n, in thousandths (see
`cerebrum.engine.placement.fragmentation`). A task on a part of a GPU tries every GPU that fits and
takes the best; whole GPUs are alike. Kubernetes scores are integers, and the cut decides the
published numbers: without it the last point of `default` is 94.4 instead of 95.4.

Two roundings (`docs/reference/openb-protocol.md`, "The 49-or-50 rule"):

- `fgd` takes F_n in exact arithmetic: no change of F_n scores 50.
- `fgd-original` forms F_n, where it does not change, from floating point sums in the order of the
  original program, which sometimes come out a little below zero: 49 instead of 50. The sums depend
  on how many tasks the reference trace has, typical or not: `fgd-original:8152` for `default`.
"""

from __future__ import annotations

import functools
from math import exp

import numpy as np

from cerebrum.engine.compiled import Scorer, kernel, scorer
from cerebrum.engine.placement import accepts_model, fragmentation, gpus_with


@kernel
def _sigmoid_percent(difference):
    return 1.0 / (1.0 + exp(-difference / 1000.0)) * 100.0


@kernel
def _relief(before, after, typical):
    """How much fragmentation falls; 0 where there is nothing to measure it against."""
    if len(typical) == 0:
        return 0.0
    return before.fragmentation - fragmentation(after, typical)


@scorer
def fgd(before, after, task, typical):
    """100 x sigmoid of how much fragmentation falls (thousandths of a GPU, over 1000)."""
    return _sigmoid_percent(_relief(before, after, typical))


@functools.cache
def fgd_original(tasks: int = 0) -> Scorer:
    """`fgd`, with the original program's rounding where fragmentation does not change.

    `tasks` is the number of tasks of the reference trace (0: those the typical classes cover).
    """
    total = float(tasks)

    def fgd_original(before, after, task, typical):
        difference = _relief(before, after, typical)
        if difference == 0.0 and _may_differ(before, after, task, typical):
            difference = _original_sum(before, typical, total)
            difference -= _original_sum(after, typical, total)
        return _sigmoid_percent(difference)

    return Scorer(fgd_original, "fgd-original")


@kernel
def _may_differ(before, after, task, typical):
    """False where both sums have the same terms: no GPU taken, no typical CPU request passed."""
    if before.gpu_free_sum == 0 or len(typical) == 0:
        return False
    if task.gpu_count > 0:
        return True
    for m in range(len(typical)):
        if after.cpu_free < typical[m].cpu_milli <= before.cpu_free:
            return True
    return False


@kernel
def _original_sum(node, typical, tasks):
    """F_n as the original adds it up: seven accumulators, classes by popularity, no fused steps."""
    order = np.empty(len(typical), np.int64)
    covered = 0.0
    for m in range(len(typical)):
        order[typical[m].reserved] = m
        covered += typical[m].popularity
    if tasks == 0.0:
        tasks = covered
    sums = np.zeros(7)
    for rank in range(len(typical)):
        wanted = typical[order[rank]]
        share = wanted.popularity / tasks / (covered / tasks)
        _add_class(sums, node, wanted, share)
    return sums[0] + sums[1] + sums[3] + sums[4] + sums[5] + sums[6]


@kernel
def _add_class(sums, node, wanted, share):
    """One class's share: lacks both, lacks GPU, satisfied, lacks CPU, CPU-only (2), no access."""
    left = float(node.gpu_free_sum)
    enough_cpu = node.cpu_free >= wanted.cpu_milli
    if wanted.gpu_count == 0:
        sums[4 if enough_cpu else 5] += share * left
    elif not accepts_model(node, wanted):
        sums[6] += share * left
    elif gpus_with(node, wanted.gpu_milli) < wanted.gpu_count:
        sums[1 if enough_cpu else 0] += share * left
    elif not enough_cpu:
        sums[3] += share * left
    else:
        small = 0
        for g in range(node.gpu_count):
            if node.gpu_free[g] < wanted.gpu_milli:
                small += int(node.gpu_free[g])
        sums[1] += share * float(small)
        sums[2] += share * (left - float(small))


PROFILE = {"scores": [{"name": "fgd", "rounding": "truncate"}], "gpus": "score"}


def original(tasks: int = 0) -> dict[str, object]:
    """The profile of `fgd-original`, for a reference trace of `tasks` tasks."""
    score = {"name": f"fgd-original:{tasks}", "rounding": "truncate"}
    return {"name": "fgd-original", "scores": [score], "gpus": "score"}
