"""The records a scorer sees: one node row, one task class. NumPy structured types, units in names.

A scorer is `score(before, after, task, typical) -> float`: `before` and `after` are `NODE` records
without and with the task placed, `task` is a `TASK` record, `typical` an array of them.
"""

from __future__ import annotations

import numpy as np

from cerebrum.model.resources import MAX_EXTENDED, MAX_GPUS

# The first 64 bytes are what filters read: one line of the processor's cache.
NODE = np.dtype(
    [
        ("cpu_free", "i8"),
        ("memory_free", "i8"),
        ("gpu_free_sum", "i4"),
        ("gpu_count", "i4"),
        ("gpu_model", "i4"),
        ("slots_free", "i4"),
        ("gpu_free", "i2", (MAX_GPUS,)),
        ("fragmentation", "f8"),
        ("cpu_milli", "i8"),
        ("memory_mib", "i8"),
        ("extended", "i8", (MAX_EXTENDED,)),
        ("extended_free", "i8", (MAX_EXTENDED,)),
        ("speed", "f8"),
        ("cpu_idle_w", "f8"),
        ("cpu_full_w", "f8"),
        ("gpu_idle_w", "f8"),
        ("gpu_full_w", "f8"),
        ("cpu_package_milli", "i4"),
        ("slots", "i4"),
        ("cache_ways", "i4"),
        ("cache_ways_free", "i4"),
        ("preference", "i4"),
        ("disliked_taints", "i4"),
        ("gpu_kinds", "i2", (MAX_GPUS + 4,)),
    ]
)
"""A node's capacity and what is free. `*_milli` thousandths, `*_mib` MiB, `*_w` watts.

`extended[i]` is the scenario's i-th named extended resource. `gpu_free[g]` is what is left of GPU
g (0..1000). `gpu_model` indexes the scenario's models (-1: none). `gpu_kinds[k]` counts running
tasks by GPU kind: 0 shared, k whole GPUs. `fragmentation` is F_n of FGD (USENIX ATC'23, section 4)
in thousandths of a GPU against the scenario's typical classes. In `after`, `preference` and
`disliked_taints` hold what the task's preferred affinity and tolerations make of the node.
"""

TASK = np.dtype(
    [
        ("cpu_milli", "i8"),
        ("memory_mib", "i8"),
        ("extended", "i8", (MAX_EXTENDED,)),
        ("gpu_models", "i8"),
        ("popularity", "i8"),
        ("popularity_total", "i8"),
        ("gpu_count", "i4"),
        ("gpu_milli", "i4"),
        ("gpu_kind", "i4"),
        ("cache_ways", "i4"),
        ("constraints", "i4"),
        ("has_extended", "i4"),
        ("reserved", "i8"),
    ]
)
"""A task class. `gpu_models` has a bit per accepted model (-1: any); `gpu_kind` -1 none, 0 shared,
k whole GPUs. Only in `typical`, which is sorted by `gpu_milli`: `popularity` how many tasks of the
reference trace are of this class, `popularity_total` the sum, `reserved` the order given."""

assert NODE.itemsize % 8 == 0, "nodes are compared by 8-byte words"
assert TASK.itemsize % 8 == 0, "task classes are compared by 8-byte words"
