"""What a node looks at when all that is known of it is what it has left: the prototype's question.

DARO's `/schedule` says cores and GB available on each node, not how large the node is, so a bidder
for it is trained on this and nothing else: a capacity that nobody told is not made up. NumPy only;
`availability_features` is the same as a kernel, for training.

A GB is 2^30 bytes. `x / (x + c)` tells 1 core from 4 as well as 32 from 128 and stays below 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned.schema import Feature, Schema

CORES, GB = 16.0, 64.0
"""Where x / (x + c) is one half."""


def _share(name: str, meaning: str) -> Feature:
    return Feature(name, "share", 1.0, meaning)


SCHEMA = Schema(
    "availability",
    1,
    (
        _share("cpu_available", "cores / (cores + 16) that are free"),
        _share("memory_available", "GB / (GB + 64) that are free"),
        _share("task_cpu", "cores / (cores + 16) the task asks for"),
        _share("task_memory", "GB / (GB + 64) the task asks for"),
        _share("cpu_taken", "what the task takes of the CPU that is free here, 0..1"),
        _share("memory_taken", "what the task takes of the memory that is free here, 0..1"),
        _share("cpu_left", "cores / (cores + 16) free afterwards"),
        _share("memory_left", "GB / (GB + 64) free afterwards"),
        _share("skew", "cpu_taken less memory_taken: what would be stranded"),
    ),
)

Numbers = NDArray[np.float64]


def observe(
    cpu_free: Numbers, memory_free: Numbers, cpu: float, memory: float
) -> NDArray[np.float32]:
    """float32[nodes, features] of cores and GB free on each node, for a task that asks for some.

    What is overdrawn (negative) counts as nothing left.
    """
    taken = _taken(cpu, cpu_free), _taken(memory, memory_free)
    columns = (
        _size(cpu_free, CORES),
        _size(memory_free, GB),
        np.full_like(cpu_free, _size(np.float64(cpu), CORES)),
        np.full_like(cpu_free, _size(np.float64(memory), GB)),
        *taken,
        _size(cpu_free - cpu, CORES),
        _size(memory_free - memory, GB),
        taken[0] - taken[1],
    )
    return np.stack(columns, -1).astype(np.float32)


def _size(amount: Numbers | np.float64, half: float) -> Numbers:
    there = np.maximum(amount, 0.0)
    return np.asarray(there / (there + half))


def _taken(asked: float, free: Numbers) -> Numbers:
    with np.errstate(over="ignore"):  # what is next to nothing is taken whole
        return np.clip(asked / np.where(free > 0, free, np.inf), 0.0, 1.0)
