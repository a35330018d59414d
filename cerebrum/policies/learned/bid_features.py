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
from cerebrum.policies.learned.schema import Feature, Schema

_CORES, _GIB = 16.0, 64.0  # where x / (x + c) is one half
_WHOLE = 1000


def _share(name: str, meaning: str) -> Feature:
    return Feature(name, "share", 1.0, meaning)


SCHEMA = Schema(
    "bid",
    1,
    (
        _share("cpu_free", "CPU free now, of the node's own"),
        _share("memory_free", "memory free now, of the node's own"),
        _share("gpu_free", "GPU thousandths free now, of the node's own; 0 without GPUs"),
        _share("slots_free", "task slots free now, of the node's own"),
        Feature("gpus_whole", "GPUs", 8.0, "GPUs that no task uses"),
        Feature("gpus_partial", "GPUs", 8.0, "GPUs that are shared and have something left"),
        Feature("gpu_largest_partial", "GPU/1000", 1000.0, "most left on a GPU in use"),
        Feature("fragmentation", "GPU/1000", 4000.0, "F_n of FGD against the typical tasks"),
        _share("cpu_size", "cores / (cores + 16) of the node"),
        _share("memory_size", "GiB / (GiB + 64) of the node"),
        Feature("gpu_size", "GPUs", 8.0, "GPUs of the node"),
        Feature("gpu_power", "W", 400.0, "full power of one of its GPUs"),
        Feature("speed", "1", 1.0, "how fast the node runs tasks"),
        Feature("idle", "1", 1.0, "1 if no task is on the node"),
        _share("task_cpu", "cores / (cores + 16) the task asks for"),
        _share("task_memory", "GiB / (GiB + 64) the task asks for"),
        Feature("task_gpus", "GPUs", 8.0, "GPUs the task asks for, shares as such"),
        Feature("task_shares", "1", 1.0, "1 if the task takes a share of one GPU"),
        Feature("task_picks_model", "1", 1.0, "1 if not any GPU model will do"),
        _share("cpu_taken", "what the task takes of the CPU that is free here"),
        _share("memory_taken", "what the task takes of the memory that is free here"),
        _share("gpu_taken", "what the task takes of the GPU thousandths that are free here"),
        _share("cpu_left", "CPU free afterwards, of the node's own"),
        _share("memory_left", "memory free afterwards, of the node's own"),
        _share("gpu_left", "GPU thousandths free afterwards, of the node's own"),
        _share("cpu_left_size", "cores / (cores + 16) free afterwards"),
        _share("memory_left_size", "GiB / (GiB + 64) free afterwards"),
        _share("cpu_over_memory", "cpu_left less memory_left: what would be stranded"),
        _share("cpu_over_gpu", "cpu_left less gpu_left; 0 without GPUs"),
        Feature("gpus_opened", "GPUs", 8.0, "whole GPUs the task would begin to use"),
        Feature("fragmentation_added", "GPU/1000", 1000.0, "F_n afterwards less F_n now"),
        Feature("power_added", "W", 1000.0, "power drawn afterwards less power drawn now"),
    ),
)
_SCALES = np.array([feature.scale for feature in SCHEMA.features], np.float64)


@kernel
def _part(amount, whole):
    """A share, kept to -1..1: more can be given away than there is."""
    return min(1.0, max(-1.0, amount / whole)) if whole > 0 else 0.0


@kernel
def _size(amount, half):
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
    out[8] = _size(before.cpu_milli / 1000.0, _CORES)
    out[9] = _size(before.memory_mib / 1024.0, _GIB)
    out[10] = before.gpu_count
    out[11] = before.gpu_full_w if before.gpu_count > 0 else 0.0
    out[12] = before.speed
    out[13] = 1.0 if before.slots_free >= before.slots else 0.0
    out[14] = _size(task.cpu_milli / 1000.0, _CORES)
    out[15] = _size(task.memory_mib / 1024.0, _GIB)
    out[16] = asked / 1000.0
    out[17] = 1.0 if task.gpu_kind == 0 else 0.0
    out[18] = 1.0 if task.gpu_count > 0 and task.gpu_models != -1 else 0.0
    out[19] = _part(task.cpu_milli, before.cpu_free)
    out[20] = _part(task.memory_mib, before.memory_free)
    out[21] = _part(asked, before.gpu_free_sum)
    out[22], out[23], out[24] = cpu_left, memory_left, gpu_left
    out[25] = _size(after.cpu_free / 1000.0, _CORES)
    out[26] = _size(after.memory_free / 1024.0, _GIB)
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
