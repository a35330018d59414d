"""Why a pod has no node, in kube-scheduler's words, from what the engine says of each node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.kubernetes.mirror import Held, Mirror
from cerebrum.kube.messages import Refused, preemption_text, unschedulable_text


def text(mirror: Mirror, held: Held, bits: NDArray[np.int32], tried: bool) -> str:
    """The text of a FailedScheduling event; `tried`: no victims were found either.

    `bits` int32[rows] of `Refusal`, -1 where there is no node.
    """
    there = [
        node if bit >= 0 else None for node, bit in zip(mirror.nodes.by_row(), bits, strict=False)
    ]
    refused = Refused(np.maximum(bits, 0).astype(np.int32), there, held.pod.task_class)
    more = preemption_text(refused, held.pod.preempts) if tried else ""
    return unschedulable_text(refused, more)


def bits_of(mirror: Mirror, held: Held) -> NDArray[np.int32]:
    """Every `Refusal` bit of each row for a waiting pod, -1 where there is no node."""
    snapshot = mirror.recorded.engine.snapshot()
    return snapshot.refusals(held.task)
