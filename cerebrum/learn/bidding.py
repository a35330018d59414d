"""The recipe of `qmix-bidder`: nodes that bid for tasks, trained on small pieces of openb.

    cerebrum train qmix-bidder

Clusters of 8 to 32 of openb's nodes, its tasks with their run times (at most two hours), load 0.8
to 1.2 of the scarcest resource; a task that nobody can or wants to take is rejected. Episodes are
drawn with seeds from 1000 up, `HELD_OUT` are for evaluation only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from cerebrum.learn.best_weights import Weights, best_of
from cerebrum.learn.bid_evaluation import (
    HEURISTICS,
    Chooser,
    Outcome,
    compare,
    evaluate,
    heuristic,
    highest,
    learned,
    random_bids,
    seen,
)
from cerebrum.learn.bid_scenarios import SCENARIOS, Sampled
from cerebrum.learn.bid_team import REWARD, BidTeam, Shaping
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import get_encoder
from cerebrum.learn.mixing import Method
from cerebrum.learn.qmix import TeamSettings, TeamTrainer, default_device
from cerebrum.learn.recipes import Settings
from cerebrum.learn.usual import with_usual
from cerebrum.model.errors import NotFound
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.bid_schema import SCHEMA
from cerebrum.policies.learned.bidder import BIDS, Bidder
from cerebrum.policies.learned.card import Card, EvaluationRow, Observation
from cerebrum.policies.learned.statistics import Statistics
from cerebrum.traces import openb

NAME = "qmix-bidder"
HELD_OUT = range(1, 21)
EACH = 8
"""Episodes a held-out seed: one alone says little, as load and nodes are drawn anew in each."""
CHOSEN_ON = range(1001, 1241)
"""Episodes on which the best weights of a run are chosen: of training's kind, never held out."""
USUAL = 48
"""Runs that tell what is usual."""
TRAINING_SCENARIOS = 256
CLUSTERS, MOST_NODES = 128, 32
SHAPING = Shaping(kwh_per_kw=0.45, kwh_per_gpu=0.25, energy=0.0)
"""A task runs 0.45 h on average; what a GPU made useless is worth was chosen on training seeds."""
SETTINGS = TeamSettings(
    rounds=48, round_steps=250, discount=0.7, epsilon=(1.0, 0.05), explore_share=0.4,
    learning_rate=(1e-3, 2e-5), hidden=(64, 64), replay_slices=800, target_every=200,
)  # fmt: skip


@cache
def training_source(data: Path | None) -> Sampled:
    """Clusters of 8 to 32 nodes, from the folder that has `openb` in it. Raises `NotFound`."""
    if data is None:
        raise NotFound("trained and evaluated on the openb traces: give their folder with --data")
    folder = data / "openb"
    if not folder.is_dir():
        raise NotFound(f"there is no {folder}: clusters are drawn from openb's nodes and tasks")
    return Sampled(
        openb.read(folder), nodes=(8, MOST_NODES), load=(0.8, 1.2), variants=TRAINING_SCENARIOS
    )


def unseen_source(data: Path | None) -> Sampled:
    """The same with scenarios of any number, of which training saw the first few."""
    return replace(training_source(data), variants=SCENARIOS)


def clusters_of(source: Sampled) -> Clusters:
    """What is learnt in."""
    return Clusters(
        source, CLUSTERS, source.rows, "bid", REWARD, passed="reject", unplaceable="reject"
    )


def make_trainer(source: Sampled, settings: TeamSettings) -> TeamTrainer:
    """What learns to bid in `source`."""
    return TeamTrainer(BidTeam(clusters_of(source), SHAPING), settings)


def train_method(settings: Settings, method: Method) -> Weights:
    """QMIX, VDN or IQL by the same settings: the best weights of several runs.

    Raises `NotFound` without openb.
    """
    source, unseen = training_source(settings.data), unseen_source(settings.data)
    chosen = replace(SETTINGS, method=method, rounds=settings.steps(SETTINGS.rounds))

    def trainer(seed: int) -> TeamTrainer:
        return make_trainer(source, replace(chosen, seed=seed))

    def cost_kwh(weights: Weights) -> float:
        return float(evaluate(unseen, CHOSEN_ON, learned(Bidder(weights))).per_node.mean())

    return best_of(trainer, settings, cost_kwh)


def train(settings: Settings) -> Artefact:
    """The recipe. Raises `NotFound` without openb."""
    cpu, wall = time.process_time(), time.perf_counter()
    weights = train_method(settings, "qmix")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    held_out = unseen_source(settings.data)
    outcomes = rate(held_out, {"qmix": Bidder(weights)})
    world, seeds = clusters_of(training_source(settings.data)), range(1000, 1000 + CLUSTERS)
    observed = seen(world, learned(Bidder(weights)), seeds, steps=1000, every=50)
    card = _card(settings, outcomes, cpu, wall)
    made = Artefact(card, weights, Statistics.of(observed))
    longer = replace(held_out, tasks_per_node=100)
    runs = map(longer.scenario, CHOSEN_ON[: settings.steps(USUAL)])
    return with_usual(made, runs, queue="reject")


def evaluate_artefact(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """The held-out episodes anew. Raises `NotFound` without openb in `settings.data`."""
    return _rows(rate(unseen_source(settings.data), {"qmix": Bidder(artefact.weights)}))


def rate(source: Sampled, bidders: Mapping[str, Bidder], each: int = EACH) -> dict[str, Outcome]:
    """Bidders and every baseline on the same held-out episodes, `each` a seed."""
    choosers = {name: learned(bidder) for name, bidder in bidders.items()}
    choosers |= {name: heuristic(name) for name in HEURISTICS}
    choosers["random bids"] = random_bids(0)
    return {name: evaluate(source, HELD_OUT, choose, each) for name, choose in choosers.items()}


def least_charge() -> Chooser:
    """The rule behind the reward: the node that is charged least, by exact numbers of all nodes."""
    return highest(get_encoder("bid"), lambda seen: -SHAPING.charge_kwh(seen))


def _card(settings: Settings, outcomes: Mapping[str, Outcome], cpu: float, wall: float) -> Card:
    command = "cerebrum train qmix-bidder"
    if settings.seed or settings.budget != 1.0:
        command += f" --seed {settings.seed} --budget {settings.budget:g}"
    return Card(
        kind="bidder",
        name=NAME,
        about="Every node bids 0 (abstains) to 10 for a task from its own state; the highest wins",
        algorithm="QMIX with a pooled mixer, double Q, target networks; best of several runs",
        observation=Observation.of(SCHEMA),
        architecture={"hidden": SETTINGS.hidden, "actions": BIDS},
        training_data=(
            "openb default: nodes and tasks drawn with replacement, run times at most 2 h, "
            "8 to 32 nodes, load 0.8 to 1.2",
        ),
        seeds=(settings.seed,),
        command=command,
        training_cpu_s=round(cpu, 1),
        training_wall_s=round(wall, 1),
        trained_on=default_device().type.upper(),
        statistics_note="nodes with room for the task, greedy bids, training scenarios",
        evaluation=_rows(outcomes),
        limits=(
            "trained to save energy and rejected work together: not the least of either alone",
            "knows openb's nodes and tasks; others may be out of its distribution",
        ),
    )


def _rows(outcomes: Mapping[str, Outcome]) -> tuple[EvaluationRow, ...]:
    ours = outcomes["qmix"]
    rows = [_row("qmix", float(ours.per_node.mean()))]
    for name, found in outcomes.items():
        if name == "qmix":
            continue
        note = f"qmix against it: {compare(ours.per_node, found.per_node):+.2f}"
        rows.append(_row(name, float(found.per_node.mean()), note))
    return tuple(rows)


def _row(policy: str, value: float, note: str = "") -> EvaluationRow:
    return EvaluationRow(
        scenario="openb, 8 to 32 nodes, 20 held-out seeds", policy=policy,
        metric="cost, kWh a node", value=round(value, 4), note=note,
    )  # fmt: skip
