"""`schedule-bidder`: bids for the question of `POST /schedule`, by QMIX.

Nodes see what that question holds (`availability`): what is free of them, and the task. The team
objective is work rejected, in nodes: for each task that found no room, the largest share of the
cluster it asked for, times the nodes of the cluster. Tasks end and give back what they held, so a
good bid now is one that leaves room for what comes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn import bid_evaluation
from cerebrum.learn.best_weights import Weights, best_of
from cerebrum.learn.bid_evaluation import Chooser, heuristic, highest, learned, random_bids, seen
from cerebrum.learn.bid_team import Bidders
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import Encoder
from cerebrum.learn.generated import Generated
from cerebrum.learn.qmix import TeamSettings, TeamTrainer
from cerebrum.learn.recipes import Settings
from cerebrum.learn.rewards import NAMES
from cerebrum.learn.usual import with_usual
from cerebrum.model.bootstrap import interval
from cerebrum.policies.learned.artefact import (
    Artefact,
    Card,
    EvaluationRow,
    Observation,
    Statistics,
)
from cerebrum.policies.learned.availability import SCHEMA
from cerebrum.policies.learned.availability_features import availability_features
from cerebrum.policies.learned.bidder import Bidder, award

NAME = "schedule-bidder"
TEAMS = 64
SIZES = (8, 32)
TASKS_PER_NODE = 30
HELD_OUT = range(20)
"""Seeds of the evaluation; training draws its own, from 1000 up."""
CHOSEN_ON = range(1000, 1120)
"""Episodes on which the best weights of a run are chosen: of training's kind, never held out."""
USUAL = 48
"""Runs that tell what is usual."""
ROOM = 3.0
"""Charged for room taken needlessly, in nodes' worth of rejected work; chosen on training seeds."""
SETTINGS = TeamSettings(
    rounds=16, round_steps=250, discount=0.5, explore_share=0.4, replay_slices=800,
    target_every=200,
)  # fmt: skip
METRIC = "nodes' worth of work rejected a task"
PAIRED = f"{METRIC}: {NAME}'s less this one's"
_REJECTED = NAMES.index("rejected")
_TASK_CPU, _TASK_MEMORY, _ROOM_LOST = (
    SCHEMA.names.index(name) for name in ("task_cpu", "task_memory", "room_lost")
)
_HEURISTICS = ("best-fit", "least-allocated", "most-allocated")
_ENCODER = Encoder(SCHEMA, availability_features)


def source(nodes: tuple[int, int], seed: int = 0) -> Generated:
    """Clusters of CPU and memory alone, asked for 1.3 times what they have."""
    return Generated(
        nodes=nodes, tasks=TASKS_PER_NODE * nodes[1], gpu_nodes=0.0, gpu_tasks=0.0, load=1.3,
        seed=seed,
    )  # fmt: skip


def clusters(envs: int, nodes: tuple[int, int]) -> Clusters:
    """What the team learns in."""
    return Clusters(
        source(nodes), envs, encoder=_ENCODER, reward={"rejected": 1.0}, passed="reject",
        unplaceable="reject",
    )  # fmt: skip


class Losing(Bidders):
    """A team that loses what it rejects, and pays at once for room that it need not have taken.

    Room lost says within a step what rejections say hundreds of tasks later and mixed with the
    doings of all. It is charged less its mean over the nodes that could take the task, so that
    nobody gains by abstaining.
    """

    def __init__(self, clusters: Clusters) -> None:
        super().__init__(clusters)
        self._envs = np.arange(clusters.envs)

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Award each task to the highest bidder; less the nodes' worth lost is what it is worth."""
        nodes = self.clusters.present.sum(1)
        rows = award(actions, self.mask)
        room = np.where(self.mask, _room_lost(self.observation), 0.0)
        usual = room.sum(1) / np.maximum(1, self.mask.sum(1))
        wasted = np.where(rows >= 0, room[self._envs, rows] - usual, 0.0)
        _, done = self.clusters.step(rows)
        lost = self.clusters.terms[:, _REJECTED] * nodes
        return (lost - ROOM * wasted).astype(np.float32), done


def _room_lost(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[E, N] from float32[E, N, features]; 1 is a task of 16 cores or 64 GB."""
    asked = _unsize(np.maximum(seen[..., _TASK_CPU], seen[..., _TASK_MEMORY]))
    return asked * _unsize(seen[..., _ROOM_LOST])


def _unsize(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """x of x / (x + 1)."""
    return np.divide(share, np.maximum(1.0 - share, 1e-6), dtype=np.float32)


def train(settings: Settings) -> Artefact:
    """The recipe."""
    team = Losing(clusters(TEAMS, SIZES))
    rounds = settings.steps(SETTINGS.rounds)
    unseen = source(SIZES, seed=2)

    def trainer(seed: int) -> TeamTrainer:
        return TeamTrainer(team, replace(SETTINGS, rounds=rounds, seed=seed))

    def lost(weights: Weights) -> float:
        return float(rejected(unseen, CHOSEN_ON, learned(Bidder(weights), _ENCODER)).mean())

    begun, cpu = time.perf_counter(), time.process_time()
    weights = best_of(trainer, settings, lost)
    spent = time.process_time() - cpu, time.perf_counter() - begun
    bidder = Bidder(weights)
    made = Artefact(_card(settings, rounds, bidder, spent), weights, _statistics(bidder))
    longer = replace(source(SIZES), tasks=2000)
    runs = map(longer.scenario, CHOSEN_ON[: settings.steps(USUAL)])
    return with_usual(made, runs, queue="reject")


def _statistics(bidder: Bidder) -> Statistics:
    seeds = range(500, 500 + TEAMS)
    return Statistics.of(seen(clusters(TEAMS, SIZES), learned(bidder, _ENCODER), seeds, 200))


def _card(settings: Settings, rounds: int, bidder: Bidder, spent: tuple[float, float]) -> Card:
    return Card(
        kind="bidder", name=NAME,
        algorithm="QMIX with a pooled mixer; best of several runs",
        about="Bids for POST /schedule from what nodes have free; leaves room for what comes.",
        observation=Observation.of(SCHEMA),
        architecture={"hidden": (64, 64), "activation": "relu"},
        training_data=(f"generated clusters of {SIZES[0]} to {SIZES[1]} nodes, CPU and memory",),
        seeds=(settings.seed,),
        command=f"cerebrum train {NAME} --seed {settings.seed} --budget {settings.budget:g}",
        training_cpu_s=round(spent[0], 1), training_wall_s=round(spent[1], 1),
        statistics_note=f"{TEAMS} clusters, 200 decisions each, after training",
        evaluation=tuple(evaluation(bidder)),
        limits=("sees neither how large a node is nor GPUs; made for generated clusters",
                "its reference tasks have the sizes of the generated ones: "
                "other mixes may gain less",
                "the rule behind its reward, least room lost by exact numbers, is level with it",
                f"{rounds * SETTINGS.round_steps * TEAMS:,} decisions of training a run"),
    )  # fmt: skip


# -- how good it is -------------------------------------------------------------------------


def choosers(bidder: Bidder) -> dict[str, Chooser]:
    """The bidder, the heuristics of the engine, and bids by lot."""
    found = {NAME: learned(bidder, _ENCODER), "random bids": random_bids(7)}
    found |= {name: heuristic(name) for name in _HEURISTICS}
    # The rule behind the charge, with exact numbers where a bid has ten levels.
    return found | {"least room lost": highest(_ENCODER, lambda seen: -seen[..., _ROOM_LOST])}


def evaluate(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """The held-out seeds anew; needs no data."""
    del settings
    return tuple(evaluation(Bidder(artefact.weights)))


def evaluation(bidder: Bidder, sizes: tuple[int, ...] = (8, 32, 100)) -> list[EvaluationRow]:
    """Work rejected on the held-out seeds, less is better, and paired with each of the others."""
    rows: list[EvaluationRow] = []
    for size in sizes:
        held_out = source((size, size), seed=1)
        lost = {
            name: rejected(held_out, HELD_OUT, chooser)
            for name, chooser in choosers(bidder).items()
        }
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


def rejected(scenarios: Generated, seeds: Sequence[int], chooser: Chooser) -> NDArray[np.float64]:
    """float64[seeds]: nodes' worth of work rejected a task, over one episode each."""
    return bid_evaluation.evaluate(scenarios, seeds, chooser).rejected_nodes[0] / scenarios.tasks
