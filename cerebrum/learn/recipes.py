"""How the shipped artefacts were made: one function a recipe, run by `cerebrum train`.

A recipe trains from nothing to an artefact, writes its curve beside it as it goes, and can be
stopped and resumed: the result is the same, bit for bit, on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.options import resolve

if TYPE_CHECKING:
    from cerebrum.policies.learned.artefact import Artefact
    from cerebrum.policies.learned.card import EvaluationRow

CURVE = "curve.csv"
"""In `Settings.out`: a line a report of progress; the first column is what the others are over."""

RECIPES: dict[str, str] = {
    "job-order": "cerebrum.learn.job_order:job_order",
    "job-order-easy": "cerebrum.learn.job_order:job_order_easy",
    "openb-scorer": "cerebrum.learn.openb_scorer:train",
    "churn-scorer": "cerebrum.learn.churn_scorer:train",
    "schedule-bidder": "cerebrum.learn.schedule_bidder:train",
    "qmix-bidder": "cerebrum.learn.bidding:train",
}
"""Name of the artefact -> the function that makes it."""

EVALUATIONS: dict[str, str] = {
    "job-order": "cerebrum.learn.job_evaluation:evaluate",
    "job-order-easy": "cerebrum.learn.job_evaluation:evaluate",
    "openb-scorer": "cerebrum.learn.openb_evaluation:evaluate",
    "churn-scorer": "cerebrum.learn.churn_scorer:evaluate",
    "qmix-bidder": "cerebrum.learn.bidding:evaluate_artefact",
    "schedule-bidder": "cerebrum.learn.schedule_bidder:evaluate",
}
"""Name of the artefact -> the function that measures it on what it was not trained on."""

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called with steps done, steps in all, and the newest line of the curve."""


def _silent(done: int, total: int, line: Mapping[str, float]) -> None:
    del done, total, line


@dataclass(frozen=True, slots=True)
class Settings:
    """What a recipe is run with. `seed` and `budget` 1 make what ships; `budget` scales the steps.

    `out` is the folder of checkpoints and the curve, `data` that of real traces (None: the recipe
    needs none, or raises `NotFound`), `jobs` processes; `resume` goes on from the last checkpoint.
    """

    out: Path
    data: Path | None = None
    seed: int = 0
    budget: float = 1.0
    jobs: int = 2
    resume: bool = False
    progress: Progress = field(default=_silent, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.budget <= 1000.0:
            raise ConfigError(f"expected a budget above 0 and up to 1000, got {self.budget}")
        if self.seed < 0:
            raise ConfigError(f"expected a seed of 0 or more, got {self.seed}")

    def steps(self, shipped: int) -> int:
        """How many steps to make where the shipped artefact took so many; one at least."""
        return max(1, round(shipped * self.budget))


Evaluation = Callable[["Artefact", Settings], "tuple[EvaluationRow, ...]"]
"""Gives rows as a card holds them. Raises `NotFound` for real data that is not there."""


def get_recipe(name: str) -> Callable[[Settings], Artefact]:
    """The function behind a name. Raises `UnknownName`."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return resolve(RECIPES[name])


def get_evaluation(name: str) -> Evaluation:
    """The function that measures an artefact of that name. Raises `UnknownName`."""
    if name not in EVALUATIONS:
        raise UnknownName("evaluation", name, EVALUATIONS)
    return resolve(EVALUATIONS[name])
