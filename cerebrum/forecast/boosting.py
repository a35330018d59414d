"""Gradient boosting on the same windows, for the median: trees minimise absolute error.

Histogram gradient boosting of scikit-learn (Ke et al., LightGBM, NIPS 2017, is the ancestor). Needs
seconds to train and one call for all series to forecast; not for training inside an agent's loop.
"""

from __future__ import annotations

from typing import Any

from cerebrum.forecast._direct import Direct
from cerebrum.forecast._series import Array
from cerebrum.model.errors import InputError


class Boosting(Direct):
    """`rounds` trees of at most `leaves` leaves, trained on at most `most_samples` windows."""

    name = "boosting"

    def __init__(
        self, rounds: int = 200, leaves: int = 63, rate: float = 0.1, most_samples: int = 200_000
    ) -> None:
        if not (1 <= rounds <= 10_000 and 2 <= leaves <= 4096 and 0 < rate <= 1):
            raise InputError("expected 1..10000 rounds, 2..4096 leaves, 0 < rate <= 1")
        super().__init__(most_samples)
        self.rounds, self.leaves, self.rate = rounds, leaves, rate

    def learn(self, inputs: Array, targets: Array) -> object:
        """A fitted ensemble."""
        from sklearn import ensemble

        make: Any = ensemble.HistGradientBoostingRegressor
        model: Any = make(
            loss="absolute_error", max_iter=self.rounds, max_leaf_nodes=self.leaves,
            learning_rate=self.rate, min_samples_leaf=40, early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(inputs, targets)
        return model

    def apply(self, model: object, inputs: Array) -> Array:
        """One value a row of features."""
        fitted: Any = model
        return fitted.predict(inputs)
