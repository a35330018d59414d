"""Planners: a whole workflow placed before it starts. One a file, its paper in the docstring.

`get_planner(name).plan(workflow, federation)` gives a `Plan`: a node, a start and an end for each
task, under the model of `cerebrum.engine.schedule`. Adding a planner is a file and a line below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cerebrum.model.errors import UnknownName
from cerebrum.model.options import refuse_unknown, resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cerebrum.engine.schedule import Plan, Platform
    from cerebrum.model.federation import Federation
    from cerebrum.model.workflow import Workflow


class Planner(Protocol):
    """Places every task of a workflow. Deterministic: the same input gives the same plan."""

    name: str

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """A node (row of `Platform.of(federation)`), a start and an end for each task.

        `cluster_of_task` (int32, -1: any) binds tasks to clusters. Give a `Platform` for the
        classic processor model (`Platform.of(federation, exclusive=True)`). Raises `InputError`
        naming a task that no allowed node can hold.
        """
        ...


PLANNERS: dict[str, str] = {
    "cerebrum": "cerebrum.policies.planning.portfolio:Portfolio",
    "cpop": "cerebrum.policies.planning.cpop:Cpop",
    "heft": "cerebrum.policies.planning.heft:Heft",
    "max-min": "cerebrum.policies.planning.greedy:MaxMin",
    "min-min": "cerebrum.policies.planning.greedy:MinMin",
    "peft": "cerebrum.policies.planning.peft:Peft",
    "sufferage": "cerebrum.policies.planning.greedy:Sufferage",
}
"""Name -> `module:class`."""


def planner_names() -> list[str]:
    """Every name `get_planner` knows."""
    return sorted(PLANNERS)


def get_planner(name: str, **options: Any) -> Planner:
    """A planner by name, such as `heft` or `cerebrum`; `options` go to its constructor.

    Raises `UnknownName` with the nearest name, `ConfigError` for an option it does not take.
    """
    import inspect

    key = name.replace("_", "-").lower()
    if key not in PLANNERS:
        raise UnknownName("planner", name, PLANNERS)
    made = resolve(PLANNERS[key])
    refuse_unknown(options, inspect.signature(made).parameters, field=key)
    return made(**options)


__all__ = ["PLANNERS", "Planner", "get_planner", "planner_names"]
