"""How an executor is found by name. Adding one is a file and a line below.

`simulated` here is the live executor on a simulated world; the virtual-time simulation of a whole
scenario, `executors/simulated.py`, drives the engine itself and needs no name.
"""

from __future__ import annotations

import inspect
from typing import Any

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.options import refuse_unknown, resolve
from cerebrum.model.protocols import Executor

EXECUTORS: dict[str, str] = {
    "dry_run": "cerebrum.executors.dry_run:DryRun",
    "kubernetes": "cerebrum.executors.kubernetes.runs:KubernetesRuns",
    "local": "cerebrum.executors.local:LocalProcesses",
    "simulated": "cerebrum.executors.simulated_runs:SimulatedRuns",
}
"""Name -> `module:class`."""


def get_executor(name: str, **options: Any) -> Executor:
    """A fresh executor: `get_executor("local", root="runs")`.

    `options` are its class's parameters. Raises `UnknownName` with the nearest name, or
    `ConfigError` naming the option that is unknown or missing.
    """
    if name not in EXECUTORS:
        raise UnknownName("executor", name, EXECUTORS)
    factory = resolve(EXECUTORS[name])
    parameters = inspect.signature(factory).parameters
    refuse_unknown(options, parameters, field=name)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"needs the option {option!r}").at(field=name)
    return factory(**options)
