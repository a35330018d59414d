"""A candidate assigner beside a baseline: what it may not do, and whose plan counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cerebrum.model.federation import ClusterView, Decomposition, Link, Network
from cerebrum.policies.assignment import get_assigner
from cerebrum.policies.learned.assigning import AssignerRollout
from cerebrum.policies.learned.guards import Limits
from cerebrum.policies.learned.ladder import Ladder, Standing
from cerebrum.services import wire
from cerebrum.services.controller._specs import workflow_of
from tests.policies.learned.misbehaving import Clock

CLUSTERS = [
    ClusterView(name, 8000, 16_000, largest_cpu_milli=4000, cpu_free_milli=8000) for name in "xyz"
]
NETWORK = Network.uniform(3, Link(0.01, 125.0), Link(0.0005, 1250.0))


def cut() -> Decomposition:
    tasks = [wire.TaskSpec(name=f"t{i}", duration_s=10.0 + i) for i in range(4)]
    spec = wire.WorkflowSpec(name="w", tasks=tasks, dependencies=[])
    return Decomposition(workflow_of(spec), np.arange(4, dtype=np.int32))


class Given:
    """Answers with what `plan` makes of the parts already placed."""

    name = "given"

    def __init__(self, plan: Callable[[Any], Any]) -> None:
        self._plan = plan

    def assign(self, d: Any, c: Any, n: Any, placed: Any = None, key: int = 0) -> Any:
        return self._plan(placed)


def wrapped(plan: Callable[[Any], Any], mode: Any = "on", share: float = 1.0, **more: Any) -> Any:
    return AssignerRollout(
        Given(plan), get_assigner("spread"), Standing(mode, share), ladder=Ladder(10, 10), **more
    )


def plans(policy: Any, placed: Any = None, key: str = "k") -> tuple[list[int], str]:
    plan, side = policy.assign_for(key, cut(), CLUSTERS, NETWORK, placed)
    return plan.tolist(), side


BASELINE = get_assigner("spread").assign(cut(), CLUSTERS, NETWORK).tolist()
WRONG: dict[str, tuple[str, Any]] = {
    "raises": ("raised", lambda placed: 1 / 0),
    "none": ("malformed", lambda placed: None),
    "short": ("malformed", lambda placed: np.zeros(3, np.int32)),
    "fractions": ("malformed", lambda placed: np.full(4, 0.5)),
    "texts": ("malformed", lambda placed: ["x"] * 4),
    "nan": ("not-a-number", lambda placed: np.full(4, np.nan)),
    "too-high": ("out-of-mask", lambda placed: np.full(4, 3)),
    "negative": ("out-of-mask", lambda placed: np.full(4, -2)),
    "moves": ("infeasible", lambda placed: np.full(4, 2)),
    "leaves": ("withheld", lambda placed: np.array([0, -1, -1, -1])),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("mode", ["shadow", "canary", "on"])
def test_each_wrong_plan_trips_its_own_guard_and_the_baseline_decides(name: str, mode: str):
    reason, plan = WRONG[name]
    policy = wrapped(plan, mode)
    placed = np.array([0, -1, -1, -1], np.int32)
    expected = get_assigner("spread").assign(cut(), CLUSTERS, NETWORK, placed).tolist()
    assert plans(policy, placed) == (expected, "baseline")
    assert policy.standing.trips == {reason: 1}


def test_a_late_plan_trips_and_the_first_is_not_measured():
    clock = Clock()

    def slow(placed: Any) -> Any:
        clock.now_s += 5.0
        return np.zeros(4, np.int32)

    policy = wrapped(slow, clock=clock, limits=Limits(deadline_s=0.1))
    assert plans(policy) == ([0] * 4, "candidate")
    assert plans(policy) == (BASELINE, "baseline")
    assert policy.standing.mode == "canary"


def test_the_mode_and_the_key_say_whose_plan_counts():
    one = lambda placed: np.ones(4, np.int32)  # noqa: E731
    assert plans(wrapped(one, "off")) == (BASELINE, "baseline")
    assert plans(wrapped(one, "shadow")) == (BASELINE, "baseline")
    assert plans(wrapped(one, "on")) == ([1] * 4, "candidate")
    policy = wrapped(one, "canary", 0.5)
    sides = {key: plans(policy, key=key)[1] for key in map(str, range(40))}
    assert 8 < sum(side == "candidate" for side in sides.values()) < 32
    again = wrapped(one, "canary", 0.5)
    assert sides == {key: plans(again, key=key)[1] for key in sides}


def test_regret_is_how_much_longer_the_workflow_would_take():
    policy = wrapped(lambda placed: np.zeros(4, np.int32), "shadow")
    plans(policy)
    assert policy.standing.measured == 1
    # Four tasks of 10 to 13 s: spread out they run at once, in one cluster of 8 cores too.
    assert policy.standing.regret >= 0.0
    same = wrapped(lambda placed: np.array(BASELINE), "shadow")
    plans(same)
    assert (same.standing.agreed, same.standing.measured) == (1, 0)
