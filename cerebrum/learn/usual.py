"""What a trained policy's choices look like where it was trained: what drift is told by.

The artefact is served as it will be, on whole runs of training scenarios, and each choice is looked
at as the guards of a rollout will look at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.simulated import Simulation
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.drift import Usual
from cerebrum.policies.learned.guards import Features
from cerebrum.policies.learned.serving import of_artefact
from cerebrum.policies.learned.sides import single


def with_usual(artefact: Artefact, scenarios: Iterable[Scenario], **options: str) -> Artefact:
    """The artefact with what is usual on these scenarios, under the `options` of its policy.

    Its statistics reach as far as what it chose: of the options it met they hold a sample, and what
    is chosen is often the extreme. Raises `ConfigError` where no run has a whole window of choices.
    """
    runs = [choices(of_artefact(artefact, **options), scenario) for scenario in scenarios]
    seen = artefact.statistics.reaching(np.concatenate(runs))
    return replace(artefact, statistics=seen, usual=Usual.of(runs))


def choices(policy: Policy, scenario: Scenario) -> NDArray[np.float64]:
    """float64[choices, F]: what the policy saw of each node or job it chose, in order."""
    assert isinstance(policy, Features)
    seen: list[NDArray[np.floating]] = []
    for snapshot, decision in Simulation(scenario).decisions(policy):
        bind = single(decision)
        if bind is not None:
            seen.append(policy.features_of(snapshot, bind.task, bind.row))
    return np.array(seen, np.float64).reshape(len(seen), len(policy.statistics))
