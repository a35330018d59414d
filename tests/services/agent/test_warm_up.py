"""Before an agent takes work it decides on something small, in a thread beside its event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from cerebrum.policies import get_policy
from cerebrum.services.agent.placing import warm_up
from tests.services.agent.stage import Stage, play


class Asked:
    """Best fit that counts how often it was asked."""

    name = "asked"

    def __init__(self, *, fails: bool = False) -> None:
        self._inner, self.asked, self.fails = get_policy("best-fit"), 0, fails

    def decide(self, snapshot: Any) -> Any:
        self.asked += 1
        if self.fails:
            raise RuntimeError("a candidate that does not work")
        return self._inner.decide(snapshot)


class TwoSides:
    """As a rollout: what is asked of it is counted, and must be real."""

    name = "two-sides"

    def __init__(self) -> None:
        self.sides = Asked(), Asked(fails=True)

    def decide(self, snapshot: Any) -> Any:
        raise AssertionError("a warm-up was counted as a decision")


def test_the_policy_is_asked_while_tasks_wait_and_after_one_came_back():
    policy = Asked()
    warm_up(policy)
    assert policy.asked >= 2


def test_a_candidate_is_warmed_up_apart_and_may_fail():
    policy = TwoSides()
    warm_up(policy)
    assert [side.asked > 0 for side in policy.sides] == [True, True]


def test_who_asks_for_a_turn_meanwhile_waits_for_it():
    async def story() -> None:
        agent, compiled, done = Stage().start(alone=True), asyncio.Event(), list[str]()

        async def compute(work: Any) -> Any:
            await compiled.wait()
            done.append("compiled")
            return work()

        async def turn() -> None:
            async with agent.ledger.turn():
                done.append("turn")

        await asyncio.sleep(1.0)
        agent._compute = compute
        warming = asyncio.ensure_future(agent.warm_up())
        await asyncio.sleep(1.0)
        turning = asyncio.ensure_future(turn())
        await asyncio.sleep(1.0)
        assert done == []
        compiled.set()
        await asyncio.gather(warming, turning)
        assert done == ["compiled", "turn"]

    play(story)
