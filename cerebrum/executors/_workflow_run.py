"""What came out of a workflow in virtual time: one row a task, totals, and the engines' logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.log import EventLog
from cerebrum.engine.schedule import Platform
from cerebrum.model.events import TaskState
from cerebrum.model.scenario import Scenario
from cerebrum.model.workflow import Workflow

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WorkflowRun:
    """Arrays by task; NaN where it has not happened, -1 for no node.

    `cluster` and `node` (a row of `platform`) of the last attempt; `ready_s` when the last
    predecessor ended, `start_s` when the last attempt took its node, of which the first
    `stage_in_s` moved data, `end_s`; `attempts`; `state` TaskState. `moved_mb` went between
    clusters and `moved_within_mb` between nodes of one, `cost` is what links took for both.
    `scenarios` and `logs` hold one entry a cluster, for every metric there is of a log.
    """

    workflow: Workflow = field(repr=False)
    platform: Platform = field(repr=False)
    cluster: NDArray[np.int32]
    node: NDArray[np.int32]
    ready_s: Floats
    start_s: Floats
    stage_in_s: Floats
    end_s: Floats
    attempts: NDArray[np.int32]
    state: NDArray[np.int8]
    moved_mb: float
    moved_within_mb: float
    cost: float
    scenarios: tuple[Scenario, ...] = field(repr=False)
    logs: tuple[EventLog, ...] = field(repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether every task did."""
        return bool((self.state == TaskState.SUCCEEDED).all())

    @property
    def makespan_s(self) -> float:
        """When the last task that ran ended, from the submission; 0 if none did."""
        ended = self.end_s[np.isfinite(self.end_s)]
        return float(ended.max(initial=0.0))

    def counts(self) -> dict[str, int]:
        """How many tasks ended how, by state; only states that occur."""
        states, count = np.unique(self.state, return_counts=True)
        return {
            TaskState(s).name.lower(): c
            for s, c in zip(states.tolist(), count.tolist(), strict=True)
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row a task, in the workflow's order, with names for numbers."""
        names, nodes = self.workflow.tasks.names, self.platform.nodes
        return [
            {
                "task": names[i],
                "cluster": self.platform.clusters[self.cluster[i]],
                "node": nodes[self.node[i]].name if self.node[i] >= 0 else "",
                "ready_s": float(self.ready_s[i]),
                "start_s": float(self.start_s[i]),
                "stage_in_s": float(self.stage_in_s[i]),
                "end_s": float(self.end_s[i]),
                "attempts": int(self.attempts[i]),
                "state": TaskState(int(self.state[i])).name.lower(),
            }
            for i in range(len(names))
        ]
