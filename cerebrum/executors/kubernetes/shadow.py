"""Shadow mode: we decide for another scheduler's pods, bind nothing, and compare.

A decision waits for what the other scheduler does. *Agreed* is the same node; *regret* is how much
less their node was worth than ours by the policy's own score, at the time of our decision: 0 when
the policy sees no difference. Scoring every node for the record costs time, so regret is measured
on a sample that takes at most a twentieth of the loop's time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from cerebrum.executors.kubernetes.mirror import Held, Mirror
from cerebrum.model.protocols import Explains

_SHARE = 20
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pod. `regret` NaN where it was not measured."""

    namespace: str
    name: str
    ours: str
    theirs: str
    regret: float = float("nan")


@dataclass(slots=True)
class _Choice:
    node: str
    decided_s: float
    scores: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class Shadow:
    """What came of our decisions: `only_ours` were not placed by the other scheduler in a minute,
    `only_theirs` placed by it though we found no node. `regret` sums over `measured` pods."""

    clock: Callable[[], float]
    agreed: int = 0
    differed: int = 0
    only_ours: int = 0
    only_theirs: int = 0
    measured: int = 0
    regret: float = 0.0
    _choices: dict[str, _Choice] = field(default_factory=dict[str, _Choice])
    _not_before: float = -math.inf
    log: deque[Comparison] = field(default_factory=lambda: deque[Comparison](maxlen=1000))

    @property
    def agreement(self) -> float:
        """Share of pods that both placed on the same node; NaN before the first."""
        both = self.agreed + self.differed
        return self.agreed / both if both else float("nan")

    def deciding(self, mirror: Mirror, task: int, node: str) -> None:
        """We chose a node; what is in the engine is as it was for the decision."""
        held = mirror.by_task[task]
        scores = self._scores(mirror, task) if self.clock() >= self._not_before else {}
        self._choices[held.pod.uid] = _Choice(node, self.clock(), scores)

    def _scores(self, mirror: Mirror, task: int) -> dict[str, float]:
        policy = mirror.recorded.policy
        if not isinstance(policy, Explains):
            return {}
        start_s = perf_counter()
        snapshot = mirror.recorded.engine.snapshot()
        rows = policy.explain(snapshot, task).rows
        scores = {snapshot.node_names[r.row]: r.total for r in rows if not r.refusals}
        self._not_before = self.clock() + _SHARE * (perf_counter() - start_s)
        return scores

    def settled(self, held: Held, theirs: str) -> None:
        """The other scheduler placed a pod."""
        choice = self._choices.pop(held.pod.uid, None)
        if choice is None:
            self.only_theirs += 1
            return
        regret = float("nan")
        if choice.node == theirs:
            self.agreed += 1
        else:
            self.differed += 1
        if choice.node in choice.scores and theirs in choice.scores:
            regret = choice.scores[choice.node] - choice.scores[theirs]
            self.measured += 1
            self.regret += regret
        self.log.append(Comparison(held.pod.namespace, held.pod.name, choice.node, theirs, regret))

    def forget(self, held: Held) -> None:
        """The pod is gone."""
        self._choices.pop(held.pod.uid, None)

    def overdue(self) -> list[str]:
        """Uids of pods that the other scheduler has not placed for long: our claim is void."""
        limit_s = self.clock() - _PATIENCE_S
        late = [uid for uid, choice in self._choices.items() if choice.decided_s < limit_s]
        for uid in late:
            del self._choices[uid]
            self.only_ours += 1
        return late
