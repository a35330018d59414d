"""What a node looks at when all that is known of it is what it has left: the prototype's question.

DARO's `/schedule` says cores and GB available on each node, not how large the node is, so a bidder
for it is trained on this and nothing else: a capacity that nobody told is not made up. NumPy only;
`availability_features` is the same as a kernel, for training.

A GB is 2^30 bytes, which others call a GiB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned.schema import Schema, share
from cerebrum.policies.learned.sizes import CORES, GIB, Numbers, size

SCHEMA = Schema(
    "availability",
    1,
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
    ),
)


def observe(
    cpu_free: Numbers, memory_free: Numbers, cpu: float, memory: float
) -> NDArray[np.float32]:
    """float32[nodes, features] of cores and GB free on each node, for a task that asks for some.

    What is overdrawn (negative) counts as nothing left.
    """
    taken = _taken(cpu, cpu_free), _taken(memory, memory_free)
    columns = (
        size(cpu_free, CORES),
        size(memory_free, GIB),
        np.full_like(cpu_free, size(np.float64(cpu), CORES)),
        np.full_like(cpu_free, size(np.float64(memory), GIB)),
        *taken,
        size(cpu_free - cpu, CORES),
        size(memory_free - memory, GIB),
        taken[0] - taken[1],
    )
    return np.stack(columns, -1).astype(np.float32)


def _taken(asked: float, free: Numbers) -> Numbers:
    with np.errstate(over="ignore"):  # what is next to nothing is taken whole
        return np.clip(asked / np.where(free > 0, free, np.inf), 0.0, 1.0)
