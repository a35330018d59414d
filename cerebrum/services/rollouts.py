"""One candidate's rollout in one process: made from settings, moved by people, stored by its owner.

Agent and controller own a `Desk` each. What they store of it goes into the transaction of what was
decided, so a demotion is as durable as the decision that caused it; a promotion is stored before it
is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Policy, Scores
from cerebrum.policies.learned.guards import Limits
from cerebrum.policies.learned.ladder import (
    Change,
    Ladder,
    Standing,
    Target,
    parse_target,
)
from cerebrum.services.cutting_off import within

if TYPE_CHECKING:
    from cerebrum.policies.learned.assigning import AssignerRollout

KEY = "rollout"
"""Under which it is stored."""
_log = structlog.get_logger("cerebrum.rollout")


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """`candidate` what the policy is made from (a name, a path); `target` the mode it begins in,
    unless one is stored; `explore` the share of choices made at random; `deadline_s` for an answer;
    `patience_s` how long it may let a task wait that the baseline would start; `judge` the policy
    whose scores measure regret (empty: the baseline, where it has scores)."""

    candidate: str
    target: str = "shadow"
    explore: float = 0.0
    deadline_s: float = 0.1
    patience_s: float = 0.0
    judge: str = ""


class Watched(Protocol):
    """What has a rollout: an agent, a controller."""

    async def rollout_report(self) -> dict[str, Any]:
        """What there is to know. Raises `Refused` 404 where there is no candidate."""
        ...

    async def move_rollout(self, to: str, by: str, reason: str = "") -> dict[str, Any]:
        """Be in another mode, durably; the report then. `to`: up, down or a mode."""
        ...


class Desk:
    """See the module. `clock` measures answers (None: not), `wall` gives Unix seconds.

    `on_change` is called when the mode has changed, to have it stored soon.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        clock: Callable[[], float] | None,
        wall: Callable[[], float],
    ) -> None:
        first = parse_target(settings.target)
        self.settings, self.clock, self.wall = settings, clock, wall
        self.standing = Standing(first.mode, first.share)
        self.limits = Limits(deadline_s=settings.deadline_s, patience_s=settings.patience_s)
        self.ladder = Ladder()
        self.changes: list[Change] = []
        self.on_change: Callable[[], None] = _nobody
        self._stored = -1
        self._assigner: AssignerRollout | None = None

    def policy(self, baseline: str) -> Policy:
        """A wrapper of fresh policies. All that are made here share one standing."""
        from cerebrum.policies import get_policy
        from cerebrum.policies.learned.rollout import beside

        base = get_policy(baseline)
        judge = get_policy(self.settings.judge or baseline)
        if not self.settings.judge and not isinstance(judge, Scores):
            judge = None
        return beside(
            get_policy(self.settings.candidate), base, self.standing, limits=self.limits,
            ladder=self.ladder, clock=self.clock, wall=self.wall, judge=judge,
            explore=self.settings.explore, changed=self.changed, within=within,
        )  # fmt: skip

    def assigner(self, baseline: str) -> AssignerRollout:
        """The wrapper of assigners: which cluster gets a part. One, made when first asked for."""
        from cerebrum.policies.assignment import get_assigner
        from cerebrum.policies.learned.assigning import AssignerRollout

        if self._assigner is None:
            self._assigner = AssignerRollout(
                get_assigner(self.settings.candidate), get_assigner(baseline), self.standing,
                limits=self.limits, ladder=self.ladder, clock=self.clock, wall=self.wall,
                changed=self.changed,
            )  # fmt: skip
        return self._assigner

    # -- storing ----------------------------------------------------------------------------

    def restore(self, record: Mapping[str, Any] | None) -> None:
        """Go on from what was stored, if that was about this candidate."""
        if record is None or record.get("candidate") != self.settings.candidate:
            self._stored = -1
            return
        try:
            self.standing.take_over(Standing.of_record(record["standing"]))
        except (ConfigError, KeyError, TypeError) as problem:
            # Nobody knows what it was allowed to do: nothing, then.
            self.standing.take_over(Standing("off"))
            _log.error("rollout_unreadable", problem=str(problem))
        self._stored = self.standing.seen

    @property
    def unstored(self) -> bool:
        """Whether something happened since `record` was called or `restore` found something."""
        return self.standing.seen != self._stored

    def record(self) -> dict[str, Any]:
        """What is to be stored now; from now on it counts as stored."""
        self._stored = self.standing.seen
        return {"candidate": self.settings.candidate, "standing": self.standing.record()}

    def take_changes(self) -> list[dict[str, Any]]:
        """Changes of mode since the last call, for the history."""
        changes, self.changes = self.changes, []
        return [asdict(change) for change in changes]

    # -- moving -----------------------------------------------------------------------------

    def move(self, to: str, by: str, reason: str = "") -> Change | None:
        """Up or down a rung, or to a mode; None where it is already. Raises `InputError`."""
        change = self.standing.move(self.target(to), by, reason, self.wall())
        if change is not None:
            self.changed(change)
        return change

    def target(self, to: str) -> Target:
        """What `up`, `down` or a mode means now."""
        if to == "up":
            return self.standing.above()
        return self.standing.below(self.ladder) if to == "down" else parse_target(to)

    def changed(self, change: Change) -> None:
        """The mode changed, by whomever."""
        self.changes.append(change)
        say = _log.warning if change.by == "guard" else _log.info
        say("rollout_changed", candidate=self.settings.candidate, **asdict(change))
        self.on_change()

    def report(self, baseline: str) -> dict[str, Any]:
        """For people and HTTP."""
        return {
            "candidate": self.settings.candidate,
            "baseline": baseline,
            "explore": self.settings.explore,
            **self.standing.reported(),
        }


def _nobody() -> None:
    """No one listens."""
