"""Events: the only way state changes, and the rows of the log every metric is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np


class EventKind(IntEnum):
    """What happened. At equal times events apply in this order: what frees capacity goes first."""

    FINISHED = 0
    FAILED = 1
    PREEMPTED = 2
    BIND_FAILED = 3
    NODE_ADDED = 4
    NODE_CHANGED = 5
    NODE_REMOVED = 6
    SIGNAL_CHANGED = 7
    TIMER_FIRED = 8
    SUBMITTED = 9
    READY = 10
    DEFERRED = 11
    UNSCHEDULABLE = 12
    REJECTED = 13
    BOUND = 14
    STARTED = 15
    CANCELLED = 16


class TaskState(IntEnum):
    """Where a task stands. The last four are terminal."""

    UNKNOWN = 0
    BLOCKED = 1
    PENDING = 2
    BOUND = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    REJECTED = 7
    CANCELLED = 8


class Refusal(IntFlag):
    """Why a node cannot take a task. A node can be refused for several reasons at once."""

    CPU = 1
    MEMORY = 2
    SLOTS = 4
    GPU_COUNT = 8
    GPU_MILLI = 16
    GPU_MODEL = 32
    CACHE_WAYS = 64
    EXTENDED = 128
    SELECTOR = 256
    TAINT = 512
    UNSCHEDULABLE = 1024
    GANG = 2048
    NO_NODE = 4096
    PEERS = 8192
    PORT = 16384
    # What exactly, where there is room to say it: a log row has room for the bits above only.
    POD_AFFINITY = 1 << 16
    POD_ANTI_AFFINITY = 1 << 17
    EXISTING_ANTI_AFFINITY = 1 << 18
    SPREAD = 1 << 19
    SPREAD_LABEL = 1 << 20
    HOST_PORT = 1 << 21
    EXCLUSIVE = 1 << 22


REFUSAL_TEXT = {
    Refusal.CPU: "Insufficient cpu",
    Refusal.MEMORY: "Insufficient memory",
    Refusal.SLOTS: "Too many pods",
    Refusal.GPU_COUNT: "Insufficient GPUs",
    Refusal.GPU_MILLI: "Insufficient GPU share",
    Refusal.GPU_MODEL: "node(s) had another GPU model",
    Refusal.CACHE_WAYS: "Insufficient cache ways",
    Refusal.EXTENDED: "Insufficient extended resource",
    Refusal.SELECTOR: "node(s) didn't match node affinity/selector",
    Refusal.TAINT: "node(s) had untolerated taint",
    Refusal.UNSCHEDULABLE: "node(s) were unschedulable",
    Refusal.GANG: "no room for the whole gang",
    Refusal.NO_NODE: "no nodes available",
    Refusal.PEERS: "node(s) didn't match the rules about other pods",
    Refusal.PORT: "node(s) had no free ports or claims for the requested pod",
    Refusal.POD_AFFINITY: "node(s) didn't match pod affinity rules",
    Refusal.POD_ANTI_AFFINITY: "node(s) didn't match pod anti-affinity rules",
    Refusal.EXISTING_ANTI_AFFINITY: "node(s) didn't satisfy existing pods anti-affinity rules",
    Refusal.SPREAD: "node(s) didn't match pod topology spread constraints",
    Refusal.SPREAD_LABEL: (
        "node(s) didn't match pod topology spread constraints (missing required label)"
    ),
    Refusal.HOST_PORT: "node(s) didn't have free ports for the requested pod ports",
    Refusal.EXCLUSIVE: (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
        "already in-use by another pod"
    ),
}

EVENT = np.dtype(
    [
        ("time_s", "f8"),
        ("value", "f8"),
        ("subject", "i4"),
        ("row", "i4"),
        ("gpus", "i4"),
        ("reason", "i2"),
        ("kind", "i1"),
        ("cache_ways", "i1"),
    ]
)
"""One row of the log (32 bytes). `subject` is a task, or a node row for node events; `row` the node
a task is bound to (-1: none); `gpus` a bit per GPU index; `reason` Refusal bits; `value` depends on
the kind: SUBMITTED 1 if the task is blocked until it is READY, BOUND 1 if it is a fact seen
outside, which counts whether the node has room or not, DEFERRED until when, STARTED the run time
expected, FAILED 1 if the task must not start again, SIGNAL_CHANGED the new value."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Fields as in `EVENT`; NODE_* events carry the rest of their data in `Scenario`."""

    time_s: float
    kind: EventKind
    subject: int
    row: int = -1
    gpus: int = 0
    reason: int = 0
    cache_ways: int = 0
    value: float = 0.0


def gpu_mask(indices: tuple[int, ...]) -> int:
    """The bit mask of GPU indices."""
    return sum(1 << index for index in indices)


def gpu_indices(mask: int) -> tuple[int, ...]:
    """The GPU indices of a bit mask, ascending."""
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)
