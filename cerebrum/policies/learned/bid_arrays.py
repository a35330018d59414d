"""`bid_features` in NumPy, for nodes that somebody describes: CPU and memory, no GPUs, no power.

The same numbers as the kernel gives for such a node (a test holds them equal), without the engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.sizes import CORES, GIB, Numbers, size

__all__ = ["SCHEMA", "observe"]
_AT = {name: i for i, name in enumerate(SCHEMA.names)}


def observe(
    cpu_free: Numbers,
    memory_free: Numbers,
    cpu_capacity: Numbers,
    memory_capacity: Numbers,
    cpu: float,
    memory: float,
) -> NDArray[np.float32]:
    """float32[nodes, features]; cores and GiB. A node counts as idle when nothing of it is used,
    as one of ordinary speed, and as having a slot for one more task where it is not."""
    out = np.zeros((len(cpu_free), len(SCHEMA)))

    def put(name: str, values: Numbers | float) -> None:
        out[:, _AT[name]] = values

    idle = (cpu_free >= cpu_capacity) & (memory_free >= memory_capacity)
    cpu_left, memory_left = cpu_free - cpu, memory_free - memory
    put("cpu_free", _part(cpu_free, cpu_capacity))
    put("memory_free", _part(memory_free, memory_capacity))
    put("slots_free", 1.0)
    put("cpu_size", size(cpu_capacity, CORES))
    put("memory_size", size(memory_capacity, GIB))
    put("speed", 1.0)
    put("idle", idle.astype(np.float64))
    put("task_cpu", size(np.float64(cpu), CORES))
    put("task_memory", size(np.float64(memory), GIB))
    put("cpu_taken", _part(np.float64(cpu), cpu_free))
    put("memory_taken", _part(np.float64(memory), memory_free))
    put("cpu_left", _part(cpu_left, cpu_capacity))
    put("memory_left", _part(memory_left, memory_capacity))
    put("cpu_left_size", size(cpu_left, CORES))
    put("memory_left_size", size(memory_left, GIB))
    put("cpu_over_memory", out[:, _AT["cpu_left"]] - out[:, _AT["memory_left"]])
    return (out / [feature.scale for feature in SCHEMA.features]).astype(np.float32)


def _part(amount: Numbers | np.float64, whole: Numbers) -> Numbers:
    there = np.where(whole > 0, whole, np.inf)
    with np.errstate(over="ignore"):
        return np.clip(amount / there, -1.0, 1.0)
