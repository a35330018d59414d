"""`/api/v1/rollout`: where a candidate stands beside the baseline, and moving it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field

from cerebrum.policies.learned.guards import REASONS
from cerebrum.policies.learned.ladder import MODES, Standing
from cerebrum.services.api.auth import Caller, Guard, Scope
from cerebrum.services.api.bodies import documented, json_body
from cerebrum.services.api.problems import declared
from cerebrum.services.rollouts import Watched

router = APIRouter(prefix="/api/v1", tags=["policies"])


class Moved(BaseModel):
    """One change of mode: `by` an operator's token or `guard`."""

    unix_s: float
    was: str
    now: str
    by: str
    reason: str


class RolloutReport(BaseModel):
    """A candidate beside a baseline. Counters are since it was first begun here."""

    candidate: str
    baseline: str
    mode: str = Field(description="off, shadow, advise, canary or on")
    share: float = Field(description="Part of the keys that the candidate decides for, in canary.")
    explore: float = Field(description="Part of the choices made at random, in canary and on.")
    answers: int = Field(description="How often the candidate was asked.")
    agreed: int
    differed: int
    elsewhere: int = Field(description="Answers about other tasks than the baseline's.")
    explored: int
    regret: float | None = Field(
        description="Mean score of the baseline's node less the candidate's, over `measured`."
    )
    measured: int
    decided: dict[str, int] = Field(description="Decisions in canary and on, by side.")
    trips: dict[str, int] = Field(description="How often each guard tripped.")
    last_trip: str
    history: list[Moved]


class Move(BaseModel):
    """Where a candidate is to stand from now on."""

    model_config = ConfigDict(strict=True, extra="forbid")
    to: str = Field(
        min_length=1, max_length=40,
        description="up, down (one rung), off, shadow, advise, canary, canary:SHARE or on",
    )  # fmt: skip
    reason: str = Field(default="", max_length=500, description="For the history.")


async def _watched(request: Request) -> Watched:
    return request.app.state.rollout


TheRollout = Annotated[Any, Depends(_watched)]


@router.get(
    "/rollout", dependencies=[Depends(Guard(Scope.VIEWER))],
    responses=declared(307, 400, 401, 403, 404, 422, 500, 503),
)  # fmt: skip
async def get_rollout(watched: TheRollout) -> RolloutReport:
    """Mode, counters, and why the mode changed. 404 where there is no candidate."""
    return RolloutReport(**await watched.rollout_report())


@router.post(
    "/rollout",
    responses=declared(307, 400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 500, 503),
    openapi_extra=documented(Move),
)  # fmt: skip
async def move_rollout(
    watched: TheRollout,
    caller: Annotated[Caller, Depends(Guard(Scope.OPERATOR))],
    body: Annotated[Move, Depends(json_body(Move))],
) -> RolloutReport:
    """Promote or demote the candidate. It is stored when this answers, and holds after restarts."""
    return RolloutReport(**await watched.move_rollout(body.to, caller.name, body.reason))


class RolloutMetrics(Collector):
    """A standing for Prometheus. Labels are modes, sides, outcomes and reasons only."""

    def __init__(self, standing: Callable[[], Standing | None]) -> None:
        self._standing = standing

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client calls."""
        standing = self._standing()
        if standing is None:
            return
        mode = GaugeMetricFamily(
            "cerebrum_rollout_mode", "1 for the mode the candidate is in.", labels=["mode"]
        )
        for name in MODES:
            mode.add_metric([name], float(standing.mode == name))
        yield mode
        about = "Part of the keys that a candidate in canary decides for."
        yield GaugeMetricFamily("cerebrum_rollout_share", about, standing.share)
        about = "How often the candidate was asked."
        yield CounterMetricFamily("cerebrum_rollout_answers", about, standing.answers)
        outcomes = {
            "agreed": standing.agreed, "differed": standing.differed,
            "elsewhere": standing.elsewhere,
        }  # fmt: skip
        yield _counted("compared", "Answers against the baseline's.", "outcome", outcomes)
        yield _counted("decided", "Decisions in canary and on.", "side", standing.decided)
        trips = {reason: standing.trips.get(reason, 0) for reason in REASONS}
        yield _counted("trips", "Guards that tripped.", "reason", trips)
        about = "Choices made at random."
        yield CounterMetricFamily("cerebrum_rollout_explored", about, standing.explored)
        about = "Choices whose regret was measured."
        yield CounterMetricFamily("cerebrum_rollout_measured", about, standing.measured)
        about = "Scores of the baseline's nodes less the candidate's, summed over measured choices."
        yield GaugeMetricFamily("cerebrum_rollout_regret", about, standing.regret)


def _counted(name: str, about: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"cerebrum_rollout_{name}", about, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], float(count))
    return family
