# pyright: basic, reportPrivateImportUsage=false
"""What a learned policy saw of what it chose, for the guards: its features beside its statistics.

A policy served from an artefact gets the hook `guards.Features`. It is asked for one node or job a
decision, when a guard looks, and costs nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import take
from cerebrum.model.protocols import Policy, Scores
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.job_order import JobOrder, Network
from cerebrum.policies.learned.node_features import SCHEMA, features, fgd_score
from cerebrum.policies.queueing import QueuePolicy
from cerebrum.policies.units import units

Hook = Callable[[Snapshot, int, int], NDArray[Any]]


def observed(policy: Policy, artefact: Artefact) -> Policy:
    """The same policy, which can show what it looked at. A policy of bids does so by itself."""
    match artefact.card.kind:
        case "node-scorer" if isinstance(policy, Scores):
            hook = _of_node_scorer(policy, artefact)
        case "job-order" if isinstance(policy, QueuePolicy):
            hook = _of_job_order(policy, artefact)
        case _:
            return policy
    known: Any = policy
    known.statistics, known.usual, known.features_of = artefact.statistics, artefact.usual, hook
    known.feature_names = tuple(one.name for one in artefact.card.observation.features)
    return policy


@kernel
def _after(nodes, classes, class_id, row, gpus, typical, prices, scratch, out):
    task = classes[class_id]
    scratch[0] = nodes[row]
    take(scratch[0], task, gpus, task.cache_ways)
    _, fragmented = fgd_score(nodes[row], scratch[0], typical)
    seen = features(nodes[row], scratch[0], task, typical, fragmented, prices)
    for i in range(len(out)):
        out[i] = seen[i]


def _of_node_scorer(policy: Scores, artefact: Artefact) -> Hook:
    """The node with the task on the GPUs that the policy gives it there."""
    prices = np.ascontiguousarray(artefact.weights["prices"], np.float64)

    def features_of(snapshot: Snapshot, task: int, row: int) -> NDArray[Any]:
        gpus, out = policy.gpus_on(snapshot, task, row), np.zeros(len(SCHEMA))
        if gpus < 0:
            return np.full(len(SCHEMA), np.nan)
        class_id = int(snapshot.tasks.class_id[task])
        _after(
            snapshot.nodes, snapshot.classes, class_id, row, gpus, snapshot.typical, prices,
            snapshot.nodes[:1].copy(), out,
        )  # fmt: skip
        return out

    return features_of


def _of_job_order(policy: QueuePolicy, artefact: Artefact) -> Hook:
    """The job in the queue that it is taken from."""
    order = JobOrder(Network.read(artefact.weights))

    def features_of(snapshot: Snapshot, task: int, row: int) -> NDArray[Any]:
        del row
        waiting = units(snapshot)
        place = next(i for i, unit in enumerate(waiting) if task in unit)
        return order.observe(policy.jobs(snapshot, waiting))[place]

    return features_of
