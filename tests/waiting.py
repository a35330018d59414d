"""Waiting for what other processes come to, without saying how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0


def wait_until(
    holds: Callable[[], Any],
    what: str = "what was waited for",
    patience_s: float = PATIENCE_S,
    every_s: float = 0.05,
) -> Any:
    """Ask until the answer is true, and give it; `AssertionError` says what never came to be."""
    deadline = time.monotonic() + patience_s
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(every_s)
    return answer
