"""What an environment pays: a weighted sum of named terms, each with a unit.

A term is what happened from one decision to the next (the last one: to the end of the episode), so
a sum over an episode is a number of the whole run, which a test computes from the event log. Costs
are negative numbers already: a positive weight always means that more of the term is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError, UnknownName


@dataclass(frozen=True, slots=True)
class Term:
    """One thing a reward can count."""

    name: str
    unit: str
    meaning: str


TERMS = (
    Term(
        "fragmentation", "GPU",
        "less the GPUs that the bind made useless to typical tasks (F of FGD after less before)",
    ),
    Term(
        "balance", "share",
        "less the standard deviation over nodes of the share in use after the bind, mean over CPU, "
        "memory and GPU",
    ),
    Term("power", "kWh", "less the energy drawn by all nodes since the last decision"),
    Term("emissions", "g CO2e", "less that energy times the carbon intensity of the moment"),
    Term("wait", "task-h", "less the time that tasks spent in the queue since the last decision"),
    Term("completion", "tasks", "tasks that finished since the last decision"),
    Term(
        "rejected", "clusters",
        "less the largest share of the cluster's capacity that each task asked for which was "
        "rejected, or still waited when nothing would happen any more",
    ),
)  # fmt: skip
"""In the order of the kernels (`_levels`)."""

NAMES = tuple(term.name for term in TERMS)
DEFAULT = {"wait": 1.0, "rejected": 1.0}


class Reward:
    """Weights of terms by name. Raises `UnknownName`, or `ConfigError` for a weight not finite."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights: NDArray[np.float64] = np.zeros(len(TERMS))
        if not weights:
            raise ConfigError(f"expected at least one of {', '.join(NAMES)}").at(field="reward")
        for name, weight in weights.items():
            if name not in NAMES:
                raise UnknownName("reward term", name, NAMES)
            if isinstance(weight, bool) or not math.isfinite(weight):
                raise ConfigError(f"expected a finite weight, got {weight!r}").at(field=name)
            self.weights[NAMES.index(name)] = weight

    def __getitem__(self, name: str) -> float:
        """The weight of a term; 0 if nothing was said."""
        return float(self.weights[NAMES.index(name)])
