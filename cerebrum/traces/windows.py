"""Windows of consecutive jobs, drawn as RLScheduler's authors did, and the jobs in none of them.

Protocol: docs/reference/rlscheduler-protocol.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import Scenario

LENGTH = 1024
WINDOWS = 10


def start_indices(size: int, seed: int = 1) -> list[int]:
    """First job of each window, from the generator that gym built before version 0.22."""
    if size < 2 * LENGTH + 2:
        raise ConfigError(f"expected more than {2 * LENGTH + 1} jobs, got {size}")
    digest = hashlib.sha512(str(seed).encode()).digest()
    words = np.frombuffer(digest[:8], "<u4").tolist()
    while words and not words[-1]:
        words.pop()
    rng = np.random.RandomState(words or [0])
    return [int(rng.randint(LENGTH, size - LENGTH - 1)) for _ in range(WINDOWS)]


def outside(size: int, starts: Iterable[int], length: int = LENGTH) -> list[NDArray[np.int64]]:
    """Stretches of consecutive jobs that are in no window, the longest first."""
    free = np.ones(size, bool)
    for first in starts:
        free[first : first + length] = False
    jobs = np.flatnonzero(free)
    stretches = np.split(jobs, np.flatnonzero(np.diff(jobs) != 1) + 1)
    return sorted((one for one in stretches if len(one)), key=len, reverse=True)


def window(scenario: Scenario, first: int, length: int = LENGTH) -> Scenario:
    """The scenario with these jobs only, at their own times."""
    return replace(scenario, tasks=scenario.tasks.take(np.arange(first, first + length)))
