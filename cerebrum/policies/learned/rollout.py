"""Safe rollout: a candidate beside a baseline, with guards between it and the cluster.

    policy = Rollout(get_policy("learned:NAME"), get_policy("fgd"), Standing("shadow"))

    off      the baseline decides; the candidate is not asked
    shadow   both decide, the baseline's decision counts; what differs is counted and recorded
    advise   as shadow; the candidate's choice is told with the decision (`advice`)
    canary   the candidate decides for a share of the keys, the baseline for the others
    on       the candidate decides

A key is what belongs together (`key_of`): which side it is on is a hash of it, so it is on the same
side in every process, for as long as the share does not shrink. Wherever a guard trips the baseline
decides, so a candidate that raises, dawdles or errs costs no placement; a candidate that does so
often falls down the ladder by itself. It runs in this process: an answer that is late is found out
when it is there.

With `explore` above 0 a part of the single binds of canary and on goes to a node drawn evenly among
those the task fits on, and each record says how probable its choice was (`propensity`), which is
what off-policy evaluation needs (`cerebrum.experiments.off_policy`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import NOTHING, Bind, Decision
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Explanation, Policy, Scores
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned import guards
from cerebrum.policies.learned.feasibility import room_for
from cerebrum.policies.learned.ladder import Changed, Ladder, Standing, unit
from cerebrum.policies.learned.sides import (
    BASELINE,
    CANDIDATE,
    Beside,
    Drawn,
    Once,
    explained,
    joined,
    key_of,
    only_waits,
    plain,
    row_of,
    single,
    starts,
    subject_of,
)
from cerebrum.policies.room import Room

_REMEMBERED = 200


class Rollout:
    """See the module. `standing` may be shared with other wrappers of the same candidate.

    `clock` are seconds that never go back, to measure answers by (None: deadlines are not kept, as
    in a simulation); `wall` Unix seconds for the history. `judge` scores nodes for the regret.
    `record` hears of every `Beside`, `changed` of every change of mode. `within` makes a call, and
    raises `guards.CutOff` in it after so many seconds (default: it takes what it takes). The hash
    of sides and of draws begins with `salt` (default: the candidate's name).
    """

    def __init__(
        self,
        candidate: Policy,
        baseline: Policy,
        standing: Standing | None = None,
        *,
        limits: guards.Limits | None = None,
        ladder: Ladder | None = None,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = lambda: 0.0,
        judge: Policy | None = None,
        explore: float = 0.0,
        key: Callable[[Snapshot, int], str] = key_of,
        salt: str = "",
        record: Callable[[Beside], None] | None = None,
        changed: Changed | None = None,
        within: guards.Within = guards.patiently,
    ) -> None:
        if not 0 <= explore < 1:
            raise ConfigError(f"expected 0 <= explore < 1, got {explore}").at(field="explore")
        if judge is not None and not isinstance(judge, Scores):
            raise ConfigError(f"{judge.name!r} has no scores to measure regret by").at(
                field="judge"
            )
        self.candidate, self.baseline = candidate, baseline
        self.standing = standing or Standing("shadow")
        self.name = f"{baseline.name} with candidate {candidate.name}"
        self.limits, self.ladder = limits or guards.Limits(), ladder or Ladder()
        self.explore, self.salt = explore, salt or candidate.name
        self.noted: Beside | None = None
        self.decider = BASELINE
        self.recent: deque[Beside] = deque(maxlen=_REMEMBERED)
        self._clock, self._wall, self._judge = clock, wall, judge
        self._key, self._record, self._changed, self._within = key, record, changed, within
        self._drift = _drift_of(candidate, self.limits)
        self._engine: object = None
        self._drawn = False

    # -- deciding ---------------------------------------------------------------------------

    @property
    def sides(self) -> tuple[Policy, Policy]:
        """The two policies, for those who make a policy ready."""
        return self.baseline, self.candidate

    def decide(self, snapshot: Snapshot) -> Decision:
        """The decision of the side whose turn it is; the baseline's where a guard trips."""
        self.noted, self.decider, self._drawn = None, BASELINE, False
        match self.standing.mode:
            case "off":
                return self.baseline.decide(snapshot)
            case "shadow" | "advise":
                return self._watched(snapshot)
            case "canary":
                return self._shared(snapshot)
            case "on":
                baseline = Once(self.baseline, snapshot)
                return self._tried(snapshot, baseline, everything=True)

    @property
    def trail(self) -> str:
        """Who made the last decision, in the form that `again` takes."""
        return f"{self.decider}+explore" if self._drawn else self.decider

    @property
    def in_charge(self) -> Policy:
        """The side that made the last decision."""
        return self.candidate if self.decider == CANDIDATE else self.baseline

    @property
    def advice(self) -> str:
        """In advise: where the candidate would have put the task of the last decision, if it would
        have put it elsewhere."""
        last = self.noted
        if last is None or self.standing.mode != "advise" or last.candidate in ("", last.node):
            return ""
        return f"{self.candidate.name} advises {last.candidate}"

    def again(self, snapshot: Snapshot, trail: str) -> Decision:
        """The decision that left this `trail`, for a replay: no guard, nothing is counted."""
        decider, _, drawn = trail.partition("+")
        if decider == CANDIDATE:
            made = guards.clean(self.candidate.decide(snapshot))
        else:
            made = self.baseline.decide(snapshot)
        bind = single(made)
        if not drawn or bind is None:
            return made
        return Decision((self._moved(snapshot, bind, self._draw(snapshot, bind.task)),))

    def _watched(self, snapshot: Snapshot) -> Decision:
        base = self.baseline.decide(snapshot)
        if not base:
            return base
        found, trip = self._ask(snapshot, lambda: base)
        self._note(self._beside(snapshot, base, base, found, trip))
        return base

    def _shared(self, snapshot: Snapshot) -> Decision:
        baseline = Once(self.baseline, snapshot)
        subject = subject_of(baseline(), snapshot)
        if subject < 0:
            return NOTHING
        if self.on_candidates_side(self._key(snapshot, subject)):
            return self._tried(snapshot, baseline, everything=False)
        return self._finished(snapshot, baseline(), baseline(), None, None)

    def _tried(self, snapshot: Snapshot, baseline: Once, *, everything: bool) -> Decision:
        """The candidate's decision if no guard trips and all its tasks are on its side."""
        if everything and not len(snapshot.pending):
            return NOTHING
        found, trip = self._ask(snapshot, baseline)
        chosen = found
        if chosen is not None and not everything and not self._all_mine(snapshot, chosen):
            self.standing.elsewhere += 1
            chosen = None
        if chosen is None or not (chosen or (everything and self._stands(baseline()))):
            return self._finished(snapshot, baseline(), baseline(), found, trip)
        self.decider = CANDIDATE
        return self._finished(snapshot, chosen, baseline.made, found, trip)

    def _stands(self, base: Decision) -> bool:
        """Whether an empty answer that tripped nothing is the decision: it leaves what the baseline
        would start, within `patience_s`; or the head of its queue waits, and the baseline would
        tell another one to. In canary it never does: the baseline's side would wait along."""
        keeps_head = bool(getattr(self.candidate, "keeps_head", False))
        return starts(base) or (keeps_head and only_waits(base))

    def _ask(
        self, snapshot: Snapshot, baseline: Callable[[], Decision]
    ) -> tuple[Decision | None, guards.Trip | None]:
        """The candidate's answer, or what tripped."""
        given, took_s, trip = self._timed(snapshot, lambda: self.candidate.decide(snapshot))
        answer = guards.Answer(
            snapshot, self.candidate, given, took_s, self.limits, baseline, self._drift
        )
        trip = trip or self._judged(answer)
        return (None, self._trip(trip)) if trip is not None else (answer.decision, None)

    def _judged(self, answer: guards.Answer) -> guards.Trip | None:
        """The guards ask the candidate too: for its scores, for its features."""
        try:
            return self._within(self.limits.first_s, lambda: guards.judge(answer))
        except guards.CutOff as bug:
            return guards.raised(bug)

    def _timed(
        self, snapshot: Snapshot, ask: Callable[[], object]
    ) -> tuple[object, float | None, guards.Trip | None]:
        """The answer, and the seconds it took. The first on an engine is not measured: what
        compiles and what is remembered of each node is made then."""
        first, self._engine = self._engine is not snapshot.state, snapshot.state
        clock, limits = None if first else self._clock, self.limits
        self.standing.answered()
        start_s = clock() if clock is not None else 0.0
        try:
            given = self._within(limits.first_s if first else 10 * limits.deadline_s, ask)
        except guards.FAULTS as bug:
            return None, None, guards.raised(bug)
        return given, clock() - start_s if clock is not None else None, None

    def _trip(self, trip: guards.Trip) -> guards.Trip:
        change = self.standing.trip(trip, self.ladder, self._wall())
        if change is not None and self._changed is not None:
            self._changed(change)
        return trip

    # -- sides ------------------------------------------------------------------------------

    def on_candidates_side(self, key: str) -> bool:
        """Whether the candidate decides for this key while it has its share."""
        return unit(self.salt, "side", key) < self.standing.share

    def _all_mine(self, snapshot: Snapshot, decision: Decision) -> bool:
        keys = {self._key(snapshot, action.task) for action in decision.actions}
        return all(map(self.on_candidates_side, keys))

    def _in_charge(self, snapshot: Snapshot, task: int) -> bool:
        mode = self.standing.mode
        return mode == "on" or (
            mode == "canary" and self.on_candidates_side(self._key(snapshot, task))
        )

    # -- exploring and recording ------------------------------------------------------------

    def _finished(
        self,
        snapshot: Snapshot,
        chosen: Decision,
        base: Decision | None,
        found: Decision | None,
        trip: guards.Trip | None,
    ) -> Decision:
        """Explore, count and record; what is to be carried out."""
        if not chosen and trip is None:
            return chosen
        self.standing.decided[self.decider] = self.standing.decided.get(self.decider, 0) + 1
        beside = self._beside(snapshot, chosen, base, found, trip)
        if self.explore and (bind := single(chosen)) is not None:
            chosen, beside = self._explored(snapshot, bind, beside)
        if beside.candidate or beside.nodes or trip is not None:
            self._note(beside)
        return chosen

    def _explored(self, snapshot: Snapshot, bind: Bind, beside: Beside) -> tuple[Decision, Beside]:
        drawn = self._draw(snapshot, bind.task)
        made, self._drawn = self._moved(snapshot, bind, drawn), True
        self.standing.explored += drawn.row >= 0
        even, greedy = self.explore / drawn.of, 1.0 - self.explore
        node, other = snapshot.node_names[made.row], math.nan
        if beside.candidate:
            other = even + (greedy if node == beside.candidate else 0.0)
        return Decision((made,)), replace(
            beside, node=node, propensity=even + (greedy if made.row == bind.row else 0.0),
            candidate_propensity=other, nodes=drawn.of,
        )  # fmt: skip

    def _draw(self, snapshot: Snapshot, task: int) -> Drawn:
        """The node that chance gives a task in this attempt, if it gives it one."""
        rows = np.flatnonzero((snapshot.refusals(task) == 0) & snapshot.usable)
        name, attempt = snapshot.task_names[task], int(snapshot.tasks.attempts[task])
        draw = (self.salt, snapshot.key, name, attempt)
        if not unit("explore", *draw) < self.explore:
            return Drawn(-1, len(rows))
        return Drawn(int(rows[int(unit("node", *draw) * len(rows))]), len(rows))

    def _moved(self, snapshot: Snapshot, bind: Bind, drawn: Drawn) -> Bind:
        if drawn.row in (-1, bind.row):
            return bind
        return Room(snapshot).bind(bind.task, drawn.row)

    def _beside(
        self,
        snapshot: Snapshot,
        chosen: Decision,
        base: Decision | None,
        found: Decision | None,
        trip: guards.Trip | None,
    ) -> Beside:
        task = subject_of(chosen, snapshot)
        ours, theirs = row_of(base, task), row_of(found, task)
        regret = self._compare(snapshot, task, base, found, ours, theirs)
        names = snapshot.node_names
        final = row_of(chosen, task)
        return Beside(
            snapshot.time_s, plain(snapshot.task_names[task]), self._key(snapshot, task),
            self.standing.mode, self.decider,
            names[ours] if ours >= 0 else "", names[theirs] if theirs >= 0 else "",
            names[final] if final >= 0 else "", "" if trip is None else trip.reason, regret,
        )  # fmt: skip

    def _compare(
        self,
        snapshot: Snapshot,
        task: int,
        base: Decision | None,
        found: Decision | None,
        ours: int,
        theirs: int,
    ) -> float:
        """Count an agreement or a difference; the regret of the latter, NaN if not measured."""
        standing = self.standing
        if not base or found is None:
            return math.nan
        if ours < 0 or theirs < 0:
            standing.agreed += base == found
            standing.elsewhere += base != found
            return math.nan
        standing.agreed += ours == theirs
        standing.differed += ours != theirs
        if not isinstance(self._judge, Scores) or ours == theirs:
            return math.nan
        totals = self._judge.totals(snapshot, task)
        regret = float(totals[ours] - totals[theirs])
        if math.isfinite(regret):
            standing.regret += regret
            standing.measured += 1
        return regret

    def _note(self, beside: Beside) -> None:
        self.noted = beside
        self.recent.append(beside)
        if self._record is not None:
            self._record(beside)

    # -- explaining -------------------------------------------------------------------------

    def explain(self, snapshot: Snapshot, task: int) -> Explanation:
        """The table of the side in charge of the task; the note says what the other would do."""
        base = explained(self.baseline, snapshot, task)
        if self.standing.mode == "off":
            return base
        mine = self._in_charge(snapshot, task)
        try:
            other = explained(self.candidate, snapshot, task)
        except guards.FAULTS as bug:
            return replace(base, note=joined(base.note, f"the candidate: {guards.raised(bug)}"))
        shown, beside = (other, base) if mine else (base, other)
        if shown.winner == beside.winner:
            note = "baseline and candidate agree"
        else:
            whose = self.baseline.name if mine else self.candidate.name
            where = snapshot.node_names[beside.winner] if beside.winner >= 0 else "nowhere"
            side = BASELINE if mine else CANDIDATE
            note = f"the {side} {whose} would choose {where}"
        return replace(shown, note=joined(shown.note, note))


class ScoringRollout(Rollout):
    """A `Rollout` whose baseline says what nodes are worth; so does the side in charge."""

    def totals(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """float64[rows] of the side in charge of the task; -inf where it does not fit.

        The candidate's scores count where they are numbers of the right shape; in shadow and advise
        only its first choice is compared.
        """
        base = _scores(self.baseline).totals(snapshot, task)
        mode = self.standing.mode
        mine = self._in_charge(snapshot, task)
        if not mine and mode not in ("shadow", "advise"):
            return base
        found = self._scored(snapshot, task, base)
        if found is None:
            return base
        fits = np.isfinite(base)
        if fits.any():
            ours, theirs = int(np.argmax(base)), int(np.argmax(found))
            self.standing.agreed += ours == theirs
            self.standing.differed += ours != theirs
        return found if mine else base

    def gpus_on(self, snapshot: Snapshot, task: int, row: int) -> int:
        """A mask by the side in charge; -1 where the node lacks room."""
        base = _scores(self.baseline).gpus_on(snapshot, task, row)
        if base < 0 or not self._in_charge(snapshot, task):
            return base
        if not isinstance(self.candidate, Scores):
            return base
        try:
            found = int(self.candidate.gpus_on(snapshot, task, row))
        except guards.FAULTS as bug:
            self._trip(guards.raised(bug))
            return base
        return found if room_for(snapshot, task, row, found) else base

    def _scored(
        self, snapshot: Snapshot, task: int, base: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        if not isinstance(self.candidate, Scores):
            return None
        scores = self.candidate
        given, took_s, trip = self._timed(snapshot, lambda: scores.totals(snapshot, task))
        found = np.asarray(given)
        trip = trip or guards.late(took_s, self.limits) or guards.unscored(found, snapshot)
        if trip is not None:
            self._trip(trip)
            return None
        return np.where(np.isfinite(base), found.astype(np.float64), -np.inf)


def beside(candidate: Policy, baseline: Policy, *given: Any, **more: Any) -> Rollout:
    """The wrapper that can do what the baseline can."""
    kind = ScoringRollout if isinstance(baseline, Scores) else Rollout
    return kind(candidate, baseline, *given, **more)


def _drift_of(candidate: Policy, limits: guards.Limits) -> guards.Drift | None:
    if not isinstance(candidate, guards.Features) or candidate.usual is None:
        return None
    return guards.Drift(candidate.usual, limits.window)


def _scores(policy: Policy) -> Scores:
    assert isinstance(policy, Scores)
    return policy
