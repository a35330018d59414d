"""`schedule-bidder`: bids for the question of `POST /schedule`, by QMIX.

Nodes see what that question holds (`availability`): what is free of them, and the task. The team
objective is work rejected, in nodes: for each task that found no room, the largest share of the
cluster it asked for, times the nodes of the cluster. Tasks end and give back what they held, so a
good bid now is one that leaves room for what comes. Whoever abstains where others could not take
the task either pays the same as for no room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.learn.bid_team import Bidders
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import Encoder
from cerebrum.learn.generated import Generated
from cerebrum.learn.qmix import TeamSettings, TeamTrainer
from cerebrum.learn.recipes import CURVE, Settings
from cerebrum.learn.rewards import NAMES
from cerebrum.model.bootstrap import interval
from cerebrum.policies.allocation import least_allocated, most_allocated
from cerebrum.policies.best_fit import best_fit
from cerebrum.policies.learned.artefact import (
    Artefact,
    Card,
    EvaluationRow,
    Observation,
    Statistics,
)
from cerebrum.policies.learned.availability import SCHEMA
from cerebrum.policies.learned.availability_features import availability_features
from cerebrum.policies.learned.bidder import HIGHEST_BID, Bidder, award
from cerebrum.policies.learned.schema import Feature, Schema

NAME = "schedule-bidder"
TEAMS, ROUNDS, ROUND_STEPS = 32, 50, 200
SIZES = (8, 32)
HELD_OUT = range(20)
"""Seeds of the evaluation; training draws its own, from 1000 up."""
METRIC = "nodes' worth of work rejected a task"
PAIRED = f"{METRIC}: {NAME}'s less this one's"
_REJECTED = NAMES.index("rejected")
_HEURISTICS = ("best-fit", "least-allocated", "most-allocated")
_best, _least, _most = (kernel(s.function) for s in (best_fit, least_allocated, most_allocated))
Chooser = Callable[[Clusters], NDArray[np.int64]]


def clusters(envs: int, nodes: tuple[int, int], encoder: Encoder, seed: int = 0) -> Clusters:
    """Clusters of CPU and memory alone, asked for 1.3 times what they have."""
    source = Generated(
        nodes=nodes, tasks=30 * nodes[1], gpu_nodes=0.0, gpu_tasks=0.0, load=1.3, seed=seed
    )
    return Clusters(
        source, envs, encoder=encoder, reward={"rejected": 1.0}, passed="reject",
        unplaceable="reject",
    )  # fmt: skip


class Losing(Bidders):
    """A team of bidders that loses what it rejects."""

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Award each task to the highest bidder; the reward is less the nodes' worth rejected."""
        nodes = self.clusters.present.sum(1)
        _, done = self.clusters.step(award(actions, self.mask))
        lost = self.clusters.terms[:, _REJECTED] * nodes
        return lost.astype(np.float32), done


def train(settings: Settings) -> Artefact:
    """The recipe."""
    team = Losing(clusters(TEAMS, SIZES, Encoder(SCHEMA, availability_features)))
    rounds = settings.steps(ROUNDS)
    trainer = TeamTrainer(
        team,
        TeamSettings(rounds=rounds, round_steps=ROUND_STEPS, discount=0.97, seed=settings.seed),
    )
    begun, cpu = time.perf_counter(), time.process_time()
    checkpoint = settings.out / "checkpoint.safetensors"
    if settings.resume and checkpoint.exists():
        trainer.resume(checkpoint)
    trainer.train(settings.out / CURVE, checkpoint, settings.progress)
    weights = trainer.weights()
    spent = time.process_time() - cpu, time.perf_counter() - begun
    return Artefact(
        _card(settings, rounds, Bidder(weights), spent), weights, _statistics(team, trainer)
    )


def _statistics(team: Losing, trainer: TeamTrainer) -> Statistics:
    """What nodes with room see while the trained bidder decides."""
    team.reset(np.arange(500, 500 + TEAMS))
    seen: list[NDArray[np.float32]] = []
    for _ in range(200):
        seen.append(team.observation[team.mask])
        team.step(trainer.act(0.0))
    return Statistics.of(np.concatenate(seen))


def _card(settings: Settings, rounds: int, bidder: Bidder, spent: tuple[float, float]) -> Card:
    return Card(
        kind="bidder", name=NAME, algorithm="QMIX",
        about="Bids for POST /schedule from what nodes have free; loses little work to fragments.",
        observation=Observation.of(SCHEMA),
        architecture={"hidden": (64, 64), "activation": "relu"},
        training_data=(f"generated clusters of {SIZES[0]} to {SIZES[1]} nodes, CPU and memory",),
        seeds=(settings.seed,),
        command=f"cerebrum train {NAME} --seed {settings.seed} --budget {settings.budget:g}",
        training_cpu_s=round(spent[0], 1), training_wall_s=round(spent[1], 1),
        statistics_note=f"{TEAMS} clusters, 200 decisions each, after training",
        evaluation=tuple(evaluation(bidder)),
        limits=("sees neither how large a node is nor GPUs; made for generated clusters",
                "its lead over best fit and most-allocated is within the intervals",
                f"{rounds * ROUND_STEPS * TEAMS:,} decisions of training"),
    )  # fmt: skip


# -- how good it is -------------------------------------------------------------------------


def _fill(before: Any, after: Any, task: Any, typical: Any, out: Any) -> None:
    availability_features(before, after, task, typical, out)
    out[9] = _best(before, after, task, typical)
    out[10] = _least(before, after, task, typical)
    out[11] = _most(before, after, task, typical)


@cache
def _with_heuristics() -> Encoder:
    scores = tuple(Feature(name, "1", 1.0, "score of this heuristic") for name in _HEURISTICS)
    return Encoder(Schema("availability-and-scores", 1, (*SCHEMA.features, *scores)), _fill)


def choosers(bidder: Bidder) -> dict[str, Chooser]:
    """The bidder, the heuristics of the engine, and bids by lot."""
    rng = np.random.default_rng(7)

    def scorer(column: int) -> Chooser:
        return lambda c: np.where(c.mask, c.observation[:, :, column], -np.inf).argmax(1)

    def bids(c: Clusters) -> NDArray[np.int64]:
        seen = np.ascontiguousarray(c.observation[:, :, : len(SCHEMA)])
        return award(bidder.bids(seen, c.mask), c.mask)

    def lot(c: Clusters) -> NDArray[np.int64]:
        return award(rng.integers(1, HIGHEST_BID + 1, c.mask.shape), c.mask)

    found: dict[str, Chooser] = {NAME: bids, "random bids": lot}
    for i, name in enumerate(_HEURISTICS):
        found[name] = scorer(len(SCHEMA) + i)
    return found


def evaluate(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """The held-out seeds anew; needs no data."""
    del settings
    return tuple(evaluation(Bidder(artefact.weights)))


def evaluation(bidder: Bidder, sizes: tuple[int, ...] = (8, 32, 100)) -> list[EvaluationRow]:
    """Work rejected on the held-out seeds, less is better, and paired with each of the others."""
    rows: list[EvaluationRow] = []
    for size in sizes:
        lost = {name: rejected(size, choose) for name, choose in choosers(bidder).items()}
        scenario = f"generated, {size} nodes, {len(HELD_OUT)} held-out seeds"
        for name, values in lost.items():
            half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
            rows.append(_row(scenario, name, METRIC, values.mean(), half, half))
        for name, values in lost.items():
            if name != NAME:
                less = lost[NAME] - values
                low, high = interval(less)
                mean = less.mean()
                rows.append(_row(scenario, name, PAIRED, mean, mean - low, high - mean))
    return rows


def _row(
    scenario: str, policy: str, metric: str, value: float, below: float, above: float
) -> EvaluationRow:
    return EvaluationRow(
        scenario=scenario, policy=policy, metric=metric, value=round(float(value), 5),
        low=round(float(value - below), 5), high=round(float(value + above), 5),
    )  # fmt: skip


def rejected(size: int, choose: Chooser) -> NDArray[np.float64]:
    """float64[seeds]: nodes' worth of work rejected a task, over one episode each."""
    world = clusters(len(HELD_OUT), (size, size), _with_heuristics(), seed=1)
    world.reset(list(HELD_OUT))
    lost, running = np.zeros(len(HELD_OUT)), np.ones(len(HELD_OUT), bool)
    while running.any():
        rows = choose(world)
        _, done = world.step(np.where(running, rows, -1), only=running)
        lost[running] -= world.terms[running, _REJECTED]
        running &= ~done
    return lost * size / (30 * size)
