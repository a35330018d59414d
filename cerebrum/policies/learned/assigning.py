"""Safe rollout of an assigner: which cluster gets which part, by a candidate beside a baseline.

Modes, ladder and sides are those of `rollout`; a decision is one workflow's, so there are no scores
to check and no queue to leave alone. What the candidate may not do: raise, take too long, answer
with anything but a cluster for each part, move parts that have one, or leave open what the
baseline places. The regret is the estimated makespan of its plan less the baseline's, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.protocols import Assigner
from cerebrum.policies.learned import guards
from cerebrum.policies.learned.guards import Limits, Trip
from cerebrum.policies.learned.ladder import Changed, Ladder, Standing, unit
from cerebrum.policies.learned.sides import BASELINE, CANDIDATE

Plan = NDArray[np.int32]


class AssignerRollout:
    """See the module. `clock` measures answers (None: deadlines are not kept)."""

    def __init__(
        self,
        candidate: Assigner,
        baseline: Assigner,
        standing: Standing,
        *,
        limits: Limits | None = None,
        ladder: Ladder | None = None,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = lambda: 0.0,
        changed: Changed | None = None,
    ) -> None:
        self.candidate, self.baseline, self.standing = candidate, baseline, standing
        self.name = f"{baseline.name} with candidate {candidate.name}"
        self._limits, self._ladder = limits or Limits(), ladder or Ladder()
        self._clock, self._wall, self._changed = clock, wall, changed
        self._asked = False

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: Plan | None = None,
        key: int = 0,
    ) -> Plan:
        """As an `Assigner`; the number stands for whom the workflow belongs to."""
        return self.assign_for(str(key), decomposition, clusters, network, placed)[0]

    def assign_for(
        self,
        key: str,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: Plan | None = None,
    ) -> tuple[Plan, str]:
        """The plan of the side whose turn it is, for workflows of `key`, and which side that is."""
        standing = self.standing
        ours = self.baseline.assign(decomposition, clusters, network, placed)
        mine = standing.mode == "on" or (standing.mode == "canary" and self.on_side(key))
        theirs = None
        if mine or standing.mode in ("shadow", "advise"):
            theirs = self._ask(decomposition, clusters, network, placed, ours)
        if theirs is not None:
            self._compare(decomposition, clusters, network, ours, theirs)
        side = CANDIDATE if mine and theirs is not None else BASELINE
        if standing.mode in ("canary", "on"):
            standing.decided[side] = standing.decided.get(side, 0) + 1
            standing.seen += 1
        return (theirs, side) if mine and theirs is not None else (ours, side)

    def on_side(self, key: str) -> bool:
        """Whether the candidate decides for this key while it has its share."""
        return unit(self.candidate.name, "side", key) < self.standing.share

    def _ask(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: Plan | None,
        ours: Plan,
    ) -> Plan | None:
        first, self._asked = not self._asked, True  # the first one also compiles
        start_s = self._clock() if self._clock else 0.0
        self.standing.answered()
        try:
            given: object = self.candidate.assign(decomposition, clusters, network, placed)
            took_s = self._clock() - start_s if self._clock and not first else None
            found = np.asarray(given)
            trip = guards.late(took_s, self._limits)
            trip = trip or _wrong(found, len(clusters), placed, ours)
        except guards.FAULTS as bug:
            found, trip = ours, guards.raised(bug)
        if trip is None:
            return found.astype(np.int32)
        change = self.standing.trip(trip, self._ladder, self._wall())
        if change is not None and self._changed is not None:
            self._changed(change)
        return None

    def _compare(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        ours: Plan,
        theirs: Plan,
    ) -> None:
        from cerebrum.policies.decomposition.estimate import Estimate

        standing = self.standing
        same = bool((ours == theirs).all())
        standing.agreed += same
        standing.differed += not same
        if same or (ours < 0).any() or (theirs < 0).any():
            return
        estimate = Estimate(decomposition.workflow, clusters, network)
        spans = [
            estimate.makespan_s(plan[decomposition.part].astype(np.int64))
            for plan in (theirs, ours)
        ]
        if np.isfinite(spans).all():
            standing.regret += spans[0] - spans[1]
            standing.measured += 1


def _wrong(
    found: NDArray[np.generic], clusters: int, placed: Plan | None, ours: Plan
) -> Trip | None:
    """What of a plan cannot be, or is worse than none."""
    if found.shape != ours.shape:
        return Trip("malformed", f"expected {len(ours)} clusters, got {found.dtype} {found.shape}")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        return Trip("not-a-number", "a part's cluster is no number")
    if found.dtype.kind not in "iu":
        return Trip("malformed", f"expected whole numbers, got {found.dtype}")
    numbers = found.astype(np.int64)
    if (numbers < -1).any() or (numbers >= clusters).any():
        return Trip("out-of-mask", f"there are {clusters} clusters, it names {numbers.max()}")
    if placed is not None and (numbers != placed)[placed >= 0].any():
        return Trip("infeasible", "it moves a part that has its cluster")
    if ((numbers < 0) & (ours >= 0)).any():
        return Trip("withheld", "a part could be placed and was left")
    return None
