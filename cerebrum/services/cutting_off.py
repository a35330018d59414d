"""Ending a call that does not end: an alarm of the operating system, raised inside of it.

For candidates written in Python, called in the main thread, which is where an agent's event loop
runs. In other threads, and where there are no alarms, a call takes as long as it takes; and nothing
interrupts a compiled kernel before it returns.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from cerebrum.policies.learned.guards import CutOff

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of `call`. Raises `CutOff` in the middle of it after `seconds`."""
    able = hasattr(signal, "setitimer")
    if not able or threading.current_thread() is not threading.main_thread():
        return call()
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:  # once: what comes after the call must not be hit
            armed = False
            raise CutOff(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
