# pyright: basic, reportPrivateImportUsage=false
"""`availability` as a kernel over the engine's records: what a bidder for `/schedule` trains on."""

from __future__ import annotations

import math

from cerebrum.engine.compiled import kernel
from cerebrum.policies.learned.availability import MOST, REFERENCE, SCHEMA, SLACK
from cerebrum.policies.learned.bid_features import size
from cerebrum.policies.learned.sizes import CORES, GIB

__all__ = ["SCHEMA", "availability_features"]

_CORE_MILLI, _GIB_MIB = 1000.0, 1024.0


@kernel
def _taken(asked, free):
    return min(1.0, max(0.0, asked / free)) if free > 0 else 0.0


@kernel
def _amount(cpu, memory):
    return max(cpu / CORES, memory / GIB)


@kernel
def _room(cpu_free, memory_free):
    found = 0.0
    for i in range(len(REFERENCE)):
        cores, gb = REFERENCE[i]
        fit = min(MOST, max(0.0, min(cpu_free / cores, memory_free / gb)))
        found += math.floor(fit + SLACK) * _amount(cores, gb)
    return found / len(REFERENCE)


@kernel
def availability_features(before, after, task, typical, out):
    """Write the observation into `out` (float32[len(SCHEMA)]); see `bid_features` for the rest."""
    cpu, memory = task.cpu_milli / _CORE_MILLI, task.memory_mib / _GIB_MIB
    cpu_free, memory_free = before.cpu_free / _CORE_MILLI, before.memory_free / _GIB_MIB
    cpu_taken, memory_taken = _taken(cpu, cpu_free), _taken(memory, memory_free)
    out[0], out[1] = size(cpu_free, CORES), size(memory_free, GIB)
    out[2], out[3] = size(cpu, CORES), size(memory, GIB)
    out[4], out[5] = cpu_taken, memory_taken
    out[6], out[7] = size(cpu_free - cpu, CORES), size(memory_free - memory, GIB)
    out[8] = cpu_taken - memory_taken
    left = _room(cpu_free - cpu, memory_free - memory)
    lost = _room(cpu_free, memory_free) - left
    out[9] = size(left, 1.0)
    out[10] = lost / max(lost + _amount(cpu, memory), SLACK)
