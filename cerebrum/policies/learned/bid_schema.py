"""What a node that bids looks at, in words; `bid_features` computes it.

In a file of its own, so that a process which only serves bids need not import the compiler.
"""

from __future__ import annotations

from cerebrum.policies.learned.schema import Feature, Schema, share

SCHEMA = Schema(
    "bid",
    1,
    (
        share("cpu_free", "CPU free now, of the node's own"),
        share("memory_free", "memory free now, of the node's own"),
        share("gpu_free", "GPU thousandths free now, of the node's own; 0 without GPUs"),
        share("slots_free", "task slots free now, of the node's own"),
        Feature("gpus_whole", "GPUs", 8.0, "GPUs that no task uses"),
        Feature("gpus_partial", "GPUs", 8.0, "GPUs that are shared and have something left"),
        Feature("gpu_largest_partial", "GPU/1000", 1000.0, "most left on a GPU in use"),
        Feature("fragmentation", "GPU/1000", 4000.0, "F_n of FGD against the typical tasks"),
        share("cpu_size", "cores / (cores + 16) of the node"),
        share("memory_size", "GiB / (GiB + 64) of the node"),
        Feature("gpu_size", "GPUs", 8.0, "GPUs of the node"),
        Feature("gpu_power", "W", 400.0, "full power of one of its GPUs"),
        Feature("speed", "1", 1.0, "how fast the node runs tasks"),
        Feature("idle", "1", 1.0, "1 if no task is on the node"),
        share("task_cpu", "cores / (cores + 16) the task asks for"),
        share("task_memory", "GiB / (GiB + 64) the task asks for"),
        Feature("task_gpus", "GPUs", 8.0, "GPUs the task asks for, shares as such"),
        Feature("task_shares", "1", 1.0, "1 if the task takes a share of one GPU"),
        Feature("task_picks_model", "1", 1.0, "1 if not any GPU model will do"),
        share("cpu_taken", "what the task takes of the CPU that is free here"),
        share("memory_taken", "what the task takes of the memory that is free here"),
        share("gpu_taken", "what the task takes of the GPU thousandths that are free here"),
        share("cpu_left", "CPU free afterwards, of the node's own"),
        share("memory_left", "memory free afterwards, of the node's own"),
        share("gpu_left", "GPU thousandths free afterwards, of the node's own"),
        share("cpu_left_size", "cores / (cores + 16) free afterwards"),
        share("memory_left_size", "GiB / (GiB + 64) free afterwards"),
        share("cpu_over_memory", "cpu_left less memory_left: what would be stranded"),
        share("cpu_over_gpu", "cpu_left less gpu_left; 0 without GPUs"),
        Feature("gpus_opened", "GPUs", 8.0, "whole GPUs the task would begin to use"),
        Feature("fragmentation_added", "GPU/1000", 1000.0, "F_n afterwards less F_n now"),
        Feature("power_added", "W", 1000.0, "power drawn afterwards less power drawn now"),
    ),
)
