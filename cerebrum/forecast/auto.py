"""The best of several models for each series and horizon, by rolling backtest, naive among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast._series import Array, checked, steps
from cerebrum.forecast.backtest import best, rolling
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Forecaster

CHEAP = "naive+seasonal+ewma+fft+ridge"
"""What an agent can afford to fit; `+boosting` is for models trained elsewhere."""


class Auto:
    """`candidates` joined by `+`. The last `share` of the history decides, at `origins` origins.

    `models` are fitted on the whole history afterwards. `chosen[series, k]` indexes `candidates`.
    """

    name = "auto"

    def __init__(
        self,
        candidates: str = CHEAP,
        share: float = 0.25,
        origins: int = 48,
        longest: int = 12,
    ) -> None:
        from cerebrum.forecast import get_forecaster

        names = [name.strip() for name in candidates.split("+") if name.strip()]
        if not names or "auto" in names:
            raise ConfigError("expected forecasters other than auto").at(field="candidates")
        if not 0 < share < 1 or origins < 1 or longest < 1:
            raise ConfigError("expected 0 < share < 1, and 1 or more origins and longest")
        self.candidates = sorted(names, key=lambda name: name != "naive")  # first wins a tie
        self.models: list[Forecaster] = [get_forecaster(name) for name in self.candidates]
        self.share, self.origins, self.longest = share, origins, longest
        self.chosen: NDArray[np.int64] = np.zeros((0, 0), np.int64)

    def fit(self, history: Array) -> None:
        """Choose, then fit every chosen model on everything."""
        values = checked(history)
        self._choose(values)
        for i, model in enumerate(self.models):
            if (self.chosen == i).any():
                model.fit(values)

    def _choose(self, values: Array) -> None:
        length = values.shape[1]
        start = max(1, int(length * (1 - self.share)))
        longest = min(self.longest, length - start)
        if longest < 1:
            self.chosen = np.zeros((len(values), 1), np.int64)
            return
        every = max(1, (length - longest - start + 1) // self.origins)
        tests = {
            name: rolling(model, values, longest, start, every)
            for name, model in zip(self.candidates, self.models, strict=True)
        }
        _, self.chosen = best(tests)

    def predict(self, horizon: int, history: Array | None = None) -> Array:
        """float64[series, horizon]; beyond `longest` the choice for `longest` goes on."""
        at = np.minimum(np.arange(steps(horizon)), self.chosen.shape[1] - 1)
        choice = self.chosen[:, at]
        out = np.zeros((len(choice), horizon))
        for i in np.unique(choice):
            taken = choice == i
            out[taken] = self.models[i].predict(horizon, history)[taken]
        return out
