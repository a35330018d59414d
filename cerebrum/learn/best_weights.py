"""The weights that were best on the way: a learner gets better and worse again to the end of a run
(bids most of all, as each node's best bid depends on those of the others). Teams from other first
weights end further apart than methods do, so there the best of several runs is taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.checkpoints import load, save
from cerebrum.learn.recipes import CURVE, Settings

Weights = dict[str, NDArray[np.float32]]

STARTS = 5
"""Runs by first weights of their own, of which the best is taken."""


class Learner(Protocol):
    """What `TeamTrainer` and `PpoTrainer` have in common."""

    @property
    def settled(self) -> bool:
        """Whether what it does now is worth a look."""
        ...

    def weights(self) -> Weights:
        """Those to serve (copies)."""
        ...

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        ...

    def train(
        self,
        log: Path | None,
        checkpoint: Path | None,
        progress: Callable[[int, int, dict[str, float]], None],
        checkpoint_every: int,
    ) -> None:
        """All rounds that are left; `progress` is told of a round before its checkpoint."""
        ...


class BestWeights:
    """The `weights` of `trainer` that had the least `cost` so far, looked at every `every` rounds
    once it has settled, and at the end.

    What it knows is kept beside the checkpoint, so that a resumed run chooses among all of them.
    """

    def __init__(
        self,
        trainer: Learner,
        settings: Settings,
        cost: Callable[[Weights], float],
        every: int = 2,
    ) -> None:
        self._trainer, self._settings, self._cost, self._every = trainer, settings, cost, every
        self._kept = settings.out / "best.safetensors"
        self.weights, self.least = trainer.weights(), np.inf

    def train(self) -> Weights:
        """The whole run, or what is left of it; curve and checkpoint are in `settings.out`."""
        checkpoint = self._settings.out / "checkpoint.safetensors"
        if self._settings.resume and checkpoint.is_file():
            self._trainer.resume(checkpoint)
            if self._kept.is_file():
                self.weights, facts = load(self._kept)
                self.least = float(facts["cost"])
        curve = self._settings.out / CURVE
        self._trainer.train(curve, checkpoint, self._watch, self._every)
        return self.weights

    def _watch(self, done: int, total: int, line: Mapping[str, float]) -> None:
        if (done % self._every == 0 and self._trainer.settled) or done == total:
            weights = self._trainer.weights()
            cost = self._cost(weights)
            if cost < self.least:
                self.weights, self.least = weights, cost
                save(self._kept, weights, {"cost": cost, "round": done})
        self._settings.progress(done, total, line)


def best_of(
    make: Callable[[int], Learner], settings: Settings, cost: Callable[[Weights], float]
) -> Weights:
    """The weights of least `cost` of `STARTS` runs from `make(seed)`; fewer on a small budget.

    Each run has a folder of its own; the curve of the best one is put beside them.
    """
    starts = min(STARTS, settings.steps(STARTS))
    least, best, weights = np.inf, 0, Weights()
    for start in range(starts):

        def progress(done: int, total: int, line: Mapping[str, float], start: int = start) -> None:
            settings.progress(start * total + done, starts * total, line)

        own = replace(settings, out=_folder(settings, start), progress=progress)
        run = BestWeights(make(STARTS * settings.seed + start), own, cost)
        run.train()
        if run.least < least:
            least, best, weights = run.least, start, run.weights
    shutil.copyfile(_folder(settings, best) / CURVE, settings.out / CURVE)
    return weights


def _folder(settings: Settings, start: int) -> Path:
    return settings.out / f"start-{start}"
