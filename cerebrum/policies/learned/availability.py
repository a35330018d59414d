"""What a node looks at when all that is known of it is what it has left: the prototype's question.

DARO's `/schedule` says cores and GB available on each node, not how large the node is, so a bidder
for it is trained on this and nothing else: a capacity that nobody told is not made up. NumPy only;
`availability_features` is the same as a kernel, for training.

*Room* is how much of what may come a node could take: of each of 35 kinds of reference task (1/4 to
16 cores, half a GB to 8 GB a core) as many as would fit alone, where a task of 16 cores or 64 GB
counts 1; the mean over the kinds. It falls in steps, so a placement may cost much room or none.

A GB is 2^30 bytes, which others call a GiB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned.schema import Schema, share
from cerebrum.policies.learned.sizes import CORES, GIB, Numbers, size

_CORES, _GB, _RATIOS = 2.0 ** np.arange(-2, 5), 2.0 ** np.arange(-3, 8), 5
REFERENCE = np.array(
    [(cores, _GB[i + j]) for i, cores in enumerate(_CORES) for j in range(_RATIOS)]
)
"""float64[35, 2]: cores and GB of the reference tasks; divisions by powers of two are exact."""
MOST, SLACK = 1e9, 1e-9
"""Tasks of a kind at most, and what a sum of decimals may be short of a whole number."""

SCHEMA = Schema(
    "availability",
    2,
    (
        share("cpu_available", "cores / (cores + 16) that are free"),
        share("memory_available", "GB / (GB + 64) that are free"),
        share("task_cpu", "cores / (cores + 16) the task asks for"),
        share("task_memory", "GB / (GB + 64) the task asks for"),
        share("cpu_taken", "what the task takes of the CPU that is free here, 0..1"),
        share("memory_taken", "what the task takes of the memory that is free here, 0..1"),
        share("cpu_left", "cores / (cores + 16) free afterwards"),
        share("memory_left", "GB / (GB + 64) free afterwards"),
        share("skew", "cpu_taken less memory_taken: what would be stranded"),
        share("room_left", "room / (room + 1) afterwards"),
        share("room_lost", "lost / (lost + asked): room lost, and the task's own size"),
    ),
)


def observe(
    cpu_free: Numbers, memory_free: Numbers, cpu: float, memory: float
) -> NDArray[np.float32]:
    """float32[nodes, features] of cores and GB free on each node, for a task that asks for some.

    What is overdrawn (negative) counts as nothing left.
    """
    taken = _taken(cpu, cpu_free), _taken(memory, memory_free)
    left = room(cpu_free - cpu, memory_free - memory)
    lost = room(cpu_free, memory_free) - left
    columns = (
        size(cpu_free, CORES),
        size(memory_free, GIB),
        np.full_like(cpu_free, size(np.float64(cpu), CORES)),
        np.full_like(cpu_free, size(np.float64(memory), GIB)),
        *taken,
        size(cpu_free - cpu, CORES),
        size(memory_free - memory, GIB),
        taken[0] - taken[1],
        size(left, 1.0),
        lost / np.maximum(lost + amount(cpu, memory), SLACK),
    )
    return np.stack(columns, -1).astype(np.float32)


def amount(cpu: Numbers | float, memory: Numbers | float) -> Numbers:
    """The larger of the two: 1 is 16 cores or 64 GB."""
    return np.maximum(cpu / CORES, memory / GIB)


def room(cpu_free: Numbers, memory_free: Numbers) -> Numbers:
    """float64[nodes]: how much of the reference tasks nodes with so many cores and GB free take."""
    # Of 35 kinds 7 differ in cores and 11 in GB: each is divided once, and sums are exact.
    by_cores, by_gb = _whole(cpu_free / _CORES[:, None]), _whole(memory_free / _GB[:, None])
    amounts = amount(*REFERENCE.T).reshape(-1, _RATIOS)
    found = np.zeros_like(cpu_free)
    for i, of_each in enumerate(amounts):
        found += of_each @ np.minimum(by_cores[i], by_gb[i : i + _RATIOS])
    return found / len(REFERENCE)


def _whole(fit: Numbers) -> Numbers:
    return np.floor(np.clip(fit, 0.0, MOST) + SLACK)


def _taken(asked: float, free: Numbers) -> Numbers:
    with np.errstate(over="ignore"):  # what is next to nothing is taken whole
        return np.clip(asked / np.where(free > 0, free, np.inf), 0.0, 1.0)
