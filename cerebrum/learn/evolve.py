"""An evolution strategy: search for weights by comparing what whole episodes made of them.

`Strategy` is CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772).
Candidates come in antithetic pairs, mean + d and mean - d, from a normal distribution; the better
half moves its mean, its step size and its covariance. Only their order counts, so an objective may
have cliffs. Nothing is drawn but from the generator given by the seed, and the whole state is in
`state()`, so that a search that was interrupted goes on bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError

Vector = NDArray[np.float64]


class Strategy:
    """Ask for candidates, tell what they were worth (higher is better), again and again."""

    def __init__(
        self,
        mean: Vector,
        sigma: float,
        seed: int,
        population: int = 0,
        scale: Vector | None = None,
    ) -> None:
        n = len(mean)
        if not (n and np.isfinite(mean).all() and 0.0 < sigma < math.inf):
            raise ConfigError("expected a finite mean and a positive step").at(field="sigma")
        self.population = population or 2 * ((4 + int(3 * math.log(n))) // 2)
        if self.population < 4 or self.population % 2:
            raise ConfigError(f"expected an even number from 4 up, got {population}").at(
                field="population"
            )
        self._rng = np.random.default_rng(seed)
        self.mean = np.array(mean, np.float64)
        self.sigma = float(sigma)
        self.generation = 0
        self._covariance = np.diag(np.ones(n) if scale is None else np.square(scale))
        self._path_sigma, self._path_c = np.zeros(n), np.zeros(n)
        self._asked: Vector = np.zeros((0, n))
        self._constants(n)
        self._factor()

    def _constants(self, n: int) -> None:
        """The tutorial's default rates (its table 1), positive weights only."""
        half = self.population // 2
        raw = math.log(half + 0.5) - np.log(np.arange(1, half + 1))
        self._weights = raw / raw.sum()
        mass = 1.0 / float(np.square(self._weights).sum())
        self._mass = mass
        self._c_sigma = (mass + 2) / (n + mass + 5)
        self._damp = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1) + self._c_sigma
        self._c_c = (4 + mass / n) / (n + 4 + 2 * mass / n)
        self._c_1 = 2 / ((n + 1.3) ** 2 + mass)
        self._c_mu = min(1 - self._c_1, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
        self._norm = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))

    def _factor(self) -> None:
        # The symmetric root: a rounding error of the covariance, which machines differ by, moves
        # candidates as little. Steps along eigenvectors would turn by any angle where two of the
        # eigenvalues are nearly equal, as all are at the start.
        values, basis = np.linalg.eigh(self._covariance)
        axes = np.sqrt(np.maximum(values, 1e-20))
        self._root, self._whiten = (basis * axes) @ basis.T, (basis / axes) @ basis.T

    def ask(self) -> Vector:
        """float64[population, n]: candidates, the second half mirrors the first."""
        draws = self._rng.standard_normal((self.population // 2, len(self.mean)))
        steps = draws @ self._root
        self._asked = np.vstack([steps, -steps]).astype(np.float64)
        return self.mean + self.sigma * self._asked

    def tell(self, worth: Vector) -> None:
        """What each candidate asked for was worth. NaN counts as worst."""
        if worth.shape != (len(self._asked),):
            raise ConfigError(f"expected {len(self._asked)} numbers, got {worth.shape}")
        order = np.argsort(-np.where(np.isnan(worth), -math.inf, worth), kind="stable")
        best = self._asked[order[: len(self._weights)]]
        step = self._weights @ best
        self.mean = self.mean + self.sigma * step
        self._follow(step)
        self._covariance = (
            (1 - self._c_1 - self._c_mu) * self._covariance
            + self._c_1 * np.outer(self._path_c, self._path_c)
            + self._c_mu * (best.T * self._weights) @ best
        )
        self._covariance = (self._covariance + self._covariance.T) / 2
        self.generation += 1
        self._factor()

    def _follow(self, step: Vector) -> None:
        """Move both evolution paths and the step size."""
        white, c = self._whiten @ step, self._c_sigma
        self._path_sigma = (1 - c) * self._path_sigma + math.sqrt(c * (2 - c) * self._mass) * white
        length = float(np.linalg.norm(self._path_sigma))
        expected = self._norm * math.sqrt(1 - (1 - c) ** (2 * (self.generation + 1)))
        stalled = length / expected > 1.4 + 2 / (len(self.mean) + 1)
        c = self._c_c
        self._path_c = (1 - c) * self._path_c
        if not stalled:
            self._path_c = self._path_c + math.sqrt(c * (2 - c) * self._mass) * step
        self.sigma *= math.exp((self._c_sigma / self._damp) * (length / self._norm - 1))

    # -- stopping and going on ----------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that decides what comes next, as arrays and plain values."""
        return {
            "mean": self.mean, "covariance": self._covariance, "path_sigma": self._path_sigma,
            "path_c": self._path_c, "sigma": self.sigma, "generation": self.generation,
            "population": self.population, "rng": self._rng.bit_generator.state,
        }  # fmt: skip

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Strategy:
        """The strategy that gave this `state`."""
        made = cls(state["mean"], float(state["sigma"]), 0, int(state["population"]))
        made._covariance = np.array(state["covariance"], np.float64)
        made._path_sigma = np.array(state["path_sigma"], np.float64)
        made._path_c = np.array(state["path_c"], np.float64)
        made.generation = int(state["generation"])
        made._rng.bit_generator.state = state["rng"]
        made._factor()
        return made
