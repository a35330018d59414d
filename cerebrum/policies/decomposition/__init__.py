"""Decomposers: how a workflow is cut into parts that clusters run. One a file, its paper inside.

`get_decomposer(name)` gives a fresh one, `report` the figures of what it made. Adding a decomposer
is a file and a line below. Importing this module is cheap.
"""

from __future__ import annotations

from typing import Any

from cerebrum.model.protocols import Decomposer

DECOMPOSERS: dict[str, str] = {
    "cerebrum": "cerebrum.policies.decomposition.partitioner:Partitioner",
    "levels": "cerebrum.policies.decomposition.levels:Levels",
    "louvain": "cerebrum.policies.decomposition.louvain:Louvain",
    "whole": "cerebrum.policies.decomposition.whole:Whole",
}
"""Name -> `module:attribute`: a class whose parameters are its options."""


def decomposer_names() -> list[str]:
    """Every name `get_decomposer` knows."""
    return sorted(DECOMPOSERS)


def get_decomposer(source: Any, **options: Any) -> Decomposer:
    """A fresh decomposer.

    `source` is a registered name with options if wanted (`louvain:resolution=1`), a class in a file
    (`./mine.py:MyDecomposer`), or an object with `decompose`. Raises `UnknownName` with the nearest
    name, or `ConfigError`.
    """
    from cerebrum.policies._make import make

    return make("decomposer", DECOMPOSERS, "decompose", source, options)


__all__ = ["DECOMPOSERS", "decomposer_names", "get_decomposer"]
