"""Assigners: which cluster runs which part of a workflow. One a file, its paper inside.

`get_assigner(name)` gives a fresh one. Adding an assigner is a file and a line below. Importing
this module is cheap.
"""

from __future__ import annotations

from typing import Any

from cerebrum.model.protocols import Assigner

ASSIGNERS: dict[str, str] = {
    "auction": "cerebrum.policies.assignment.auction:Auction",
    "cerebrum": "cerebrum.policies.assignment.refined:Refined",
    "heft": "cerebrum.policies.assignment.heft:Heft",
    "pack": "cerebrum.policies.assignment.placement:pack",
    "random": "cerebrum.policies.assignment.placement:random",
    "spread": "cerebrum.policies.assignment.placement:spread",
}
"""Name -> `module:attribute`: a class or function whose parameters are its options."""


def assigner_names() -> list[str]:
    """Every name `get_assigner` knows."""
    return sorted(ASSIGNERS)


def get_assigner(source: Any, **options: Any) -> Assigner:
    """A fresh assigner.

    `source` is a registered name with options if wanted (`cerebrum:effort=2`), a class in a file
    (`./mine.py:MyAssigner`), or an object with `assign`. Raises `UnknownName` with the nearest
    name, or `ConfigError`.
    """
    from cerebrum.policies._make import make

    return make("assigner", ASSIGNERS, "assign", source, options)


__all__ = ["ASSIGNERS", "assigner_names", "get_assigner"]
