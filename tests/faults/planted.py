"""Mistakes planted in production code, each one that somebody could really make.

The checker has to find every one of them: `python -m tests.faults.hunting` says in how many seeds.
A judge that lets a planted bug pass would let a real one pass as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

Patch = Callable[[Any, str, Any], None]
Plant = Callable[[Patch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted mistake: what is wrong, and how it gets there."""

    name: str
    mistake: str
    plant: Plant

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """Production code with this mistake in it."""
        with contextlib.ExitStack() as stack:

            def patch(owner: Any, name: str, wrong: Any) -> None:
                stack.enter_context(mock.patch.object(owner, name, wrong))

            self.plant(patch)
            yield


BUGS: dict[str, Bug] = {}


def bug(plant: Plant) -> Plant:
    """Register a mistake under the name of its function; the docstring says what is wrong."""
    name = plant.__name__.replace("_", "-")
    BUGS[name] = Bug(name, (plant.__doc__ or "").strip(), plant)
    return plant
