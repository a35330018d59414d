"""A candidate in the pod scheduler and in the extender: whatever it does, pods get their nodes."""

from __future__ import annotations

from typing import Any

import pytest

from cerebrum.executors.kubernetes import recorded
from cerebrum.policies import get_policy
from cerebrum.policies.learned.ladder import Ladder, Standing
from cerebrum.policies.learned.rollout import Rollout, beside
from tests.executors.kubernetes import stage
from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import scheduling, until
from tests.executors.kubernetes.test_extender import scores, theirs
from tests.executors.kubernetes.test_scheduler import play


class Mad:
    """Raises, whatever it is asked."""

    name = "mad"

    def decide(self, snapshot: Any) -> Any:
        raise ZeroDivisionError("mad")

    def totals(self, snapshot: Any, task: int) -> Any:
        raise ZeroDivisionError("mad")

    def gpus_on(self, snapshot: Any, task: int, row: int) -> int:
        raise ZeroDivisionError("mad")


@pytest.fixture(autouse=True)
def _objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """`scheduling` takes a policy as it is."""
    given = stage._policy
    monkeypatch.setattr(stage, "_policy", lambda p: p if isinstance(p, Rollout) else given(p))


def wrapped(candidate: Any, mode: Any) -> Any:
    return beside(candidate, get_policy("best-fit"), Standing(mode, 1.0), ladder=Ladder(3, 10))


@pytest.mark.parametrize("mode", ["shadow", "canary", "on"])
def test_pods_are_bound_although_the_candidate_raises(mode: str) -> None:
    policy = wrapped(Mad(), mode)

    async def story(api: FakeApi) -> None:
        for name in ("n1", "n2"):
            api.node(name, cpu="16")
        async with scheduling(api, policy) as scheduler:
            for i in range(12):
                api.put("/api/v1/pods", api.pod(f"p{i}"))
            await until(lambda: all(api.where().values()) and len(api.where()) == 12)
            assert scheduler.counters.policy_errors == 0

    play(story)
    # From on it falls to a tenth of the namespaces, which does not include the pods' own.
    assert policy.standing.mode == ("canary" if mode == "on" else "off")
    assert policy.standing.trips["raised"] >= 3


@pytest.mark.parametrize(("mode", "first"), [("off", "a"), ("shadow", "a"), ("on", "b")])
def test_the_stock_scheduler_hears_the_scores_of_the_side_in_charge(mode: str, first: str) -> None:
    policy = wrapped(get_policy("worst-fit"), mode)

    async def story(api: FakeApi) -> None:
        api.node("a", cpu="4")
        api.node("b", cpu="16")
        async with scheduling(api, policy, mode="off") as scheduler:
            found = scores(scheduler.extender, theirs(api, "p"), "a", "b")
            assert max(found, key=found.__getitem__) == first

    play(story)
    if mode == "shadow":
        assert policy.standing.differed == 1


def test_the_stock_scheduler_hears_the_baseline_where_the_candidate_raises() -> None:
    policy = wrapped(Mad(), "on")

    async def story(api: FakeApi) -> None:
        api.node("a", cpu="4")
        api.node("b", cpu="16")
        async with scheduling(api, policy, mode="off") as scheduler:
            assert scores(scheduler.extender, theirs(api, "p"), "a", "b")["a"] == 10

    play(story)
    assert policy.standing.trips == {"raised": 1}


def test_warming_up_asks_the_baseline_and_counts_nothing() -> None:
    policy = wrapped(Mad(), "on")
    recorded.warm_up(policy)
    assert policy.standing.record() == Standing("on", 1.0).record()
