"""The scorers a profile may name: one line each, imported when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerebrum.engine.compiled import Scorer
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.options import resolve

SCORERS: dict[str, str] = {
    "balanced-allocation": "cerebrum.policies.allocation:balanced_allocation",
    "best-fit": "cerebrum.policies.best_fit:best_fit",
    "constant": "cerebrum.policies.random:constant",
    "dot-product": "cerebrum.policies.dot_product:dot_product",
    "fgd": "cerebrum.policies.fgd:fgd",
    "fgd-original": "cerebrum.policies.fgd:fgd_original",
    "gpu-clustering": "cerebrum.policies.gpu_clustering:gpu_clustering",
    "gpu-packing": "cerebrum.policies.gpu_packing:gpu_packing",
    "least-allocated": "cerebrum.policies.allocation:least_allocated",
    "most-allocated": "cerebrum.policies.allocation:most_allocated",
    "node-affinity": "cerebrum.policies.kubernetes_default:node_affinity",
    "pwr": "cerebrum.policies.pwr:pwr",
    "taint-toleration": "cerebrum.policies.kubernetes_default:taint_toleration",
    "worst-fit": "cerebrum.policies.worst_fit:worst_fit",
}


def get_scorer(name: str, folder: Path | None = None) -> Scorer:
    """A scorer by name (`-` and `_` are the same), or from `file.py:function`.

    One that takes a number has it behind a colon: `fgd-original:8152`.
    """
    from cerebrum.policies import loading

    if loading.names_file(name):
        found = loading.load(name, folder)
        if not isinstance(found, Scorer) and not callable(found):
            raise ConfigError(f"expected a function of 4 arguments, got {found!r}").at(name)
        return own_scorer(found, name.rpartition(":")[2])
    head, colon, argument = name.partition(":")
    known = head.replace("_", "-").lower()
    if known not in SCORERS:
        raise UnknownName("scorer", head, SCORERS)
    found = resolve(SCORERS[known])
    if isinstance(found, Scorer):
        if colon:
            raise ConfigError(f"scorer {head!r} takes no argument, got {argument!r}")
        return found
    if argument and not (argument.isascii() and argument.isdigit()):
        raise ConfigError(f"scorer {head!r} takes a whole number, got {argument!r}")
    return found(int(argument or 0))


def own_scorer(found: Any, name: str) -> Scorer:
    """A user's scorer, compiled at once so that what is wrong with it is said now.

    Raises `ConfigError` for code Numba cannot compile, `UnknownName` for a field that is not there.
    """
    scorer = found if isinstance(found, Scorer) else Scorer(found, name)
    _ = scorer.address
    return scorer
