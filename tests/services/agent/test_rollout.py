"""A candidate in a living agent: its mode outlives it, its errors cost nothing, replays agree."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cerebrum.services.agent.replaying import replay
from cerebrum.services.errors import Refused, StoreUnavailable
from cerebrum.services.rollouts import RolloutSettings
from tests.services.agent.stage import PowerCut, Stage, play, task

MAD = """
class Mad:
    name = "mad"
    def decide(self, snapshot):
        raise ZeroDivisionError("mad")
"""
OFTEN = """
from cerebrum.policies import get_policy
class Often:
    name = "often"
    def __init__(self):
        self.policy = get_policy("worst-fit")
    def decide(self, snapshot):
        decision = self.policy.decide(snapshot)
        if decision and decision.actions[0].task % 7 == 3:
            raise ZeroDivisionError
        return decision
"""


ALONE = """
from cerebrum.model.decisions import Decision
from cerebrum.policies import get_policy
class Alone:
    name = "alone"
    def __init__(self):
        self.policy = get_policy("best-fit")
    def decide(self, snapshot):
        return Decision() if len(snapshot.running) else self.policy.decide(snapshot)
"""


def staged(candidate: str, target: str, explore: float = 0.0, **more: Any) -> Stage:
    return Stage(rollout=RolloutSettings(candidate, target, explore), **more)


def stored(stage: Stage) -> dict[str, Any]:
    """What is on disk of the rollout."""
    rows = {row["key"]: row["value"] for row in stage.disk.rows("meta")}
    return json.loads(rows["rollout"])["standing"]


def offer(stage: Stage, count: int = 12, first: int = 0) -> None:
    sizes = [task(f"t{i}", 3, cpu_milli=500 + 500 * (i % 4)) for i in range(first, first + count)]
    stage.controller.offer(f"a{first}", *sizes)


@pytest.mark.parametrize("target", ["shadow", "advise", "canary:0.5", "on"])
def test_a_candidate_that_raises_costs_no_task_and_is_demoted_durably(target: str, tmp_path: Path):
    (tmp_path / "mad.py").write_text(MAD)

    async def story() -> None:
        stage = staged(f"{tmp_path}/mad.py:Mad", target)
        agent = stage.start()
        offer(stage, 30)
        await stage.until(lambda: len(stage.controller.ends()) == 30)
        assert {end[0][0] for end in stage.controller.ends().values()} == {"succeeded"}
        if target != "canary:0.5":  # w, the workflow, may be the baseline's there
            assert stored(stage)["mode"] == ("canary" if target == "on" else "off")
            kinds = [data for _, _, data in stage.disk.events("rollout_changed")]
            assert kinds[0]["was"] == target
            assert "ZeroDivisionError: mad" in kinds[0]["reason"]
            assert (await agent.rollout_report())["trips"]["raised"] >= 5
        await stage.kill()

    play(story)


@pytest.mark.parametrize(("patience_s", "together"), [(1e6, 1), (0.0, 2)])
def test_patience_lets_a_candidate_hold_back(patience_s: float, together: int, tmp_path: Path):
    (tmp_path / "alone.py").write_text(ALONE)

    async def story() -> None:
        stage = Stage(
            rollout=RolloutSettings(f"{tmp_path}/alone.py:Alone", "on", patience_s=patience_s)
        )
        agent = stage.start()
        stage.controller.offer("a", *[task(f"t{i}", 3) for i in range(4)])
        most = 0
        while len(stage.controller.ends()) < 4:
            states = [stage.disk.state(f"w/t{i}") for i in range(4)]
            most = max(most, states.count("running"))
            await asyncio.sleep(0.5)
        assert (most > 1) == (together > 1)
        trips = (await agent.rollout_report())["trips"]
        assert (trips["withheld"] > 0) == (together > 1)
        await stage.kill()

    play(story)


def test_the_mode_and_its_counters_outlive_the_agent():
    async def story() -> None:
        stage = staged("worst-fit", "shadow")
        agent = stage.start()
        offer(stage)
        await stage.until(lambda: len(stage.controller.ends()) == 12)
        before = await agent.move_rollout("canary:0.3", "ann", "looks good")
        assert (before["mode"], before["share"]) == ("canary", 0.3)
        await stage.kill()  # at once: what was answered is on disk
        agent = stage.start()
        await agent.status()
        after = await agent.rollout_report()
        assert after == before
        assert after["answers"] > 0
        last = after["history"][-1]
        assert (last["was"], last["by"], last["reason"]) == ("shadow", "ann", "looks good")
        await stage.kill()

    play(story)


def test_another_candidate_begins_where_the_settings_say():
    async def story() -> None:
        stage = staged("worst-fit", "shadow")
        await stage.start().move_rollout("on", "ann")
        await stage.kill()
        stage.rollout = RolloutSettings("first-fit", "advise")
        agent = stage.start()
        await agent.status()
        assert (await agent.rollout_report())["mode"] == "advise"
        await stage.kill()

    play(story)


@pytest.mark.parametrize("committed", [False, True])
def test_a_promotion_whose_answer_never_came_is_wholly_there_or_not_at_all(committed: bool):
    async def story() -> None:
        stage = staged("worst-fit", "shadow")
        agent = stage.start(alone=True)
        await asyncio.sleep(1)
        stage.disk.cut, stage.disk.committed = stage.disk.writes + 1, committed
        with pytest.raises(PowerCut):
            await agent.move_rollout("on", "ann")
        await stage.kill()
        stage.disk.cut = 0
        agent = stage.start()
        await agent.status()
        assert (await agent.rollout_report())["mode"] == ("on" if committed else "shadow")
        await stage.kill()

    play(story)


def test_a_promotion_that_could_not_be_stored_does_not_hold():
    async def story() -> None:
        stage = staged("worst-fit", "shadow")
        agent = stage.start()
        await agent.status()
        stage.disk.full = True
        with pytest.raises(StoreUnavailable):
            await agent.move_rollout("on", "ann")
        stage.disk.full = False
        await agent.status()
        assert (await agent.rollout_report())["mode"] == "shadow"
        await stage.kill()

    play(story)


def test_a_damaged_record_switches_the_candidate_off():
    async def story() -> None:
        stage = staged("worst-fit", "on")
        agent = stage.start()
        await agent.status()
        async with agent.ledger.turn():
            agent.ledger.set("rollout", {"candidate": "worst-fit", "standing": {"mode": "maybe"}})
        await stage.kill()
        agent = stage.start()
        await agent.status()
        assert (await agent.rollout_report())["mode"] == "off"
        await stage.kill()

    play(story)


def test_who_has_no_candidate_has_no_rollout():
    async def story() -> None:
        stage = Stage()
        agent = stage.start()
        with pytest.raises(Refused, match="candidate"):
            await agent.rollout_report()
        await stage.kill()

    play(story)


@pytest.mark.parametrize("target", ["shadow", "advise", "canary:0.5", "on"])
def test_a_live_journal_of_two_sides_is_decided_the_same_again(target: str, tmp_path: Path):
    (tmp_path / "often.py").write_text(OFTEN)

    async def story() -> None:
        stage = staged(f"{tmp_path}/often.py:Often", target, explore=0.3)
        agent = stage.start()
        for first in range(0, 40, 8):
            offer(stage, 8, first)
            await asyncio.sleep(4)
        await agent.move_rollout("on", "ann")
        offer(stage, 8, 40)
        await stage.until(lambda: len(stage.controller.ends()) == 48)
        await stage.kill()
        found = await replay(stage.disk)
        assert found.differences == ()
        assert found.decisions >= 48

    play(story)


def test_the_history_of_a_task_says_what_both_sides_chose_and_how_probable_it_was():
    async def story() -> None:
        stage = staged("worst-fit", "on", explore=0.5)
        stage.start()
        offer(stage, 20)
        await stage.until(lambda: len(stage.controller.ends()) == 20)
        noted = [data["rollout"] for _, _, data in stage.disk.events("bound")]
        assert len(noted) == 20
        for one in noted:
            assert one["decider"] == "candidate"
            assert one["candidate"] in ("n0", "n1")
            assert one["propensity"] in (0.25, 0.75) or one["nodes"] == 1
        await stage.kill()

    play(story)


@pytest.mark.parametrize("code", [MAD, MAD.replace("ZeroDivisionError", "RuntimeError"), OFTEN])
def test_warming_up_counts_nothing_and_survives_the_candidate(code: str, tmp_path: Path):
    (tmp_path / "mad.py").write_text(code)
    name = "Often" if code is OFTEN else "Mad"

    async def story() -> None:
        stage = staged(f"{tmp_path}/mad.py:{name}", "on")
        agent = stage.start(alone=True)
        await agent.status()
        before = await agent.rollout_report()
        await agent.warm_up()
        assert await agent.rollout_report() == before
        assert before["answers"] == 0
        await stage.kill()

    play(story)


def test_advice_is_told_with_the_placement():
    async def story() -> None:
        stage = staged("worst-fit", "advise")
        stage.start()
        offer(stage, 12)
        await stage.until(lambda: len(stage.controller.ends()) == 12)
        reasons = [data["reason"] for _, _, data in stage.disk.events("bound")]
        assert any("; worst-fit advises n" in reason for reason in reasons)
        assert all(reason.startswith("best-fit: ") for reason in reasons)
        await stage.kill()

    play(story)
