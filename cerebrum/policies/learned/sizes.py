"""Amounts as numbers below 1: `x / (x + c)` tells 1 core from 4 as well as 32 from 128.

NumPy only, for what serves bidders without the compiler; `bid_features.size` is its kernel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORES, GIB = 16.0, 64.0
"""Where x / (x + c) is one half."""

Numbers = NDArray[np.float64]


def size(amount: Numbers | np.float64, half: float) -> Numbers:
    """0 up to 1, one half at `half`. What is overdrawn (negative) counts as nothing."""
    there = np.maximum(amount, 0.0)
    return np.asarray(there / (there + half))
