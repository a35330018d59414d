"""Naive twin of a learned job order: features and network one number at a time, and its queue.

Written from the descriptions in `job_features.SCHEMA` and docs/reference/rlscheduler-protocol.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    submit_s: float
    requested_s: float
    processors: float


@dataclass(frozen=True)
class Holding:
    end_s: float
    processors: float


def features(
    job: Waiting,
    queue: list[Waiting],
    running: list[Holding],
    free: float,
    machine: float,
    now: float,
) -> dict[str, float]:
    """Quantities before scaling, by name."""
    floor = max(job.requested_s, 10.0)
    wait = max(now - job.submit_s, 0.0)
    delay = start_delay(job, running, free, now)
    others = sum(1.0 / max(o.requested_s, 10.0) for o in queue) - 1.0 / floor
    lengths = [math.log(max(o.requested_s, 1.0)) for o in queue]
    return {
        "requested": math.log1p(job.requested_s),
        "processors": math.log1p(job.processors),
        "share": job.processors / machine,
        "waited": math.log1p(wait),
        "slowdown": math.log(max((wait + job.requested_s) / floor, 1.0)),
        "fits": float(job.processors <= free),
        "left": (free - job.processors) / machine,
        "delay": math.log1p(delay),
        "held_up": math.log1p(delay * max(others, 0.0)),
        "occupied": math.log1p(job.requested_s * job.processors / machine * max(others, 0.0)),
        "shorter": math.log(max(job.requested_s, 1.0)) - sum(lengths) / len(lengths),
        "free": free / machine,
        "queue": math.log1p(len(queue)),
        "fitting": sum(o.processors <= free for o in queue) / len(queue),
        "backlog": math.log1p(sum(o.processors * o.requested_s for o in queue) / machine),
        "next_end": math.log1p(max(min(h.end_s for h in running) - now, 0)) if running else 0.0,
    }


def start_delay(job: Waiting, running: list[Holding], free: float, now: float) -> float:
    """Seconds until the job fits if all that runs lasts as long as requested."""
    if job.processors <= free:
        return 0.0
    for held in sorted(running, key=lambda h: h.end_s):
        free += held.processors
        if job.processors <= free:
            return max(held.end_s - now, 0.0)
    return 1e8


def rating(scaled: list[float], inner, bias, outer, direct) -> float:
    """The network's value of one job."""
    total = sum(x * w for x, w in zip(scaled, direct, strict=True))
    for h, (b, o) in enumerate(zip(bias, outer, strict=True)):
        total += o * max(b + sum(x * row[h] for x, row in zip(scaled, inner, strict=True)), 0.0)
    return total
