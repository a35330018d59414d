"""Stories that the fault simulator told first (`tests/faults`), each without its accidents."""

from __future__ import annotations

import asyncio
import math

import pytest

from cerebrum.model.protocols import Explanation, ScoreRow
from cerebrum.services.agent.reasons import sentence
from cerebrum.services.agent.waiting import pause, within
from cerebrum.services.errors import Unreachable
from tests.services.agent.stage import ONE_CORE, Clock, Stage, play, task


def test_a_run_whose_end_nobody_saw_is_repeated_and_not_held_against_its_task():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 20, max_attempts=1))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await stage.kill()
        stage.world = None  # the machine was switched off, and knows no run any more
        stage.start(boot_id="b2")
        await stage.until(lambda: "w/x" in stage.controller.ends())
        assert [change for change, _ in stage.controller.ends()["w/x"]] == ["succeeded"]
        assert len(stage.starts) == 2
        await stage.kill()

    play(story)


def test_a_machine_that_dies_of_a_task_again_and_again_is_left_in_peace_at_last():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 1000, max_attempts=1))
        while "w/x" not in stage.controller.ends():
            stage.world, before = None, len(stage.starts)
            stage.start()
            await stage.until(
                lambda before=before: (
                    (len(stage.starts) > before and stage.disk.state("w/x") == "running")
                    or "w/x" in stage.controller.ends()
                )
            )
            await stage.kill()
        assert len(stage.starts) == 11
        assert stage.controller.ends()["w/x"] == [("failed", "lost")]

    play(story)


def test_after_a_reboot_what_had_a_fence_is_fenced_and_not_failed():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 20, max_attempts=1), fence_after_s=40.0)
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await stage.kill()
        stage.world = None
        stage.start(boot_id="b2")
        await stage.until(lambda: "w/x" in stage.controller.ends())
        assert stage.controller.ends()["w/x"] == [("cancelled", "fenced")]
        await stage.kill()

    play(story)


def test_what_a_fence_has_ended_is_fenced_whoever_looks_at_its_run_first():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 20, max_attempts=1), fence_after_s=40.0)
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await stage.kill()
        stage.world = None  # its runs are gone, and the fence is closed
        agent = stage.start(boot_id="b2")
        await stage.kill()  # before any of its loops has begun: the first turn is the runner's
        await agent.runner.reconcile_now()
        assert stage.disk.state("w/x") == "cancelled"
        assert [kind for kind, *_ in stage.disk.events("fenced", "failed")] == ["fenced"]

    play(story)


def test_a_dropped_run_that_takes_its_time_to_end_behind_a_closed_fence_stops_nobody():
    async def story() -> None:
        stage = Stage(grace_s=30.0)
        stage.controller.offer("a", task("x", 1000), fence_after_s=40.0)
        agent = stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        held = agent.ledger.tasks["w/x"]
        held.ending = "dropped"
        stage.controller.reachable = False
        await asyncio.sleep(50)  # a fence that never has enough of it would hold the loop for ever
        assert agent.leases.next_s() == math.inf
        await stage.kill()

    play(story)


def test_a_pause_that_is_over_lets_others_have_their_turn():
    async def story() -> None:
        turns: list[str] = []

        async def other() -> None:
            turns.append("other")

        waiting = asyncio.ensure_future(other())
        await pause(Clock(), asyncio.Event(), 0.0)
        turns.append("we")
        assert waiting.done()
        assert turns == ["other", "we"]
        began_s = Clock().monotonic_s()
        await pause(Clock(), asyncio.Event(), 1e-12)
        assert Clock().monotonic_s() > began_s

    play(story)


def test_a_request_that_fails_after_we_gave_it_up_is_nobodys_surprise():
    surprises: list[object] = []

    async def late() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise Unreachable("too late")

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: surprises.append(context))
        with pytest.raises(Unreachable, match="no answer within 1 s"):
            await within(Clock(), late(), 1.0)
        await asyncio.sleep(1)

    play(story)
    assert surprises == []


def rows(*totals: float | None) -> tuple[ScoreRow, ...]:
    """Rows with these scores; None: refused."""
    return tuple(
        ScoreRow(row, 1) if total is None else ScoreRow(row, 0, total=total)
        for row, total in enumerate(totals)
    )


def test_why_a_node_was_chosen_in_one_line():
    def said(row: int, *totals: float | None) -> str:
        return sentence(Explanation(0, ("s",), rows(*totals), row, 1, "first"), row)

    assert said(1, 0.5, 0.82, None) == "best of 2 feasible nodes (of 3), score 0.82, next 0.5"
    assert said(0, 0.5, None) == "the only feasible node (of 2)"
    assert said(0, 1.0, 1.0) == "first of 2 feasible nodes (of 2), all equal"
    assert said(0, 2.0, 2.0, 1.0).endswith("score 2, next 1; first of 2 with that score")
    assert said(1, 2.0, None) == "room was made for it"


def test_the_controller_hears_why_a_task_runs_on_its_node():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x"))
        stage.start()
        await stage.until(lambda: "w/x" in stage.controller.ends())
        told = [r.reason for r in stage.controller.reports.values() if r.change == "running"]
        (bound,) = [data["reason"] for _, _, data in stage.disk.events("bound")]
        assert told == [bound]
        assert bound.startswith("best-fit: ")
        assert "of 2 feasible nodes" in bound
        assert stage.controller.ends()["w/x"] == [("succeeded", "")]
        await stage.kill()

    play(story)


def test_who_follows_a_task_that_is_offered_once_more_waits_for_it_once_more():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 1))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "succeeded")
        # The controller has not heard of it in time: x is out again, and y behind it.
        stage.controller.offer("b", task("x", 30), generation=2)
        stage.controller.offer("c", task("y", 1, after=["x"]), generation=2)
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await asyncio.sleep(5)
        assert stage.disk.state("w/y") == "blocked"
        await stage.until(lambda: stage.disk.state("w/y") == "succeeded")
        await stage.kill()

    play(story)


def test_a_fence_that_closed_on_a_full_disk_does_not_open_when_the_controller_is_heard_again():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("x", 1000), task("y", 1000), fence_after_s=40.0)
        stage.start()
        await stage.until(lambda: "running" in {stage.disk.state(f"w/{n}") for n in "xy"})
        stage.disk.full, stage.controller.reachable = True, False
        await asyncio.sleep(60)
        stage.controller.reachable = True
        await asyncio.sleep(60)  # heard, while the end of what had expired cannot be stored
        stage.disk.full = False
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        assert list(stage.controller.ends().values()) == [[("cancelled", "fenced")]] * 2
        assert len(stage.starts) == 1
        await stage.kill()

    play(story)
