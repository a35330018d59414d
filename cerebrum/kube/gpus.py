"""The GPUs a bound pod was given: the annotation `gpu-index`."""

from __future__ import annotations

from collections.abc import Mapping

from cerebrum.kube import names
from cerebrum.kube.fields import Fields
from cerebrum.model.cluster import Node
from cerebrum.model.resources import MAX_GPUS


def read_gpu_indices(metadata: Fields, gpus: int, node: Node) -> tuple[int, ...]:
    """The GPUs `0-1-2` a bound pod has: distinct, on the node, as many as it asks for; () unsaid.

    Raises the field's error otherwise.
    """
    notes = metadata.child("annotations")
    text = metadata.labels("annotations").get(names.GPU_INDEX, "")
    if not text:
        return ()
    indices, limit = _indices(text), node.capacity.gpu_count
    if not indices:
        raise notes.error(f"expected GPU indices such as 0-1-2, got {text!r}", names.GPU_INDEX)
    if any(index >= limit for index in indices):
        raise notes.error(
            f"expected indices 0..{limit - 1}, node {node.name!r} has {limit} GPUs, got {text!r}",
            names.GPU_INDEX,
        )
    if len(set(indices)) != len(indices) or len(indices) != gpus:
        raise notes.error(f"expected {gpus} distinct indices, got {text!r}", names.GPU_INDEX)
    return indices


def gpus_given(annotations: Mapping[str, str], gpus: int) -> tuple[int, ...]:
    """As `read_gpu_indices` for a live pod; () for what makes no sense."""
    indices = _indices(annotations.get(names.GPU_INDEX, ""))
    sound = len(set(indices)) == len(indices) == gpus and max(indices, default=0) < MAX_GPUS
    return indices if sound else ()


def _indices(text: str) -> tuple[int, ...]:
    parts = text.split("-")
    if not all(part.isdecimal() and part.isascii() and len(part) < 4 for part in parts):
        return ()
    return tuple(int(part) for part in parts)
