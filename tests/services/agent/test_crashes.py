"""The process dies at any write, before and after the commit: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio

import pytest

from cerebrum.executors.simulated_runs import Faults
from tests.services.agent.stage import PowerCut, Stage, play, task


def _died_of_the_cut(group: BaseException) -> bool:
    if isinstance(group, BaseExceptionGroup):
        return any(_died_of_the_cut(inner) for inner in group.exceptions)
    return isinstance(group, PowerCut)


async def _story(cut: int, committed: bool) -> int:
    """A workflow with everything in it; the writes it took. Dies at write `cut`, comes back."""
    stage = Stage(Faults(failures=0.3), start_s=0.2)
    stage.disk.cut, stage.disk.committed = cut, committed
    stage.controller.offer(
        "a",
        task("x", 5, max_attempts=10, backoff_s=0.5),
        task("y", 3, after=["x"], max_attempts=10, backoff_s=0.5),
        task("v", 500),
        fence_after_s=40.0,
    )
    stage.controller.offer("b", task("z", 4, max_attempts=10, backoff_s=0.5))
    stage.start()
    for _ in range(4000):
        running = stage._running
        assert running is not None
        if running.done():
            problem = running.exception()
            assert problem is not None
            assert _died_of_the_cut(problem), problem
            await asyncio.sleep(3)
            stage.start()
        if stage.starts and "w/v" not in stage.controller.ends():
            stage.controller.cancel.add("w/v")
        done = len(stage.controller.ends()) == 4
        if done and not stage.disk.rows("reports") and not stage.disk.rows("runs"):
            break
        await asyncio.sleep(0.05)
    _check(stage)
    await stage.kill()
    return stage.disk.writes


def _check(stage: Stage) -> None:
    ends = stage.controller.ends()
    assert {uid: [change for change, _ in found] for uid, found in ends.items()} == {
        "w/x": ["succeeded"], "w/y": ["succeeded"], "w/z": ["succeeded"], "w/v": ["cancelled"],
    }  # fmt: skip
    assert len(stage.starts) == len(set(stage.starts)), "a run was started twice"
    begun: dict[str, str] = {}
    for kind, uid, data in stage.disk.events("bound", "ended", "start_failed"):
        if kind == "bound":
            assert uid not in begun, f"{uid} is bound while another run of it goes on"
            begun[uid] = data["run_id"]
        else:
            assert begun.pop(uid) == data["run_id"]
    assert not begun
    assert stage.world is not None
    assert not stage.world.statuses(), "every run was forgotten"
    ended = [uid for _, uid, data in stage.disk.events("ended") if data["phase"] == "succeeded"]
    assert sorted(ended) == ["w/x", "w/y", "w/z"]


def test_the_process_may_die_at_any_early_write():
    for cut in range(1, 13):
        for committed in (False, True):
            play(lambda cut=cut, committed=committed: _story(cut, committed))


@pytest.mark.slow
def test_the_process_may_die_at_any_write():
    writes = play(lambda: _story(0, False))
    for cut in range(13, writes + 1):
        for committed in (False, True):
            play(lambda cut=cut, committed=committed: _story(cut, committed))


def test_old_rows_go_but_never_what_a_later_life_needs():
    async def story() -> None:
        stage = Stage(keep_ended=3, keep_events=20, keep_journal=5)
        stage.controller.offer("a", task("first", 1), task("slow", 2000))
        stage.controller.offer("b", task("last", 1, after=["first", "slow"]))
        stage.controller.offer("c", *(task(f"t{i}", 1) for i in range(10)))
        stage.start()
        await asyncio.sleep(650)
        ended = {row["uid"] for row in stage.disk.rows("tasks") if not row["live"]}
        assert ended == {"w/first", "w/t7", "w/t8", "w/t9"}
        assert len(stage.disk.rows("events")) <= 20 + 5
        await stage.kill()
        stage.start()
        await stage.until(lambda: "w/last" in stage.controller.ends(), 2000)
        assert stage.controller.ends()["w/last"] == [("succeeded", "")]
        await stage.kill()

    play(story)
