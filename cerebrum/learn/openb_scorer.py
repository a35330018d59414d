"""The recipe of `openb-scorer`: FGD and a learned correction, by an evolution strategy.

Every candidate is worth how much more GPU than FGD it allocates at 100 to 130 % arrival, on the
same arrivals, less ten times what it falls behind FGD between 80 and 99 %. It starts from FGD with
a few corrections whose signs were found one at a time on seeds 1000 to 1002. Training draws from
seeds 1000 up; the published seeds 42 to 51 are not looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn import checkpoints, curve
from cerebrum.learn.evolve import Strategy
from cerebrum.learn.filling import LOADS
from cerebrum.learn.packing import demand, price_list
from cerebrum.learn.placements import placements
from cerebrum.learn.recipes import CURVE, Settings
from cerebrum.learn.trials import Arrivals, Trials
from cerebrum.learn.usual import with_usual
from cerebrum.model.errors import NotFound
from cerebrum.model.scenario import Scenario
from cerebrum.policies.learned.artefact import (
    Artefact,
    Card,
    EvaluationRow,
    Observation,
    Statistics,
)
from cerebrum.policies.learned.node_features import KINDS, SCHEMA
from cerebrum.policies.learned.node_scorer import arrays_of, size

Vector = NDArray[np.float64]

GENERATIONS = 30
"""Of the shipped artefact."""
POPULATION, PER_GENERATION, STEP, VALIDATE_EVERY = 16, 6, 0.04, 5
OTHERS = ("gpuspec10", "gpushare40", "cpu050", "multigpu20")
TRAINING = tuple(Arrivals("default", 1000 + i) for i in range(20))
USUAL = 3
"""Runs of training arrivals that tell what is usual."""
TRAINING_OTHERS = tuple(Arrivals(name, 1100 + i) for i, name in enumerate(OTHERS))
VALIDATION = tuple(Arrivals("default", 3000 + i) for i in range(10))
VALIDATION_OTHERS = tuple(Arrivals(name, 3100 + i) for i, name in enumerate(OTHERS))

START: dict[tuple[str, str], float] = {
    ("cpu", "fragmentation"): -0.5,
    ("cpu", "starved"): -0.5,
    ("cpu", "short_of_cpu"): -0.5,
    ("part", "deep_relief"): 4.0,
    ("part", "starved_relief"): 0.05,
    ("part", "whole_free"): -0.1,
    ("part", "bargain"): 1.5,
    ("whole", "spare_cpu"): -4.0,
    ("whole", "short_of_cpu"): -1.0,
    ("whole", "cpu_free"): -0.3,
    ("whole", "gpus"): 2.0,
}
"""Kind of task and feature -> weight; all others 0, which is FGD."""

# What is the same for every node when no part of a GPU is cut.
_IDLE = {(kind, name) for kind in ("cpu", "whole")
         for name in ("deep_relief", "opened", "left", "bargain")}  # fmt: skip

_EARLY = np.array([load < 100 for load in LOADS])
_LATE = np.array([load in (100, 101, 105, 110, 120, 129, 130) for load in LOADS])
_BEHIND = 10.0


def worth(gains: Vector) -> Vector:
    """float64[...]: what gains over FGD, [..., loads], are worth to the search."""
    behind = np.maximum(0.0, -gains[..., _EARLY]).mean(-1)
    return gains[..., _LATE].mean(-1) - _BEHIND * behind


@dataclass
class Search:
    """Where the strategy stands, and the best mean so far by validation."""

    strategy: Strategy
    rng: np.random.Generator
    best: Vector
    best_worth: float
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def save(self, path: Path) -> None:
        """Write everything that decides what comes next."""
        arrays = self.strategy.state() | {"best": self.best}
        facts = {"rng": arrays.pop("rng"), "draws": self.rng.bit_generator.state}
        facts |= {"best_worth": self.best_worth, "cpu_s": self.cpu_s, "wall_s": self.wall_s}
        facts |= {name: arrays.pop(name) for name in ("sigma", "generation", "population")}
        checkpoints.save(path, arrays, facts)

    @classmethod
    def load(cls, path: Path) -> Search:
        """What `save` wrote. Raises `InputError`."""
        arrays, facts = checkpoints.load(path)
        rng = np.random.default_rng(0)
        rng.bit_generator.state = facts["draws"]
        figures = (float(facts[name]) for name in ("best_worth", "cpu_s", "wall_s"))
        return cls(Strategy.restored(arrays | facts), rng, arrays["best"], *figures)


def searched() -> NDArray[np.int64]:
    """Places of the weights that the search moves."""
    names = [(kind, name) for kind in KINDS for name in SCHEMA.names]
    return np.array([i for i, name in enumerate(names) if name not in _IDLE])


def start() -> Vector:
    """All weights at the start."""
    w = np.zeros(size(0))
    for (kind, name), value in START.items():
        w[KINDS.index(kind) * len(SCHEMA) + SCHEMA.names.index(name)] = value
    return w


def _first(settings: Settings) -> Search:
    w, places = start(), searched()
    # Where parts of GPUs go decides more than the rest, so those weights move in smaller steps.
    calm = np.where(places // len(SCHEMA) == KINDS.index("part"), 0.3, 0.7)
    strategy = Strategy(w[places], STEP, settings.seed, POPULATION, calm + np.abs(w[places]))
    return Search(strategy, np.random.default_rng(settings.seed + 1), w, -np.inf)


def train(settings: Settings) -> Artefact:
    """Search, and give the mean that was best by validation. Raises `NotFound` without openb."""
    from cerebrum import traces

    folder = None if settings.data is None else settings.data / "openb"
    if folder is None or not folder.is_dir():
        raise NotFound("openb-scorer is trained on the openb traces: give their folder with --data")
    prices = price_list(demand(traces.read(folder, "openb").tasks))
    checkpoint = settings.out / "checkpoint.safetensors"
    going_on = settings.resume and checkpoint.is_file()
    search = Search.load(checkpoint) if going_on else _first(settings)
    arrivals = (*TRAINING, *TRAINING_OTHERS, *VALIDATION, *VALIDATION_OTHERS)
    steps = settings.steps(GENERATIONS)
    with Trials(folder, arrivals, prices, 0, settings.jobs) as trials:
        if search.strategy.generation == 0:
            curve.append(settings.out / CURVE, _line(search) | _validate(search, trials))
        while search.strategy.generation < steps:
            line = _generation(search, trials, steps)
            search.save(checkpoint)
            curve.append(settings.out / CURVE, line)
            settings.progress(search.strategy.generation, steps, line)
        evaluation = _evaluation(trials, search.best)
    return _artefact(settings, search, prices, evaluation, folder)


def _full(moved: Vector) -> Vector:
    w = np.zeros(size(0))
    w[searched()] = moved
    return w


def _generation(search: Search, trials: Trials, steps: int) -> dict[str, float]:
    """One generation on arrivals all its candidates share; the line of the curve."""
    cpu, wall = trials.cpu_s, time.perf_counter()
    strategy = search.strategy
    picked = search.rng.choice(len(TRAINING), PER_GENERATION - 1, replace=False).tolist()
    picked.append(len(TRAINING) + strategy.generation % len(OTHERS))
    worths = worth(trials.gains([_full(x) for x in strategy.ask()], picked)).mean(1)
    strategy.tell(worths)
    line = _line(search) | {"best": float(worths.max()), "median": float(np.median(worths))}
    if strategy.generation % VALIDATE_EVERY == 0 or strategy.generation == steps:
        line |= _validate(search, trials)
    search.cpu_s += trials.cpu_s - cpu
    search.wall_s += time.perf_counter() - wall
    return line


_COLUMNS = (
    "generation", "step", "best", "median", "validation", "at_100", "at_130", "lowest_80_to_99",
    "others",
)  # fmt: skip


def _line(search: Search) -> dict[str, float]:
    """A line of the curve where nothing is known yet but where the search stands."""
    line = dict.fromkeys(_COLUMNS, float("nan"))
    return line | {
        "generation": float(search.strategy.generation), "step": search.strategy.sigma
    }  # fmt: skip


def _validate(search: Search, trials: Trials) -> dict[str, float]:
    """The mean on arrivals no candidate has seen; remembered if it is the best so far."""
    mean, first = _full(search.strategy.mean), len(TRAINING) + len(TRAINING_OTHERS)
    everything = range(first, first + len(VALIDATION) + len(VALIDATION_OTHERS))
    gains = trials.gains([mean], list(everything))[0]
    ours, others = gains[: len(VALIDATION)], gains[len(VALIDATION) :]
    # Elsewhere it only has to hold FGD's level.
    value = float(worth(ours).mean() + np.minimum(0.0, worth(others)).mean())
    if value > search.best_worth:
        search.best, search.best_worth = mean, value
    curve = ours.mean(0)
    return {
        "validation": value, "at_100": float(curve[LOADS.index(100)]),
        "at_130": float(curve[LOADS.index(130)]), "lowest_80_to_99": float(curve[_EARLY].min()),
        "others": float(others.min()),
    }  # fmt: skip


def _evaluation(trials: Trials, weights: Vector) -> tuple[EvaluationRow, ...]:
    """Gains over FGD on the validation arrivals, for the card."""
    first = len(TRAINING) + len(TRAINING_OTHERS)
    gains = trials.gains([weights], list(range(first, first + len(VALIDATION))))[0]
    return tuple(
        EvaluationRow(
            scenario=f"openb default, arrivals {load} %, seeds 3000..{2999 + len(VALIDATION)}",
            policy="openb-scorer", metric="GPU allocation less FGD's, % of all GPUs",
            value=float(gains[:, i].mean()), low=float(gains[:, i].min()),
            high=float(gains[:, i].max()), note="low and high: the worst and the best seed",
        )
        for i, load in enumerate(LOADS) if load in (80, 90, 95, 100, 110, 120, 130)
    )  # fmt: skip


def observed(folder: Path, prices: Vector, every: int = 40, keep: int = 32) -> Vector:
    """float64[n, features]: ways to place a task that FGD met, drawn from one training episode."""
    from cerebrum import policies
    from cerebrum.executors.simulated import Simulation

    first = TRAINING[0]
    fgd = policies.get_policy("fgd", queue="reject")
    draw, seen = np.random.default_rng(first.seed), list[Vector]()
    made = Simulation(_arrivals(folder, first)).decisions(fgd)
    for step, (snapshot, _) in enumerate(made):
        if step % every == 0:
            found = placements(snapshot, int(snapshot.pending[0]), prices).x
            seen.append(found[draw.permutation(len(found))[:keep]])
    return np.concatenate(seen)


def _artefact(
    settings: Settings, search: Search, prices: Vector, evaluation: tuple[EvaluationRow, ...],
    folder: Path,
) -> Artefact:  # fmt: skip
    shipped = settings.seed == 0 and settings.budget == 1.0
    card = Card(
        kind="node-scorer",
        name="openb-scorer",
        about="FGD with a learned correction, for shared GPUs that fill up",
        algorithm="CMA-ES over a score linear in features by kind of task; prices of parts of a "
        "GPU by a cutting-stock program",
        observation=Observation.of(SCHEMA),
        architecture={"kinds": KINDS, "base": 1.0, "hidden": 0, "gpus": "score", "ties": "first"},
        training_data=tuple(sorted({f"openb {a.pods}" for a in (*TRAINING, *TRAINING_OTHERS)})),
        seeds=tuple(a.seed for a in (*TRAINING, *TRAINING_OTHERS)),
        command="cerebrum train openb-scorer --data DATA"
        + ("" if shipped else f" --seed {settings.seed} --budget {settings.budget:g}"),
        training_cpu_s=search.cpu_s,
        training_wall_s=search.wall_s,
        statistics_note=f"ways to place a task that FGD met, openb, seed {TRAINING[0].seed}",
        evaluation=evaluation,
        limits=(
            "prices are those of openb's task sizes: other mixes need other prices",
            "trained on tasks that never leave",
        ),
    )
    statistics = Statistics.of(observed(folder, prices))
    made = Artefact(card, arrays_of(search.best, prices), statistics)
    runs = (_arrivals(folder, one) for one in TRAINING[: settings.steps(USUAL)])
    return with_usual(made, runs, queue="reject")


def _arrivals(folder: Path, given: Arrivals) -> Scenario:
    from cerebrum import traces

    return traces.read(folder, "openb", pods=given.pods, arrivals="fgd", seed=given.seed)
