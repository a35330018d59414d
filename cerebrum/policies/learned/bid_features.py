# pyright: basic, reportPrivateImportUsage=false
"""What a node that bids looks at: itself, the task, and itself with the task placed.

Nothing about other nodes, so that a node computes its bid where it is and only the bid travels.
All numbers are of the order of one: shares of the node's own capacity, and for sizes x / (x + c),
which tells 1 core from 4 as well as 32 from 128 and stays below 1 on any machine.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import fragmentation, power_w
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.sizes import CORES, GIB

__all__ = ["SCHEMA", "bid_features"]

_WHOLE = 1000
_SCALES = np.array([feature.scale for feature in SCHEMA.features], np.float64)


@kernel
def _part(amount, whole):
    """A share, kept to -1..1: more can be given away than there is."""
    return min(1.0, max(-1.0, amount / whole)) if whole > 0 else 0.0


@kernel
def size(amount, half):
    """`sizes.size` of one amount."""
    return amount / (amount + half) if amount > 0 else 0.0


@kernel
def _gpu_picture(node):
    """GPUs nothing uses, GPUs in use with something left, and the most left on one of those."""
    whole, partial, largest = 0, 0, 0
    for g in range(node.gpu_count):
        left = node.gpu_free[g]
        if left >= _WHOLE:
            whole += 1
        elif left > 0:
            partial += 1
            largest = max(largest, np.int64(left))
    return whole, partial, largest


@kernel
def bid_features(before, after, task, typical, out):
    """Write the observation into `out` (float32[len(SCHEMA)]), each quantity over its scale.

    `before` and `after` are NODE records without and with the task placed, `task` and `typical` as
    for a scorer. `before.fragmentation` must be current where `typical` is not empty.
    """
    gpus = before.gpu_count * _WHOLE
    whole, partial, largest = _gpu_picture(before)
    whole_after, _, _ = _gpu_picture(after)
    cpu, memory = (
        _part(before.cpu_free, before.cpu_milli),
        _part(before.memory_free, before.memory_mib),
    )
    cpu_left = _part(after.cpu_free, after.cpu_milli)
    memory_left = _part(after.memory_free, after.memory_mib)
    gpu_left = _part(after.gpu_free_sum, gpus)
    asked = task.gpu_count * task.gpu_milli
    out[0], out[1], out[2] = cpu, memory, _part(before.gpu_free_sum, gpus)
    out[3] = _part(before.slots_free, before.slots)
    out[4], out[5], out[6] = whole, partial, largest
    out[7] = before.fragmentation
    out[8] = size(before.cpu_milli / 1000.0, CORES)
    out[9] = size(before.memory_mib / 1024.0, GIB)
    out[10] = before.gpu_count
    out[11] = before.gpu_full_w if before.gpu_count > 0 else 0.0
    out[12] = before.speed
    out[13] = 1.0 if before.slots_free >= before.slots else 0.0
    out[14] = size(task.cpu_milli / 1000.0, CORES)
    out[15] = size(task.memory_mib / 1024.0, GIB)
    out[16] = asked / 1000.0
    out[17] = 1.0 if task.gpu_kind == 0 else 0.0
    out[18] = 1.0 if task.gpu_count > 0 and task.gpu_models != -1 else 0.0
    out[19] = _part(task.cpu_milli, before.cpu_free)
    out[20] = _part(task.memory_mib, before.memory_free)
    out[21] = _part(asked, before.gpu_free_sum)
    out[22], out[23], out[24] = cpu_left, memory_left, gpu_left
    out[25] = size(after.cpu_free / 1000.0, CORES)
    out[26] = size(after.memory_free / 1024.0, GIB)
    out[27] = cpu_left - memory_left
    out[28] = cpu_left - gpu_left if before.gpu_count > 0 else 0.0
    out[29] = whole - whole_after
    added = 0.0
    if len(typical) > 0 and before.gpu_count > 0:
        added = fragmentation(after, typical) - before.fragmentation
    out[30] = added
    drawn = before.cpu_package_milli > 0
    out[31] = power_w(after) - power_w(before) if drawn else 0.0
    for i in range(len(_SCALES)):
        out[i] = out[i] / _SCALES[i]
