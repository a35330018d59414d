"""What a trained job order is worth, in the real engine, and the file it is shipped in.

The training simulator plays no part here: windows run through `Simulation` and `QueuePolicy`, as
in `cerebrum reproduce rlscheduler`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.metrics import task_columns
from cerebrum.executors.simulated import Simulation
from cerebrum.learn.job_sequences import BLOCK, LOAD, as_scenario, resampled
from cerebrum.learn.usual import with_usual
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.card import Card, EvaluationRow, Observation
from cerebrum.policies.learned.job_features import FLOOR_S, SCHEMA
from cerebrum.policies.learned.job_order import KIND, JobOrder, Network
from cerebrum.policies.learned.statistics import Statistics
from cerebrum.policies.queueing import Jobs, QueuePolicy
from cerebrum.traces.windows import outside, start_indices, window

if TYPE_CHECKING:
    from cerebrum.learn.job_order import Search, Split
    from cerebrum.learn.recipes import Settings

PUBLISHED = {"none": 254.67, "easy": 58.64}
"""RLScheduler's learned agent on Lublin-1 (Zhang et al., SC'20), mean of ten windows."""
RIVALS = ("sjf", "f1")
USUAL = 32
"""Windows of training that tell what is usual."""


def slowdown(scenario: Scenario, policy: Policy) -> float:
    """Mean bounded slowdown of the jobs of a scenario that starts on an empty machine."""
    simulation = Simulation(scenario, np.random.default_rng(1))
    simulation.run(policy)
    return float(task_columns(scenario, simulation.engine.log, FLOOR_S)["bounded_slowdown"].mean())


def by_window(
    scenario: Scenario, starts: Sequence[int], policy: Policy, length: int = 1024
) -> NDArray[np.float64]:
    """`slowdown` of each window: float64[starts]."""
    return np.array([slowdown(window(scenario, first, length), policy) for first in starts])


def artefact(search: Search, scenario: Scenario) -> Artefact:
    """The best weights with their card. The test windows are run here, and nowhere before."""
    weights = Network.of(search.best).weights()
    network = Network.read(weights)  # as it will be served: rounded to float32
    longest = outside(len(search.split.trace), search.split.test)[0]
    seen = observed(scenario, network, search.backfill, [int(longest[0]), int(longest[-1023])])
    made = Artefact(_card(search, scenario, network), weights, Statistics.of(seen))
    settings, split = search.settings, search.split
    rng = np.random.default_rng([settings.seed, 3])
    runs = (resampled(split.trace, split.train, rng) for _ in range(settings.steps(USUAL)))
    return with_usual(made, map(as_scenario, runs))


def _card(search: Search, scenario: Scenario, network: Network) -> Card:
    name = "job-order" if search.backfill == "none" else f"job-order-{search.backfill}"
    seed, budget = search.settings.seed, search.settings.budget
    return Card(
        kind=KIND,
        name=name,
        about=f"Order of a batch queue whose chosen head waits, backfilling {search.backfill}",
        algorithm="CMA-ES on the mean log bounded slowdown of resampled windows, "
        f"{search.strategy.generation} generations",
        observation=Observation.of(SCHEMA),
        architecture={"hidden": len(network.bias), "backfill": search.backfill},
        training_data=_data(search.split),
        seeds=(seed,),
        command=f"cerebrum train {name} --data DATA --seed {seed} --budget {budget:g}",
        training_cpu_s=round(search.cpu_s, 1),
        training_wall_s=round(search.wall_s, 1),
        statistics_note="decisions of this policy on two windows of the jobs trained on",
        evaluation=(
            *_evaluation(scenario, name, network, search.backfill),
            _validated(search, name, "bounded_slowdown_mean"),
        ),
        limits=(
            "trained where requested times are exact; elsewhere see docs/learned-job-order.md",
            "a cluster counts as one pool of processors; memory and GPUs are not looked at",
        ),
    )


def _data(split: Split) -> tuple[str, ...]:
    uses = (("training", split.train), ("validation", split.validate))
    return (
        *(
            f"lublin_256 (RLScheduler's Lublin-1), jobs {stretch[0]} to {stretch[-1]}, for {use}"
            for use, stretches in uses
            for stretch in stretches
        ),
        f"resampled in blocks of {BLOCK[0]} to {BLOCK[1]} jobs, load {LOAD[0]} to {LOAD[1]}",
    )


def observed(
    scenario: Scenario, network: Network, backfill: str, starts: Sequence[int]
) -> NDArray[np.float64]:
    """float64[n, features]: all that the network sees on these windows."""
    order, seen = JobOrder(network), list[NDArray[np.float64]]()

    def remember(jobs: Jobs) -> Sequence[NDArray[np.float64]]:
        seen.append(order.observe(jobs))
        return order(jobs)

    by_window(scenario, starts, QueuePolicy("seen", remember, backfill, reads_machine=True))
    return np.concatenate(seen)


def evaluate(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """RLScheduler's ten windows under a job order, in the real engine, and its rivals beside it.

    Raises `NotFound` without the trace in `settings.data`.
    """
    from cerebrum.learn.job_order import read_trace

    backfill = str(artefact.card.architecture["backfill"])
    network = Network.read(artefact.weights)
    return _evaluation(read_trace(settings.data), artefact.card.name, network, backfill)


def _evaluation(
    scenario: Scenario, name: str, network: Network, backfill: str
) -> tuple[EvaluationRow, ...]:
    test = start_indices(len(scenario.tasks))
    where = f"lublin_256, RLScheduler's ten windows, backfill {backfill}"
    ours = QueuePolicy(name, JobOrder(network), backfill, reads_machine=True)
    policies = {name: ours} | {one: get_policy(one, backfill=backfill) for one in RIVALS}
    means = {one: by_window(scenario, test, policy) for one, policy in policies.items()}
    metric = "bounded_slowdown_mean"
    rows = [
        EvaluationRow(scenario=where, policy=one, metric=metric, value=round(float(m.mean()), 4))
        for one, m in means.items()
    ]
    rows.append(
        EvaluationRow(
            scenario=where,
            policy="RLScheduler",
            metric=metric,
            value=PUBLISHED[backfill],
            note="published; trained on windows of the whole trace",
        )
    )
    return tuple(rows)


def _validated(search: Search, name: str, metric: str) -> EvaluationRow:
    return EvaluationRow(
        scenario=f"{len(search.validation)} validation windows, training simulator",
        policy=name,
        metric=metric,
        value=round(search.best_slowdown, 4),
        note="by which these weights were chosen",
    )
