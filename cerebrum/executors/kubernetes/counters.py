"""What the scheduler counts of itself, for whoever exports it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

_BOUNDS_S = tuple(m * 10.0**e for e in range(-5, 2) for m in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


@dataclass(slots=True)
class Histogram:
    """Durations in buckets; `counts[i]` those of at most `bounds_s[i]`, the last one all above."""

    bounds_s: tuple[float, ...] = _BOUNDS_S
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_S) + 1))
    sum_s: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds
        self.count += 1


@dataclass(slots=True)
class Counters:
    """Totals since the start, but for the gauges.

    `attempts` decisions about a pod, `unschedulable` those without a node; `binds`, `conflicts`
    (409), `elsewhere` (bound by somebody else), `gone`, `refused` outcomes of bind requests;
    `decision_s` time the policy took, `decision_cpu_s` without what
    other processes and threads took meanwhile, `bind_s` from decision to the API server's answer,
    `waited_s` from when we first saw a pod to its bind. Gauges, as of `PodScheduler.counted`:
    `queued`, `aside`, `assumed`, `nominated`, `nodes`, `pods`, `events_dropped`,
    `reports_waiting`, `stale_s` age of the oldest informer.
    """

    attempts: int = 0
    unschedulable: int = 0
    binds: int = 0
    conflicts: int = 0
    elsewhere: int = 0
    gone: int = 0
    refused: int = 0
    preemptions: int = 0
    victims: int = 0
    policy_errors: int = 0
    unreadable: int = 0
    decision_s: Histogram = field(default_factory=Histogram)
    decision_cpu_s: Histogram = field(default_factory=Histogram)
    bind_s: Histogram = field(default_factory=Histogram)
    waited_s: Histogram = field(default_factory=Histogram)
    queued: int = 0
    aside: int = 0
    assumed: int = 0
    nominated: int = 0
    nodes: int = 0
    pods: int = 0
    events_dropped: int = 0
    reports_waiting: int = 0
    stale_s: float = 0.0
