"""What the leader knows of its clusters, for people and for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from cerebrum.model.federation import ClusterView
from cerebrum.services.controller._context import Context


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster at this moment. `silent_s` seconds since its agent was heard; `tasks` unended ones
    it was given; `waiting`, `running` as the agent says."""

    view: ClusterView
    state: str
    cordoned: bool
    silent_s: float
    tasks: int
    waiting: int
    running: int
    url: str
    version: str


def cluster_statuses(context: Context) -> list[ClusterStatus]:
    """Every registered cluster, by name."""
    now_s = context.clock.monotonic_s()
    return [
        ClusterStatus(
            view=session.view(),
            state="lost" if session.lost else "live",
            cordoned=session.cordoned,
            silent_s=max(0.0, now_s - session.seen_s),
            tasks=session.backlog.tasks,
            waiting=session.waiting,
            running=session.running,
            url=session.url,
            version=session.version,
        )
        for _, session in sorted(context.sessions.items())
    ]
