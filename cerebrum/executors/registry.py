"""How an executor is found by name. Adding one is a file and a line below.

`simulated` here is the live executor on a simulated world; the virtual-time simulation of a whole
scenario, `executors/simulated.py`, drives the engine itself and needs no name.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from cerebrum.model.errors import ConfigError, UnknownName, nearest
from cerebrum.model.protocols import Executor

EXECUTORS: dict[str, str] = {
    "dry_run": "cerebrum.executors.dry_run:DryRun",
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
    module, _, attribute = EXECUTORS[name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(factory).parameters
    for option in options:
        if option not in parameters:
            near = nearest(option, parameters)
            hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(parameters)}"
            raise ConfigError(f"no option {option!r}: {hint}").at(field=name)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"needs the option {option!r}").at(field=name)
    return factory(**options)
