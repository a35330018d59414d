"""What a policy makes of nodes that somebody describes: v1 objects in, 0..100 out.

The objects become a small cluster in an engine of its own, so that everything counts that counts in
a simulation: units, GPUs, selectors, taints, what runs there. A node that cannot take the pod gets
0; of the others the best gets 100 and the worst 1, or all of them 100 where the policy makes no
difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.engine import Engine
from cerebrum.executors.simulated import bound_tasks, start_bound
from cerebrum.kube.fields import Fields
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.events import REFUSAL_TEXT, Event, EventKind
from cerebrum.model.protocols import Policy, Scores
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass
from cerebrum.traces.kubernetes import of_objects

LOWEST, HIGHEST = 1, 100
"""Of nodes that can take the pod; 0 is for the others."""
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """`scores` 0..100 by node, in the order given; `refused` why those with 0 cannot take it."""

    scores: dict[str, int]
    refused: dict[str, str]


class Scoring:
    """A policy that scores single nodes. `typical` is the mix of tasks that fragmentation is
    measured against; without it the pods of each question are."""

    def __init__(
        self, policy: Policy, typical: tuple[tuple[TaskClass, float], ...] | None = None
    ) -> None:
        if not isinstance(policy, Scores):
            raise ConfigError(
                f"policy {policy.name!r} orders or plans, it does not score single nodes: expected "
                "one made of scorers, such as fgd, or a learned node scorer"
            )
        self.policy: Policy = policy
        self._scores, self._typical = policy, typical

    def score(self, pod: Object, nodes: Sequence[Object], running: Sequence[Object] = ()) -> Scored:
        """Scores of v1 Nodes for a v1 Pod, where the pods `running` (bound v1 Pods) run.

        Raises `InputError` that names the field.
        """
        scenario, name = described(pod, nodes, running)
        if self._typical is not None:
            scenario = _measured(scenario, self._typical)
        engine, task = _engine(scenario, name)
        snapshot = engine.snapshot()
        totals = self._scores.totals(snapshot, task)
        bits = snapshot.refusals(task)
        names = list(snapshot.node_names)
        refused = {names[row]: _why(int(bits[row])) for row in np.flatnonzero(totals == -np.inf)}
        return Scored(dict(zip(names, scaled(totals).tolist(), strict=True)), refused)


def scaled(totals: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64, 0..100, of scores whose -inf means that a node cannot take the pod."""
    fits = totals > -np.inf
    found = np.zeros(len(totals), np.int64)
    if fits.any():
        low, high = totals[fits].min(), totals[fits].max()
        share = (totals[fits] - low) / (high - low) if high > low else np.ones(int(fits.sum()))
        found[fits] = LOWEST + np.floor(share * (HIGHEST - LOWEST) + 1e-9).astype(np.int64)
    return found


def described(
    pod: Object, nodes: Sequence[Object], running: Sequence[Object] = ()
) -> tuple[Scenario, str]:
    """The objects as a scenario, and the name of the pod in question among its tasks."""
    if not nodes:
        raise InputError("expected at least one v1 Node").at(field="nodes")
    asked = Fields(None, 0, ("pod",), pod)
    if asked.child("spec").text("nodeName", ""):
        raise asked.error("expected a pod that is bound nowhere yet", "spec", "nodeName")
    others = [Fields(None, 0, ("pods", i), item) for i, item in enumerate(running)]
    for item in others:
        if not item.child("spec").text("nodeName", ""):
            raise item.error("expected a pod that is bound to a node", "spec", "nodeName")
    found = [Fields(None, 0, ("nodes", i), item) for i, item in enumerate(nodes)]
    scenario = of_objects(found, [*others, asked], "request")
    free = [name for name in scenario.tasks.names if name not in scenario.bound]
    if len(free) != 1:
        why = ", ".join(scenario.report.dropped) or "it is not a pod that can be scheduled"
        raise asked.error(f"cannot be scheduled: {why}")
    return scenario, free[0]


def _measured(scenario: Scenario, typical: tuple[tuple[TaskClass, float], ...]) -> Scenario:
    return replace(scenario, typical=typical)


def _engine(scenario: Scenario, name: str) -> tuple[Engine, int]:
    """An engine in which all that runs runs and the one task waits, whatever their times say."""
    engine = Engine(scenario)
    start_bound(engine, bound_tasks(scenario, engine))
    task = list(scenario.tasks.names).index(name)
    engine.apply(Event(0.0, EventKind.SUBMITTED, task))
    return engine, task


def _why(bits: int) -> str:
    said = [text for bit, text in REFUSAL_TEXT.items() if bits & int(bit)]
    return ", ".join(said) or "the policy leaves it out"


def typical_of_scenario(source: str) -> tuple[tuple[TaskClass, float], ...]:
    """The typical task classes of a trace or generator, as `cerebrum simulate` reads it."""
    from cerebrum import traces
    from cerebrum.engine.typical import typical_classes

    scenario = traces.read(source)
    return scenario.typical or typical_classes(scenario.tasks)
