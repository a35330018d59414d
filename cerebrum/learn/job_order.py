"""Training of a batch queue's order, in RLScheduler's setting (Zhang et al., SC'20).

An evolution strategy over the weights of `policies.learned.job_order.Network`. A candidate is
worth less the higher the mean bounded slowdown it leaves, as a logarithm, averaged over a few
windows that all candidates of a generation share: the draws are paired, and one crowded window
does not drown the others. The test windows of the trace are left out of everything; training and
validation resample two different stretches of what remains. The best generation on the
validation windows is what is kept.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.batch_queue import Window, bounded_slowdown, starts
from cerebrum.learn.checkpoints import load, save
from cerebrum.learn.evolve import Strategy
from cerebrum.learn.job_sequences import columns, resampled
from cerebrum.learn.recipes import CURVE, Settings
from cerebrum.model.errors import ConfigError, NotFound
from cerebrum.model.scenario import Scenario
from cerebrum.policies.learned.job_features import SCHEMA
from cerebrum.policies.learned.job_order import Network
from cerebrum.traces.windows import outside, start_indices

if TYPE_CHECKING:
    from cerebrum.policies.learned.artefact import Artefact

TRACE = "lublin_256.swf.gz"
HIDDEN = 8
STEP = 0.1
POPULATION = 24
SHARED = 4
"""Windows a candidate runs, the same for all of its generation."""
VALIDATION = 32
EVERY = 10
"""Generations from one validation to the next."""
GENERATIONS = {"none": 300, "easy": 300}


@dataclass(frozen=True)
class Split:
    """The jobs of a trace by use. `test` is first jobs of windows; stretches are job indices."""

    trace: Window
    test: tuple[int, ...]
    train: tuple[NDArray[np.int64], ...]
    validate: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, scenario: Scenario) -> Split:
        """Validate on the second longest stretch outside the test windows, train on the rest."""
        trace = columns(scenario)
        test = start_indices(len(trace))
        free = outside(len(trace), test)
        return cls(trace, tuple(test), (free[0], *free[2:]), (free[1],))


def job_order(settings: Settings) -> Artefact:
    """The recipe of `job-order`: no backfilling."""
    return train(settings, "none")


def job_order_easy(settings: Settings) -> Artefact:
    """The recipe of `job-order-easy`: EASY backfilling behind the chosen job."""
    return train(settings, "easy")


def read_trace(data: Path | None) -> Scenario:
    """Lublin-1 as RLScheduler's authors read it. Raises `NotFound`."""
    from cerebrum import traces

    for folder in (data, data / "jobs") if data else ():
        if (folder / TRACE).is_file():
            return traces.read(folder / TRACE, "swf", processors="largest")
    raise NotFound(f"{data}: no {TRACE} here")


def train(settings: Settings, backfill: str) -> Artefact:
    """Search, keep the best on validation, and evaluate it on the test windows in the engine."""
    from cerebrum.learn.job_evaluation import artefact

    scenario = read_trace(settings.data)
    search = Search(settings, Split.of(scenario), backfill)
    search.run(settings.steps(GENERATIONS[backfill]))
    return artefact(search, scenario)


class Search:
    """An evolution strategy that goes on from its checkpoint where there is one."""

    def __init__(self, settings: Settings, split: Split, backfill: str) -> None:
        self.settings, self.split, self.backfill = settings, split, backfill
        rng = np.random.default_rng([settings.seed, 1])
        self.validation = [resampled(split.trace, split.validate, rng) for _ in range(VALIDATION)]
        self.best, self.best_slowdown = first_weights(settings.seed), np.inf
        self.strategy = Strategy(self.best, STEP, settings.seed, POPULATION)
        self.cpu_s = self.wall_s = 0.0
        self.curve: list[dict[str, float]] = []
        self._file = settings.out / "checkpoint.safetensors"
        if settings.resume and self._file.is_file():
            self._restore()

    def run(self, generations: int) -> None:
        """Up to so many generations in all."""
        cpu, wall = time.process_time(), time.perf_counter()
        self._validate()
        while self.strategy.generation < generations:
            self._generation()
            if self.strategy.generation % EVERY == 0 or self.strategy.generation == generations:
                self._validate()
                self.cpu_s += time.process_time() - cpu
                self.wall_s += time.perf_counter() - wall
                cpu, wall = time.process_time(), time.perf_counter()
                self._keep(generations)

    def _generation(self) -> None:
        split, generation = self.split, self.strategy.generation
        # Drawn from the generation's number: what a resumed run sees does not depend on the past.
        rng = np.random.default_rng([self.settings.seed, 2, generation])
        shared = [resampled(split.trace, split.train, rng) for _ in range(SHARED)]
        candidates = self.strategy.ask()
        self.strategy.tell(np.array([-self._score(one, shared)[1] for one in candidates]))

    def _score(self, weights: NDArray[np.float64], windows: list[Window]) -> tuple[float, float]:
        """Mean over the windows of the mean bounded slowdown, and of its logarithm."""
        network, easy = Network.of(weights), self.backfill == "easy"
        means = [bounded_slowdown(one, starts(one, network, easy)).mean() for one in windows]
        return float(np.mean(means)), float(np.mean(np.log(means)))

    def _validate(self) -> None:
        if self.curve and self.curve[-1]["generation"] == self.strategy.generation:
            return
        mean, logarithm = self._score(self.strategy.mean, self.validation)
        if mean < self.best_slowdown:
            self.best, self.best_slowdown = self.strategy.mean.copy(), mean
        self.curve.append(
            {
                "generation": self.strategy.generation,
                "validation_bounded_slowdown": mean,
                "validation_log": logarithm,
                "best": self.best_slowdown,
                "step": self.strategy.sigma,
            }
        )

    # -- stopping and going on ----------------------------------------------------------------

    def _keep(self, generations: int) -> None:
        """Checkpoint and curve, then the report of progress."""
        state = self.strategy.state()
        arrays: dict[str, NDArray[np.float64]] = {}
        facts: dict[str, object] = {}
        for name, value in state.items():
            (arrays if isinstance(value, np.ndarray) else facts)[name] = value
        facts |= {"best_slowdown": self.best_slowdown, "curve": self.curve}
        facts |= {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "backfill": self.backfill}
        save(self._file, {**arrays, "best": self.best}, facts)
        _write_curve(self.settings.out / CURVE, self.curve)
        line = self.curve[-1]
        self.settings.progress(int(line["generation"]), generations, line)

    def _restore(self) -> None:
        arrays, facts = load(self._file)
        if facts["backfill"] != self.backfill:
            raise ConfigError(
                f"a checkpoint of backfill {facts['backfill']!r}, this is {self.backfill!r}"
            ).at(str(self._file))
        self.best, self.best_slowdown = arrays.pop("best"), facts["best_slowdown"]
        self.curve, self.cpu_s, self.wall_s = facts["curve"], facts["cpu_s"], facts["wall_s"]
        self.strategy = Strategy.restored({**facts, **arrays})


def first_weights(seed: int) -> NDArray[np.float64]:
    """Where the search begins: shortest request first, and small random features beside it."""
    rng, features = np.random.default_rng([seed, 0]), len(SCHEMA)
    inner = rng.normal(size=features * HIDDEN) / np.sqrt(features)
    outer, direct = rng.normal(size=HIDDEN) * 0.03, np.zeros(features)
    direct[SCHEMA.names.index("requested")] = -2.0
    return np.concatenate([inner, np.zeros(HIDDEN), outer, direct])


def _write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    rows = [",".join(curve[0]), *(",".join(json.dumps(x) for x in c.values()) for c in curve)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
