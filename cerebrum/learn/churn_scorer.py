"""The recipe of `churn-scorer`: a node scorer for shared GPUs whose tasks come and go, by PPO.

    cerebrum train churn-scorer

Pieces of openb of 8 to 32 nodes, as `bidding` draws them: a task that finds no room is rejected,
all others leave when they end. What counts is the work rejected: the largest share of the cluster
that each rejected task asked for, summed. The scorer begins as FGD, which rejects the least of all
heuristics, and learns by masked PPO; it is judged as it is served, inside the engine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.simulated import Simulation
from cerebrum.learn.best_weights import BestWeights, Weights
from cerebrum.learn.bid_evaluation import compare, highest, seen
from cerebrum.learn.bid_scenarios import Sampled
from cerebrum.learn.bidding import training_source, unseen_source
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.node_encoder import node_encoder
from cerebrum.learn.packing import demand, price_list
from cerebrum.learn.ppo import PpoSettings, PpoTrainer
from cerebrum.learn.recipes import Settings
from cerebrum.learn.scorer_network import ScorerNetwork
from cerebrum.learn.usual import with_usual
from cerebrum.model.events import TaskState
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy
from cerebrum.policies.learned.artefact import (
    Artefact,
    Card,
    EvaluationRow,
    Observation,
    Statistics,
)
from cerebrum.policies.learned.node_features import KINDS, SCHEMA
from cerebrum.policies.learned.node_scorer import (
    K,
    N,
    TrainableScorer,
    arrays_of,
    flat_of,
    make,
    policy,
)

NAME = "churn-scorer"
CLUSTERS, HIDDEN = 64, 16
REWARD = {"rejected": 20.0, "fragmentation": 0.25}
"""Fragmentation says within a step what a rejection says hundreds of tasks later."""
SETTINGS = PpoSettings(
    rounds=60, steps=512, epochs=4, batch=2048, discount=0.95, entropy=0.0, learning_rate=1e-2,
)  # fmt: skip
LOOK_EVERY = 5
HELD_OUT = range(10_001, 10_161)
"""Numbers of scenarios; training draws from those below 256."""
CHOSEN_ON = range(20_001, 20_241)
"""On these the best weights of the run are chosen, and what is usual is taken."""
USUAL = 48
LARGE_NODES = 100
HEURISTICS = ("fgd", "best-fit", "pwr", "most-allocated", "least-allocated")
METRIC = "work rejected, share of the cluster"


def kinds_of_cluster(source: Sampled) -> dict[str, tuple[Sampled, Sequence[int]]]:
    """What is evaluated: as in training, and clusters larger than any of it, as full."""
    large = replace(source, nodes=(LARGE_NODES,) * 2, load=(1.1, 1.3), tasks_per_node=60)
    return {"8 to 32 nodes": (source, HELD_OUT), f"{LARGE_NODES} nodes": (large, HELD_OUT[:20])}


@dataclass(frozen=True, eq=False)
class Episode:
    """A scenario, and float64[tasks] the largest share of the cluster that each task asks for."""

    scenario: Scenario
    parts: NDArray[np.float64]

    @classmethod
    def of(cls, scenario: Scenario) -> Episode:
        """Shares of CPU, memory and GPU; 1 for what the cluster has none of."""
        parts = np.zeros(len(scenario.tasks))
        for name in ("cpu_milli", "memory_mib", "gpu_milli_total"):
            whole = sum(getattr(node.capacity, name) for node in scenario.cluster)
            parts = np.maximum(parts, scenario.tasks.request(name) / max(whole, 1))
        return cls(scenario, np.minimum(parts, 1.0))

    def rejected(self, chosen: Policy) -> float:
        """Work rejected, in clusters."""
        world = Simulation(self.scenario)
        world.run(chosen)
        state = world.engine.table.state.t_state[: len(self.parts)]
        return float(self.parts[state == TaskState.REJECTED].sum())


def rejected(episodes: Sequence[Episode], chosen: Policy) -> NDArray[np.float64]:
    """float64[episodes]: work rejected, in clusters."""
    return np.array([episode.rejected(chosen) for episode in episodes])


def episodes_of(source: Sampled, numbers: Sequence[int]) -> list[Episode]:
    """Those of these numbers."""
    return [Episode.of(source.scenario(number)) for number in numbers]


# -- training -------------------------------------------------------------------------------


def train(settings: Settings) -> Artefact:
    """The recipe. Raises `NotFound` without openb."""
    source, unseen = training_source(settings.data), unseen_source(settings.data)
    prices = price_list(demand(source.base.tasks))
    world = Clusters(
        source, CLUSTERS, encoder=node_encoder(prices), reward=REWARD,
        passed="reject", unplaceable="reject",
    )  # fmt: skip
    rounds = settings.steps(SETTINGS.rounds)
    network = ScorerNetwork(HIDDEN, seed=settings.seed)
    trainer = PpoTrainer(world, network, replace(SETTINGS, rounds=rounds, seed=settings.seed))
    scorer, judged = TrainableScorer(HIDDEN, prices), episodes_of(unseen, CHOSEN_ON)

    def serving(weights: Weights) -> Policy:
        scorer.weights = flat_of(weights)
        return policy(scorer, "reject")  # a new one: it remembers scores

    def lost(weights: Weights) -> float:
        return float(rejected(judged, serving(weights)).mean())

    begun, cpu = time.perf_counter(), time.process_time()
    weights = BestWeights(trainer, settings, lost, LOOK_EVERY).train()
    spent = time.process_time() - cpu, time.perf_counter() - begun
    card = _card(settings, _rows(serving(weights), unseen), spent)
    fgd = highest(world.encoder, lambda shown: shown[..., N + K])
    met = seen(world, fgd, range(1000, 1000 + CLUSTERS), steps=1000, every=50)
    made = Artefact(card, arrays_of(scorer.weights, prices), Statistics.of(met[:, :N]))
    longer = replace(unseen, tasks_per_node=100)
    runs = map(longer.scenario, CHOSEN_ON[: settings.steps(USUAL)])
    return with_usual(made, runs, queue="reject")


def _card(
    settings: Settings, evaluation: tuple[EvaluationRow, ...], spent: tuple[float, float]
) -> Card:
    return Card(
        kind="node-scorer",
        name=NAME,
        about="FGD with a learned correction, for shared GPUs whose tasks come and go",
        algorithm="masked PPO from FGD, logits are the scores of nodes with room; prices of parts "
        "of a GPU by a cutting-stock program",
        observation=Observation.of(SCHEMA),
        architecture={"kinds": KINDS, "base": 1.0, "hidden": HIDDEN, "gpus": "score",
                      "ties": "first"},
        training_data=(
            "openb default: nodes and tasks drawn with replacement, run times at most 2 h, "
            "8 to 32 nodes, load 0.8 to 1.2",
        ),
        seeds=(settings.seed,),
        command=f"cerebrum train {NAME} --seed {settings.seed} --budget {settings.budget:g}",
        training_cpu_s=round(spent[0], 1),
        training_wall_s=round(spent[1], 1),
        statistics_note="nodes with room for the task while FGD decides, training scenarios",
        evaluation=evaluation,
        limits=(
            "prices are those of openb's task sizes: other mixes need other prices",
            "where tasks never leave it was not trained; openb-scorer was",
        ),
    )  # fmt: skip


# -- how good it is -------------------------------------------------------------------------


def evaluate(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """Work rejected on the held-out scenarios. Raises `NotFound` without openb."""
    return _rows(make(artefact, queue="reject"), unseen_source(settings.data))


def _rows(ours: Policy, unseen: Sampled) -> tuple[EvaluationRow, ...]:
    rows: list[EvaluationRow] = []
    for kind, (source, numbers) in kinds_of_cluster(unseen).items():
        outcomes = rate(ours, episodes_of(source, numbers))
        for name, found in outcomes.items():
            against = f"{NAME} against it: {compare(outcomes[NAME], found):+.2f}"
            rows.append(
                EvaluationRow(
                    scenario=f"openb, {kind}, {len(numbers)} held-out scenarios",
                    policy=name,
                    metric=METRIC,
                    value=round(float(found.mean()), 4),
                    note="" if name == NAME else against,
                )
            )
    return tuple(rows)


def rate(ours: Policy, episodes: Sequence[Episode]) -> Mapping[str, NDArray[np.float64]]:
    """Work rejected by episode, of ours under `NAME`, and of every heuristic."""
    policies = {name: get_policy(name, queue="reject") for name in HEURISTICS}
    return {name: rejected(episodes, one) for name, one in {NAME: ours, **policies}.items()}
