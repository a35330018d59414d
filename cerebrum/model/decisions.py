"""What a policy answers: binds, deferrals, preemptions, rejections - plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bind:
    """Place task `task` on node row `row`, on the GPUs of bit mask `gpus`."""

    task: int
    row: int
    gpus: int = 0
    cache_ways: int = 0


@dataclass(frozen=True, slots=True)
class Defer:
    """Do not look at the task again before `until_s`."""

    task: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Preempt:
    """Stop a running task; it goes back to the queue."""

    task: int


@dataclass(frozen=True, slots=True)
class Reject:
    """Give the task up for good. `reason` holds Refusal bits."""

    task: int
    reason: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell, once, why a task stays in the queue: `reason` holds Refusal bits. No other effect."""

    task: int
    reason: int = 0


Action = Bind | Defer | Preempt | Reject | Wait


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions in the order they are to be carried out; empty means do nothing now.

    Preempt comes before the Bind that needs the room. All members of a gang are bound in one
    decision.
    """

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)


NOTHING = Decision()
