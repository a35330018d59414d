"""Ridge regression on lags and moving averages, one linear model a step, shared by all series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cerebrum.forecast._direct import Direct
from cerebrum.forecast._series import Array
from cerebrum.model.errors import InputError


class Line(NamedTuple):
    """A fitted linear model of standardised features."""

    mean: Array
    spread: Array
    weights: Array
    offset: float


class Ridge(Direct):
    """Minimises squared error plus `penalty` times the squared weights (features standardised)."""

    name = "ridge"

    def __init__(self, penalty: float = 1.0, most_samples: int = 100_000) -> None:
        if not penalty > 0:
            raise InputError(f"expected more than 0, got {penalty}").at(field="penalty")
        super().__init__(most_samples)
        self.penalty = penalty

    def learn(self, inputs: Array, targets: Array) -> object:
        """Weights, with the means and spreads they expect."""
        mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
        spread[spread < 1e-9] = 1.0
        x = (inputs - mean) / spread
        offset = targets.mean()
        gram = x.T @ x + self.penalty * np.eye(x.shape[1])
        solve: Any = np.linalg.solve
        return Line(mean, spread, solve(gram, x.T @ (targets - offset)), float(offset))

    def apply(self, model: object, inputs: Array) -> Array:
        """One value a row of features."""
        assert isinstance(model, Line)
        return (inputs - model.mean) / model.spread @ model.weights + model.offset
