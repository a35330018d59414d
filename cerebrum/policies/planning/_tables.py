"""A workflow and a platform as the flat arrays the planners' kernels take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.schedule import Plan, Platform, check_finite
from cerebrum.model.errors import InputError
from cerebrum.model.workflow import Workflow


@dataclass(frozen=True, eq=False)
class Tables:
    """`length_s` float64[tasks, nodes]: run time, inf where a task may not go."""

    workflow: Workflow
    platform: Platform
    length_s: NDArray[np.float64]
    need: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        workflow: Workflow,
        platform: Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Tables:
        """Raises `InputError` for a task without an end, or one that no allowed node can hold."""
        check_finite(workflow)
        need = platform.need(workflow)
        allowed = platform.fits(workflow)[workflow.tasks.class_id]
        allowed &= need[:, None] <= platform.lanes[None, :]
        if cluster_of_task is not None:
            bound = cluster_of_task[:, None]
            allowed &= (bound < 0) | (bound == platform.cluster[None, :])
        lost = ~allowed.any(axis=1)
        if lost.any():
            name = workflow.tasks.names[int(np.argmax(lost))]
            raise InputError(f"no allowed node can ever hold task {name!r}").at(field="tasks")
        length_s = workflow.tasks.duration_s[:, None] / platform.speed[None, :]
        return cls(workflow, platform, np.where(allowed, length_s, np.inf), need)

    def empty(self) -> Plan:
        """A plan to be filled."""
        n = len(self.workflow)
        return Plan(np.full(n, -1, np.int32), np.zeros(n), np.zeros(n))

    @property
    def incoming(self) -> tuple[NDArray[np.generic], ...]:
        """What `arrival` reads: first, edges, before, volume."""
        return (*self.workflow.predecessors, self.workflow.before, self.workflow.volume_mb)

    @property
    def nodes(self) -> tuple[NDArray[np.generic], ...]:
        """What `arrival` reads of the platform: cluster, latency, bandwidth."""
        network = self.platform.network
        return self.platform.cluster, network.latency_s, network.bandwidth_mb_s
