"""What a task runs: a command with its surroundings and its limits in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cerebrum.model.errors import InputError


@dataclass(frozen=True, slots=True)
class Program:
    """A command line, or a container image with its arguments.

    `command` empty: the image's own entry point, or, without an image, work of the task's duration
    that only passes time. `timeout_s` ends an attempt (inf: never). A failed attempt is repeated up
    to `max_attempts` starts, the k-th repeat after `backoff_s * 2**(k-1)` seconds.
    """

    command: tuple[str, ...] = ()
    image: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    workdir: str = ""
    timeout_s: float = math.inf
    max_attempts: int = 3
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise InputError(f"expected seconds above 0, got {self.timeout_s}").at(
                field="timeout_s"
            )
        if not 1 <= self.max_attempts <= 100:
            raise InputError(f"expected 1..100, got {self.max_attempts}").at(field="max_attempts")
        if not (math.isfinite(self.backoff_s) and self.backoff_s >= 0):
            raise InputError(f"expected finite seconds of at least 0, got {self.backoff_s}").at(
                field="backoff_s"
            )
        for text in (*self.command, *self.env, *self.env.values(), self.workdir, self.image):
            if "\0" in text:
                raise InputError("expected text without NUL").at(field="command")
