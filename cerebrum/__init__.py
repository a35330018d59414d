"""Cerebrum: one scheduling brain, from trace to cluster.

    import cerebrum

    run = cerebrum.simulate("openb-like", policy="fgd", seed=42)
    print(run.summary["gpu_allocation_pct_end"], run.tasks)

Names load when they are first used, so importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cerebrum.engine.compiled import scorer
    from cerebrum.experiments.bench import bench
    from cerebrum.experiments.compare import compare
    from cerebrum.experiments.run import Run, load
    from cerebrum.experiments.simulate import simulate
    from cerebrum.model.cluster import Cluster, Node
    from cerebrum.model.decisions import Bind, Decision
    from cerebrum.model.protocols import Policy
    from cerebrum.model.resources import Resources
    from cerebrum.model.scenario import Scenario
    from cerebrum.model.snapshot import Snapshot
    from cerebrum.model.tasks import Job, Task, TaskClass, TaskTable
    from cerebrum.policies import get_policy
    from cerebrum.traces import read

    __version__: str

_HOMES = {
    "Bind": "cerebrum.model.decisions",
    "Cluster": "cerebrum.model.cluster",
    "Decision": "cerebrum.model.decisions",
    "Job": "cerebrum.model.tasks",
    "Node": "cerebrum.model.cluster",
    "Policy": "cerebrum.model.protocols",
    "Resources": "cerebrum.model.resources",
    "Run": "cerebrum.experiments.run",
    "Scenario": "cerebrum.model.scenario",
    "Snapshot": "cerebrum.model.snapshot",
    "Task": "cerebrum.model.tasks",
    "TaskClass": "cerebrum.model.tasks",
    "TaskTable": "cerebrum.model.tasks",
    "bench": "cerebrum.experiments.bench",
    "compare": "cerebrum.experiments.compare",
    "get_policy": "cerebrum.policies",
    "load": "cerebrum.experiments.run",
    "read": "cerebrum.traces",
    "scorer": "cerebrum.engine.compiled",
    "simulate": "cerebrum.experiments.simulate",
}

__all__ = [
    "Bind",
    "Cluster",
    "Decision",
    "Job",
    "Node",
    "Policy",
    "Resources",
    "Run",
    "Scenario",
    "Snapshot",
    "Task",
    "TaskClass",
    "TaskTable",
    "bench",
    "compare",
    "get_policy",
    "load",
    "read",
    "scorer",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cerebrum")
    if name not in _HOMES:
        raise AttributeError(f"module 'cerebrum' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
