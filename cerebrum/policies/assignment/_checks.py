"""What every assigner does first: which parts are open, and what may hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import InputError
from cerebrum.model.federation import ClusterViews, Decomposition


def held(
    decomposition: Decomposition, clusters: ClusterViews, placed: NDArray[np.int32] | None
) -> NDArray[np.int32]:
    """int32[parts]: clusters of parts that have one, -1 for open ones. Raises `InputError`."""
    if placed is None:
        return np.full(decomposition.parts, -1, np.int32)
    if len(placed) != decomposition.parts:
        raise InputError(f"expected {decomposition.parts} values, got {len(placed)}").at(
            field="placed"
        )
    if len(placed) and not -1 <= int(placed.min()) <= int(placed.max()) < len(clusters):
        raise InputError(f"expected -1..{len(clusters) - 1}").at(field="placed")
    return placed.astype(np.int32)
